//! What is to be done, as data. Pure: the same world gives the same steps, and a world that is right gives none.

use fiorino_crds::{CreditorInstitution, FINALIZER, PAUSED, RELEASE};
use fiorino_proto::config::v1::InstitutionStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt as _;
use serde_json::Value;

use super::{
    bundle::{Bundle, is_set},
    memory::Remembered,
    subject::Subject,
};
use crate::tenant;

/// One step; they are done in order, and the first failure ends them.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Holds the deletion of the institution until tenant knows of it.
    AddFinalizer,
    /// Makes tenant's configuration what the bundle says.
    ApplyBundle(Box<Bundle>),
    /// The manifest is being deleted: tenant serves on.
    MarkUnmanaged,
    /// As [`Step::MarkUnmanaged`], but the manifest goes whatever tenant says: the notice tells when tenant was not reached.
    TryMarkUnmanaged(Notice),
    /// Writes the status of an object.
    PatchStatus(StatusPatch),
    /// Tells what changed.
    PublishEvent(Notice),
    /// Lets the deletion go on.
    RemoveFinalizer,
}

/// A whole status.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusPatch {
    /// Whose.
    pub subject: Subject,
    /// `status`.
    pub status: Value,
}

/// An Event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// About what.
    pub subject: Subject,
    /// Somebody should look at it.
    pub warning: bool,
    /// What happened, as a code.
    pub reason: String,
    /// To what it happened: the type of the condition.
    pub action: String,
    /// What happened, in words.
    pub note: String,
}

/// Why tenant cannot say what it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// It does not answer.
    Silent,
    /// It does not take the call, whoever makes it: versions or certificates do not fit.
    Refused,
    /// It obeys a later leader.
    Deposed,
    /// It obeys another cluster.
    Superseded,
}

/// What tenant knows of the institution.
#[derive(Debug, Clone, PartialEq)]
pub enum Knowledge {
    /// Tenant cannot be asked.
    Away(Absence),
    /// It was never applied, or the fiscal code is another object's.
    Never,
    /// As tenant has it.
    Known(Box<InstitutionStatus>),
}

// === impl Absence ===

impl Absence {
    /// From the error of a call.
    pub const fn of(error: &tenant::Error) -> Self {
        match error {
            tenant::Error::Away(_) => Self::Silent,
            tenant::Error::Refused(_) => Self::Refused,
            tenant::Error::Deposed(_) => Self::Deposed,
            tenant::Error::Superseded(_) => Self::Superseded,
        }
    }

    /// What is the matter, and who mends it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Silent => "tenant does not answer: it is asked again by itself",
            Self::Refused => {
                "tenant refuses the operator's calls: look at the versions of both and at the certificates of the mesh"
            }
            Self::Deposed => "tenant obeys a later operator: this one ends, and that one goes on",
            Self::Superseded => {
                "tenant obeys another cluster, which led after this one: the manifest has no effect here; if this cluster \
                 shall lead again, run fiorino-tenant fence allow with the uid that the Event of its Lease names"
            }
        }
    }
}

// === impl Knowledge ===

impl Knowledge {
    /// From tenant's answer about the fiscal code of the institution with `uid`.
    pub fn of(answer: Option<InstitutionStatus>, uid: &str) -> Self {
        match answer {
            Some(status) if status.uid == uid => Self::Known(Box::new(status)),
            Some(_) | None => Self::Never,
        }
    }

    /// What tenant has, if it is this object's.
    pub fn known(&self) -> Option<&InstitutionStatus> {
        match self {
            Self::Known(status) => Some(status),
            Self::Away(_) | Self::Never => None,
        }
    }
}

/// What brings tenant's configuration to what the manifest says.
pub fn plan(
    institution: &CreditorInstitution,
    bundle: Option<&Bundle>,
    remembered: Option<&Remembered>,
    knowledge: &Knowledge,
) -> Vec<Step> {
    if institution.metadata.deletion_timestamp.is_some() {
        return deletion(&institution.metadata, Subject::of(institution), true);
    }
    let Some(bundle) = bundle else { return Vec::new() };
    if is_set(institution.annotations(), PAUSED) || matches!(knowledge, Knowledge::Away(_)) {
        return Vec::new();
    }
    let mut steps = Vec::new();
    if !is_held(&institution.metadata) {
        steps.push(Step::AddFinalizer);
    }
    if !in_place(bundle, remembered, knowledge) {
        steps.push(Step::ApplyBundle(Box::new(bundle.clone())));
    }
    steps
}

/// What lets a deleted institution go. `named`: its fiscal code is known, by which tenant is told; of one that cannot be read it may not be,
/// and then the annotation alone lets it go.
pub fn deletion(metadata: &ObjectMeta, subject: Subject, named: bool) -> Vec<Step> {
    if !is_held(metadata) {
        return Vec::new();
    }
    let released = metadata.annotations.as_ref().is_some_and(|annotations| is_set(annotations, RELEASE));
    // Told first: with the finalizer the object goes.
    match (released, named) {
        (true, true) => vec![Step::TryMarkUnmanaged(release(subject)), Step::RemoveFinalizer],
        (true, false) => vec![Step::PublishEvent(release(subject)), Step::RemoveFinalizer],
        (false, true) => vec![Step::MarkUnmanaged, Step::RemoveFinalizer],
        (false, false) => Vec::new(),
    }
}

fn release(subject: Subject) -> Notice {
    Notice {
        subject,
        warning: true,
        reason: "Released".to_owned(),
        action: "Release".to_owned(),
        note: format!("the annotation {RELEASE} let the manifest go although tenant may not know of it"),
    }
}

/// Whether the finalizer holds the object's deletion.
pub fn is_held(metadata: &ObjectMeta) -> bool {
    metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
}

/// Tenant took exactly this bundle, has it still, and serves the institution as managed.
fn in_place(bundle: &Bundle, remembered: Option<&Remembered>, knowledge: &Knowledge) -> bool {
    let Some((remembered, known)) = remembered.zip(knowledge.known()) else { return false };
    remembered.settled()
        && remembered.digest == bundle.digest()
        && known.managed
        && known.config_seq >= remembered.config_seq
}
