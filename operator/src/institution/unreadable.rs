//! Institutions that this version cannot read, as those that a newer one wrote: they are told once, disturb nobody, and can go.

use std::time::Duration;

use fiorino_crds::{RELEASE, Reason, condition::ConditionType};
use fiorino_domain::institution::InstitutionCode;
use fiorino_kit::error::chain;
use kube::{core::error_boundary::InvalidObject, runtime::controller::Action};
use serde_json::Value;

use super::{
    Context,
    apply::{Result, Target},
    plan::{Notice, deletion, is_held},
    subject::{Subject, SubjectKind},
};
use crate::metrics::Outcome;

/// What can be read of an institution on its own: enough to let it go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    /// `spec.fiscalCode`, if it is one.
    pub fiscal_code: Option<String>,
    /// Namespace of the platform, as the stations or `spec.platformRef` say.
    pub platform: Option<String>,
}

// === impl Outline ===

impl Outline {
    /// Reads an object without its metadata, whatever else it lacks.
    pub fn of(object: &Value) -> Self {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let platform =
            text("/spec/associations/0/stationRef/namespace").or_else(|| text("/spec/platformRef/namespace"));
        let fiscal_code = text("/spec/fiscalCode").filter(|code| InstitutionCode::parse(code).is_ok());
        Self { fiscal_code, platform }
    }
}

// === impl Context ===

impl Context {
    /// What can be done for an object that this version cannot read.
    pub(super) async fn unreadable(&self, broken: &InvalidObject) -> Action {
        let deleting = broken.metadata.deletion_timestamp.is_some() && is_held(&broken.metadata);
        let waits = if deleting { self.let_go(broken).await } else { Ok(Departure::Stays) };
        let trouble = match waits {
            Ok(Departure::Gone) => return Action::await_change(),
            Ok(Departure::Stays) => None,
            Err(error) => {
                let (namespace, name) = (&broken.metadata.namespace, &broken.metadata.name);
                tracing::warn!(
                    ?namespace,
                    ?name,
                    error = chain(&error),
                    "failed to let an institution go that cannot be read"
                );
                Some(self.pause(&uid(broken), broken.metadata.generation.unwrap_or_default()))
            }
        };
        let told = self.tell_unreadable(broken, deleting).await;
        trouble.map_or(told, Action::requeue)
    }

    /// By the annotation at once, else when tenant knows that it is served without a manifest from now on.
    async fn let_go(&self, broken: &InvalidObject) -> Result<Departure> {
        let subject = subject(broken);
        let Some(object) = self.executor.raw(&subject).await? else { return Ok(Departure::Gone) };
        if object.metadata.uid != broken.metadata.uid {
            return Ok(Departure::Gone);
        }
        let outline = Outline::of(&object.data);
        if outline.platform.is_some_and(|platform| !self.dereferencer.serves(&platform)) {
            return Ok(Departure::Gone); // another operator's to let go
        }
        let steps = deletion(&object.metadata, subject, outline.fiscal_code.is_some());
        if steps.is_empty() {
            return Ok(Departure::Stays);
        }
        let fiscal_code = outline.fiscal_code.unwrap_or_default();
        let _slot = self.slots.asking().await;
        self.executor.run(Target { metadata: &object.metadata, fiscal_code: &fiscal_code }, steps).await?;
        Ok(Departure::Gone)
    }

    /// Told once.
    async fn tell_unreadable(&self, broken: &InvalidObject, deleting: bool) -> Action {
        let subject = subject(broken);
        self.metrics.reconciled(Outcome::Invalid, Duration::ZERO);
        let waits = if deleting {
            format!("; its deletion waits for tenant, the annotation {RELEASE} lets it go at once")
        } else {
            String::new()
        };
        let note = format!(
            "the operator cannot read this object ({}): correct it or upgrade the operator{waits}",
            broken.error
        );
        if !self.memory.is_news(&subject.uid, &note) {
            return Action::await_change();
        }
        let (namespace, name) = (subject.namespace.clone(), subject.name.clone());
        tracing::error!(namespace, name, error = broken.error, "failed to read an institution");
        let _slot = self.slots.looking().await;
        if let Err(error) = self.executor.tell_unreadable(subject.clone(), &note, self.clock.now()).await {
            self.memory.forget(&subject.uid);
            let pause = self.pause(&subject.uid, subject.generation);
            tracing::warn!(namespace, name, error = chain(&error), "failed to tell that an institution cannot be read");
            return Action::requeue(pause);
        }
        let (reason, action) = (Reason::InvalidField.to_string(), ConditionType::Validated.to_string());
        self.executor.events.publish(&Notice { subject, warning: true, reason, action, note }).await;
        Action::await_change()
    }
}

/// What came of a deletion.
enum Departure {
    /// Nothing more is to be done here.
    Gone,
    /// Only the annotation lets it go.
    Stays,
}

fn uid(broken: &InvalidObject) -> String {
    broken.metadata.uid.clone().unwrap_or_default()
}

fn subject(broken: &InvalidObject) -> Subject {
    Subject {
        kind: SubjectKind::CreditorInstitution,
        namespace: broken.metadata.namespace.clone().unwrap_or_default(),
        name: broken.metadata.name.clone().unwrap_or_default(),
        uid: uid(broken),
        generation: broken.metadata.generation.unwrap_or_default(),
        resource_version: broken.metadata.resource_version.clone().unwrap_or_default(),
        conditions: Vec::new(),
        observed_generation: None,
        fixed_numbers: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn outline(fiscal_code: Option<&str>, platform: Option<&str>) -> Outline {
        Outline { fiscal_code: fiscal_code.map(str::to_owned), platform: platform.map(str::to_owned) }
    }

    #[test]
    fn an_object_that_lacks_what_is_required_still_says_whose_it_is() {
        let associations = json!([{"stationRef": {"namespace": "fiorino", "name": 7}, "auxDigit": "three"}]);
        let newer = json!({"spec": {"fiscalCode": "80041780356", "associations": associations, "kind": "Marketplace"}});
        let read: serde_json::Result<fiorino_crds::CreditorInstitution> = serde_json::from_value(newer.clone());
        assert!(read.is_err(), "it lacks its legal name");
        assert_eq!(Outline::of(&newer), outline(Some("80041780356"), Some("fiorino")));
        let beneficiary = json!({"spec": {"fiscalCode": "80041780356", "platformRef": {"namespace": "fiorino"}}});
        assert_eq!(Outline::of(&beneficiary), outline(Some("80041780356"), Some("fiorino")));
    }

    #[test]
    fn what_is_no_fiscal_code_is_none() {
        for broken in [json!({}), json!({"spec": []}), json!({"spec": {"fiscalCode": 80_041_780_356_u64}})] {
            assert_eq!(Outline::of(&broken), Outline::default());
        }
        assert_eq!(Outline::of(&json!({"spec": {"fiscalCode": "8004178035"}})), Outline::default());
    }
}
