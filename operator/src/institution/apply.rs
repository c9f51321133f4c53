//! Does the steps. Knows no rule.

use std::sync::Arc;

use fiorino_crds::{CreditorInstitution, FINALIZER};
use fiorino_kit::error::chain;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Client, ResourceExt as _,
    api::{DynamicObject, ListParams, Patch, PatchParams},
};
use serde_json::json;

use super::{
    Memory, Remembered,
    plan::{StatusPatch, Step},
    status,
    subject::Subject,
};
use crate::{
    events::Events,
    metrics::Metrics,
    runtime::{call::timely, lease::Term},
    tenant::{self, Tenant},
};

/// Who writes: statuses by server-side apply under this one name.
pub const FIELD_MANAGER: &str = "fiorino-operator";

/// Result of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The finalizer could not be written.
    #[error("failed to write the finalizer")]
    Finalizer(#[source] kube::Error),
    /// A status could not be written.
    #[error("failed to write the status of {subject}")]
    Status {
        /// Kind and name.
        subject: String,
        /// What the API server says.
        source: kube::Error,
    },
    /// The API server could not be asked for an object.
    #[error("failed to look for an object")]
    Look(#[source] kube::Error),
    /// The Lease was not renewed in time: another operator may lead by now.
    #[error("the lease was not renewed in time: nothing is written until it is")]
    TermOver,
    /// Tenant does not answer or does not take it.
    #[error("failed to bring the configuration to tenant")]
    Tenant(#[from] tenant::Error),
}

/// Does steps for the leader.
#[derive(Clone)]
pub struct Executor {
    /// The API server.
    pub client: Client,
    /// Tenant.
    pub tenant: Tenant,
    /// Events.
    pub events: Events,
    /// What is remembered.
    pub memory: Arc<Memory>,
    /// What is measured.
    pub metrics: Metrics,
    /// Whether this process still leads.
    pub term: Term,
}

/// The institution that steps are about: as much of it as they need.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Its metadata.
    pub metadata: &'a ObjectMeta,
    /// By which tenant knows it; empty where it cannot be read.
    pub fiscal_code: &'a str,
}

// === impl Target ===

impl<'a> From<&'a CreditorInstitution> for Target<'a> {
    fn from(institution: &'a CreditorInstitution) -> Self {
        Self { metadata: &institution.metadata, fiscal_code: &institution.spec.fiscal_code }
    }
}

impl Target<'_> {
    fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }
}

// === impl Executor ===

impl Executor {
    /// Does the steps in order.
    ///
    /// # Errors
    /// The first step that failed; those after it were not tried.
    pub async fn run<'a>(&self, target: impl Into<Target<'a>>, steps: Vec<Step>) -> Result<()> {
        let outcome = self.steps(target.into(), steps).await;
        if let Some(news) = self.tenant.news() {
            self.events.publish_of_lease(self.tenant.platform(), &news).await;
        }
        outcome
    }

    async fn steps(&self, target: Target<'_>, steps: Vec<Step>) -> Result<()> {
        for step in steps {
            if self.term.is_over() {
                return Err(Error::TermOver);
            }
            match step {
                Step::AddFinalizer => self.finalizers(target.metadata, true).await?,
                Step::RemoveFinalizer => self.finalizers(target.metadata, false).await?,
                Step::ApplyBundle(bundle) => match self.tenant.apply(&bundle).await {
                    Ok(response) => self.memory.remember(target.uid(), Remembered::answered(&bundle, &response)),
                    Err(tenant::Error::Refused(status)) => {
                        let words = status.message().to_owned();
                        self.memory.remember(target.uid(), Remembered::unreadable(&bundle, words));
                    }
                    Err(error) => return Err(error.into()),
                },
                Step::MarkUnmanaged => self.tenant.mark_unmanaged(target.fiscal_code, target.uid()).await?,
                Step::TryMarkUnmanaged(notice) => {
                    if let Err(error) = self.tenant.mark_unmanaged(target.fiscal_code, target.uid()).await {
                        tracing::warn!(object = %notice.subject, error = chain(&error), "released a manifest that tenant holds");
                        self.events.publish(&notice).await;
                    }
                }
                Step::PatchStatus(patch) => self.patch(patch).await?,
                Step::PublishEvent(notice) => self.events.publish(&notice).await,
            }
        }
        Ok(())
    }

    /// Adds or removes the finalizer. Finalizers that somebody else changed meanwhile make the API server refuse, and the next try sees
    /// them; the version of the object is no precondition: the status that was just written has changed it.
    async fn finalizers(&self, metadata: &ObjectMeta, present: bool) -> Result<()> {
        let before = metadata.finalizers.as_ref();
        let mut finalizers: Vec<&str> = before.into_iter().flatten().map(String::as_str).collect();
        finalizers.retain(|finalizer| *finalizer != FINALIZER);
        if present {
            finalizers.push(FINALIZER);
        }
        let patch = json!([
            {"op": "test", "path": "/metadata/uid", "value": metadata.uid},
            {"op": "test", "path": "/metadata/finalizers", "value": before},
            {"op": "add", "path": "/metadata/finalizers", "value": finalizers},
        ]);
        let patch = Patch::Json::<()>(serde_json::from_value(patch).unwrap_or_default());
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        let name = metadata.name.as_deref().unwrap_or_default();
        let api: Api<CreditorInstitution> = Api::namespaced(self.client.clone(), namespace);
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        match timely(api.patch_metadata(name, &params, &patch)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if !present && status.is_not_found() => Ok(()),
            Err(error) => Err(Error::Finalizer(error)),
        }
    }

    /// Says of an institution that this version cannot read that nobody knows how it is.
    ///
    /// # Errors
    /// When the API server cannot be asked or told.
    pub async fn tell_unreadable(&self, subject: Subject, words: &str, now: Timestamp) -> Result<()> {
        let Some(object) = self.raw(&subject).await? else { return Ok(()) };
        let written = &object.data["status"];
        let status = status::unreadable(written, subject.generation, words, now);
        if status == *written {
            return Ok(());
        }
        self.patch(StatusPatch { subject, status }).await
    }

    /// An object as the API server has it, whether this version can read it or not; `None` when it is gone. It is listed by its name: the
    /// operator has the right to list, which it needs anyway, and none to get.
    ///
    /// # Errors
    /// When the API server cannot be asked.
    pub async fn raw(&self, subject: &Subject) -> Result<Option<DynamicObject>> {
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &subject.namespace, &subject.kind.resource());
        let params = ListParams::default().fields(&format!("metadata.name={}", subject.name));
        Ok(timely(api.list(&params)).await.map_err(Error::Look)?.items.pop())
    }

    /// Writes the status of an object.
    ///
    /// # Errors
    /// When the API server does not take it.
    pub async fn patch(&self, patch: StatusPatch) -> Result<()> {
        let StatusPatch { subject, status } = patch;
        let resource = subject.kind.resource();
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &subject.namespace, &resource);
        let body = json!({
            "apiVersion": resource.api_version, "kind": resource.kind,
            "metadata": {"name": subject.name, "namespace": subject.namespace, "uid": subject.uid},
            "status": status,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let outcome = timely(api.patch_status(&subject.name, &params, &Patch::Apply(&body))).await;
        self.metrics.patched(outcome.is_ok());
        match outcome {
            Ok(written) => {
                self.memory.wrote(&subject.uid, status, &written.resource_version().unwrap_or_default());
                Ok(())
            }
            // The object went meanwhile.
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(source) => Err(Error::Status { subject: subject.to_string(), source }),
        }
    }
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executor").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}
