//! Objects whose status the operator writes.

use std::fmt;

use fiorino_crds::{
    Broker, Condition, CreditorInstitution, Iban, PaymentService, ServiceProfile, Station, status::ObjectStatus,
};
use jiff::civil::Date;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Resource, ResourceExt as _,
    core::{ApiResource, object::HasStatus},
};

/// Kinds with a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectKind {
    /// The institution itself.
    CreditorInstitution,
    /// One of its accounts.
    Iban,
    /// One of its services.
    PaymentService,
    /// A station that it uses.
    Station,
    /// The broker of such a station.
    Broker,
    /// A profile that it has.
    ServiceProfile,
}

/// An object, by name and version, with the conditions it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Its kind.
    pub kind: SubjectKind,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// `metadata.resourceVersion` of what was read.
    pub resource_version: String,
    /// `status.conditions`.
    pub conditions: Vec<Condition>,
    /// `status.observedGeneration`.
    pub observed_generation: Option<i64>,
    /// `status.fixedNumbers` of an account.
    pub fixed_numbers: Vec<Date>,
}

/// A kind with a status.
pub trait Kinded: Resource<DynamicType = ()> {
    /// Which one.
    const KIND: SubjectKind;

    /// Conditions and observed generation as the object has them.
    fn judged(&self) -> (Vec<Condition>, Option<i64>);

    /// Numbers of an account that stay as they are.
    fn fixed_numbers(&self) -> Vec<Date> {
        Vec::new()
    }
}

// === impl SubjectKind ===

impl SubjectKind {
    /// For the API server.
    pub fn resource(self) -> ApiResource {
        match self {
            Self::CreditorInstitution => ApiResource::erase::<CreditorInstitution>(&()),
            Self::Iban => ApiResource::erase::<Iban>(&()),
            Self::PaymentService => ApiResource::erase::<PaymentService>(&()),
            Self::Station => ApiResource::erase::<Station>(&()),
            Self::Broker => ApiResource::erase::<Broker>(&()),
            Self::ServiceProfile => ApiResource::erase::<ServiceProfile>(&()),
        }
    }
}

impl fmt::Display for SubjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

// === impl Subject ===

impl Subject {
    /// The object as read.
    pub fn of<K: Kinded>(object: &K) -> Self {
        let (conditions, observed_generation) = object.judged();
        Self {
            kind: K::KIND,
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
            generation: object.meta().generation.unwrap_or_default(),
            resource_version: object.resource_version().unwrap_or_default(),
            conditions,
            observed_generation,
            fixed_numbers: object.fixed_numbers(),
        }
    }

    /// For Events.
    pub fn reference(&self) -> ObjectReference {
        let resource = self.kind.resource();
        ObjectReference {
            api_version: Some(resource.api_version),
            kind: Some(resource.kind),
            namespace: Some(self.namespace.clone()),
            name: Some(self.name.clone()),
            uid: Some(self.uid.clone()),
            ..ObjectReference::default()
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

// === impl Kinded ===

impl Kinded for CreditorInstitution {
    const KIND: SubjectKind = SubjectKind::CreditorInstitution;

    fn judged(&self) -> (Vec<Condition>, Option<i64>) {
        let status = self.status.clone().unwrap_or_default();
        (status.conditions, status.observed_generation)
    }
}

fn judged(object: &impl HasStatus<Status = ObjectStatus>) -> (Vec<Condition>, Option<i64>) {
    let status = object.status().cloned().unwrap_or_default();
    (status.conditions, status.observed_generation)
}

impl Kinded for Iban {
    const KIND: SubjectKind = SubjectKind::Iban;

    fn judged(&self) -> (Vec<Condition>, Option<i64>) {
        let status = self.status.clone().unwrap_or_default();
        (status.conditions, status.observed_generation)
    }

    fn fixed_numbers(&self) -> Vec<Date> {
        self.status.as_ref().map(|status| status.fixed_numbers.clone()).unwrap_or_default()
    }
}

impl Kinded for PaymentService {
    const KIND: SubjectKind = SubjectKind::PaymentService;

    fn judged(&self) -> (Vec<Condition>, Option<i64>) {
        judged(self)
    }
}

impl Kinded for Station {
    const KIND: SubjectKind = SubjectKind::Station;

    fn judged(&self) -> (Vec<Condition>, Option<i64>) {
        judged(self)
    }
}

impl Kinded for Broker {
    const KIND: SubjectKind = SubjectKind::Broker;

    fn judged(&self) -> (Vec<Condition>, Option<i64>) {
        judged(self)
    }
}

impl Kinded for ServiceProfile {
    const KIND: SubjectKind = SubjectKind::ServiceProfile;

    fn judged(&self) -> (Vec<Condition>, Option<i64>) {
        judged(self)
    }
}
