//! What tenant gets: resources with uid, generation and the hash of their bytes.

use std::collections::BTreeMap;

use fiorino_crds::ADOPT;
use fiorino_proto::config::v1::{ApplyBundleRequest, Resource, ResourceKind};
use kube::ResourceExt as _;
use prost::Message;
use sha2::{Digest as _, Sha256};

use crate::config::Environment;

/// An institution's configuration as it should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    /// The institution itself.
    pub institution: Resource,
    /// Its accounts and services; what is missing here and not kept is removed.
    pub children: Vec<Resource>,
    /// Brokers and stations that it refers to.
    pub shared: Vec<Resource>,
    /// uids of children that are invalid at present: their last valid version stays.
    pub keep: Vec<String>,
}

/// Where a resource comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// `metadata.uid`, or `<institution's uid>/<code>` for a service that a profile brings.
    pub uid: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// Whether the object asks for [`ADOPT`].
    pub adopt: bool,
}

// === impl Origin ===

impl Origin {
    /// An object of the cluster.
    pub fn of(object: &impl kube::Resource<DynamicType = ()>) -> Self {
        Self {
            uid: object.uid().unwrap_or_default(),
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            generation: object.meta().generation.unwrap_or_default(),
            adopt: is_set(object.annotations(), ADOPT),
        }
    }

    /// A service that a profile brings to the institution of this origin.
    #[must_use]
    pub fn service(&self, code: &str) -> Self {
        Self { uid: profile_service_uid(&self.uid, code), name: code.to_lowercase(), ..self.clone() }
    }

    /// The resource; `institution` is the fiscal code of its owner, empty for what is shared.
    pub fn resource(self, kind: ResourceKind, spec: &impl Message, institution: &str) -> Resource {
        let spec = spec.encode_to_vec();
        Resource {
            kind: kind.into(),
            uid: self.uid,
            namespace: self.namespace,
            name: self.name,
            generation: self.generation,
            hash: Sha256::digest(&spec).to_vec().into(),
            spec: spec.into(),
            required_features: Vec::new(),
            adopt: self.adopt,
            config_seq: 0,
            institution: institution.to_owned(),
        }
    }
}

/// The identity of a service that has no object of its own.
pub fn profile_service_uid(institution_uid: &str, code: &str) -> String {
    format!("{institution_uid}/{code}")
}

/// Whether an annotation says `"true"`.
pub fn is_set(annotations: &BTreeMap<String, String>, name: &str) -> bool {
    annotations.get(name).is_some_and(|value| value == "true")
}

// === impl Bundle ===

impl Bundle {
    /// The message, without a fence.
    pub fn request(&self, platform: &str, environment: Environment) -> ApplyBundleRequest {
        ApplyBundleRequest {
            fence: 0,
            platform: platform.to_owned(),
            environment: environment.to_string(),
            institution: Some(self.institution.clone()),
            children: self.children.clone(),
            shared: self.shared.clone(),
            keep: self.keep.clone(),
        }
    }

    /// Every resource of it.
    pub fn resources(&self) -> impl Iterator<Item = &Resource> {
        [&self.institution].into_iter().chain(&self.children).chain(&self.shared)
    }

    /// Tells one bundle from another: everything that tenant would see.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.request("", Environment::Uat).encode_to_vec()).into()
    }
}
