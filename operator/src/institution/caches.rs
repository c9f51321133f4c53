//! The objects of the cluster, and which institutions a change of one concerns.

use std::sync::Arc;

use fiorino_crds::{Broker, CreditorInstitution, Iban, PaymentService, ServiceProfile, Station};
use fiorino_kit::clock::Clock;
use kube::{
    Resource as _, ResourceExt as _,
    runtime::reflector::{ObjectRef, Store},
};

use crate::runtime::{
    cache::{Feed, Guarded},
    queue::InstitutionRef,
};

/// Every kind, for reading; cheap to clone.
#[derive(Debug, Clone)]
pub struct Caches {
    /// The institutions.
    pub institutions: Store<Guarded<CreditorInstitution>>,
    /// Their accounts.
    pub ibans: Store<Guarded<Iban>>,
    /// Their services.
    pub services: Store<Guarded<PaymentService>>,
    /// The platform's stations.
    pub stations: Store<Guarded<Station>>,
    /// The platform's brokers.
    pub brokers: Store<Guarded<Broker>>,
    /// The catalogue.
    pub profiles: Store<Guarded<ServiceProfile>>,
}

/// What fills the caches.
#[derive(Debug)]
pub struct Feeds {
    /// Of the institutions.
    pub institutions: Feed<CreditorInstitution>,
    /// Of their accounts.
    pub ibans: Feed<Iban>,
    /// Of their services.
    pub services: Feed<PaymentService>,
    /// Of the platform's stations.
    pub stations: Feed<Station>,
    /// Of the platform's brokers.
    pub brokers: Feed<Broker>,
    /// Of the catalogue.
    pub profiles: Feed<ServiceProfile>,
}

// === impl Feeds ===

impl Feeds {
    /// Feeds of `namespaces` (empty: all).
    pub fn new(namespaces: &[String], clock: &Clock) -> Self {
        Self {
            institutions: Feed::new(namespaces, clock.clone()),
            ibans: Feed::new(namespaces, clock.clone()),
            services: Feed::new(namespaces, clock.clone()),
            stations: Feed::new(namespaces, clock.clone()),
            brokers: Feed::new(namespaces, clock.clone()),
            profiles: Feed::new(namespaces, clock.clone()),
        }
    }

    /// What they fill.
    pub fn caches(&self) -> Caches {
        Caches {
            institutions: self.institutions.store(),
            ibans: self.ibans.store(),
            services: self.services.store(),
            stations: self.stations.store(),
            brokers: self.brokers.store(),
            profiles: self.profiles.store(),
        }
    }
}

// === impl Caches ===

impl Caches {
    /// Waits until every kind was listed; `false` when a feed ended instead.
    pub async fn filled(&self) -> bool {
        self.institutions.wait_until_ready().await.is_ok()
            && self.ibans.wait_until_ready().await.is_ok()
            && self.services.wait_until_ready().await.is_ok()
            && self.stations.wait_until_ready().await.is_ok()
            && self.brokers.wait_until_ready().await.is_ok()
            && self.profiles.wait_until_ready().await.is_ok()
    }

    /// Itself, its neighbours (a namespace has one institution), its rivals (who wait for its fiscal code), and those whose payments it
    /// shares.
    pub fn touched_by_institution(&self, object: &Guarded<CreditorInstitution>) -> Vec<InstitutionRef> {
        let mut touched = self.of_namespace(object.namespace().as_deref());
        touched.push(ObjectRef::from_obj(object));
        if let Ok(institution) = &object.0 {
            touched.extend(self.sharing_with(&institution.spec.fiscal_code));
            touched.extend(self.with_code(&institution.spec.fiscal_code));
        }
        touched
    }

    /// Its owner, and those who name it as a beneficiary's account.
    pub fn touched_by_iban(&self, object: &Guarded<Iban>) -> Vec<InstitutionRef> {
        let namespace = object.namespace();
        let mut touched = self.of_namespace(namespace.as_deref());
        let owners = self.institutions.state_filter(|it| it.namespace() == namespace);
        for owner in owners.iter().filter_map(|owner| owner.0.as_ref().ok()) {
            touched.extend(self.sharing_with(&owner.spec.fiscal_code));
        }
        touched
    }

    /// Its owner.
    pub fn touched_by_service(&self, object: &Guarded<PaymentService>) -> Vec<InstitutionRef> {
        self.of_namespace(object.namespace().as_deref())
    }

    /// A station, broker or profile of a platform: every institution of it.
    pub fn touched_by_platform(&self, namespace: Option<&str>) -> Vec<InstitutionRef> {
        let of_platform = self
            .institutions
            .state_filter(|it| it.0.as_ref().is_ok_and(|institution| institution.spec.platform() == namespace));
        references(&of_platform)
    }

    /// Those of the platform that claim a fiscal code, the oldest first: rivals, where there are several. The order is the same at each
    /// look, whatever that of the store.
    pub fn claimants(&self, fiscal_code: &str, platform: &str) -> Vec<Arc<Guarded<CreditorInstitution>>> {
        let mut claimants = self.institutions.state_filter(|it| {
            it.0.as_ref().is_ok_and(|institution| {
                institution.spec.fiscal_code == fiscal_code && institution.spec.platform() == Some(platform)
            })
        });
        claimants.sort_by_cached_key(|it| (it.creation_timestamp(), it.uid()));
        claimants
    }

    /// Whether there is an object with this uid, or one of this name: readable or not.
    pub fn has_institution(&self, uid: &str, namespace: &str, name: &str) -> bool {
        self.institutions.get(&ObjectRef::new(name).within(namespace)).is_some()
            || self.institutions.find(|it| it.uid().as_deref() == Some(uid)).is_some()
    }

    /// The institutions that pay shares to this one.
    pub fn sharing_with(&self, fiscal_code: &str) -> Vec<InstitutionRef> {
        let shares =
            |service: &PaymentService| service.spec.beneficiaries.iter().any(|it| it.fiscal_code == fiscal_code);
        let services = self.services.state_filter(|it| it.0.as_ref().is_ok_and(shares));
        services.iter().flat_map(|service| self.of_namespace(service.namespace().as_deref())).collect()
    }

    fn with_code(&self, fiscal_code: &str) -> Vec<InstitutionRef> {
        let same = |institution: &CreditorInstitution| institution.spec.fiscal_code == fiscal_code;
        references(&self.institutions.state_filter(|it| it.0.as_ref().is_ok_and(same)))
    }

    fn of_namespace(&self, namespace: Option<&str>) -> Vec<InstitutionRef> {
        references(&self.institutions.state_filter(|it| it.meta().namespace.as_deref() == namespace))
    }
}

fn references(institutions: &[Arc<Guarded<CreditorInstitution>>]) -> Vec<InstitutionRef> {
    institutions.iter().map(|institution| ObjectRef::from_obj(&**institution)).collect()
}

#[cfg(test)]
mod tests {
    use kube::runtime::{reflector, watcher::Event};
    use serde_json::json;

    use super::*;

    fn institution(namespace: &str, fiscal_code: &str) -> Guarded<CreditorInstitution> {
        let object = json!({
            "apiVersion": "fiorino.dev/v1alpha1", "kind": "CreditorInstitution", "metadata": {"namespace": namespace, "name": "town"},
            "spec": {"fiscalCode": fiscal_code, "legalName": "Comune di Roccafiorina", "kind": "Municipality"},
        });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn who_waits_for_a_fiscal_code_is_looked_at_when_its_holder_changes() {
        let (institutions, mut writer) = reflector::store();
        let holder = institution("a", "80041780356");
        for other in [institution("b", "80041780356"), institution("c", "80236140770")] {
            writer.apply_watcher_event(&Event::Apply(other));
        }
        let caches = Caches { institutions, ..Feeds::new(&[], &Clock::system()).caches() };
        let touched = caches.touched_by_institution(&holder);
        let mut namespaces: Vec<&str> = touched.iter().filter_map(|it| it.namespace.as_deref()).collect();
        namespaces.sort_unstable();
        assert_eq!(namespaces, ["a", "b"]);
    }

    fn claimant(namespace: &str, uid: &str, created: &str) -> Guarded<CreditorInstitution> {
        let object = json!({
            "apiVersion": "fiorino.dev/v1alpha1", "kind": "CreditorInstitution",
            "metadata": {"namespace": namespace, "name": "province", "uid": uid, "creationTimestamp": created},
            "spec": {"fiscalCode": "80236140770", "legalName": format!("Provincia di {namespace}"), "kind": "Province",
                "platformRef": {"namespace": "fiorino"}},
        });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn of_rivals_the_oldest_comes_first_whatever_the_order_of_the_store() {
        let (institutions, mut writer) = reflector::store();
        // Made in one second, the uid decides.
        for number in (10..30).rev() {
            let created = if number < 20 { "2026-11-01T08:00:00Z" } else { "2026-10-01T08:00:00Z" };
            writer.apply_watcher_event(&Event::Apply(claimant(&format!("n{number}"), &format!("u{number}"), created)));
        }
        let caches = Caches { institutions, ..Feeds::new(&[], &Clock::system()).caches() };
        let claimants = caches.claimants("80236140770", "fiorino");
        let uids: Vec<String> = claimants.iter().filter_map(|it| it.uid()).collect();
        let expected: Vec<String> = (20..30).chain(10..20).map(|number| format!("u{number}")).collect();
        assert_eq!(uids, expected);
        assert!(caches.claimants("80236140770", "another").is_empty());
    }

    #[test]
    fn an_institution_is_there_by_uid_or_by_name() {
        let (institutions, mut writer) = reflector::store();
        writer.apply_watcher_event(&Event::Apply(claimant("a", "u1", "2026-11-01T08:00:00Z")));
        let caches = Caches { institutions, ..Feeds::new(&[], &Clock::system()).caches() };
        assert!(caches.has_institution("u1", "elsewhere", "x"));
        assert!(caches.has_institution("u9", "a", "province"), "made anew, it adopts");
        assert!(!caches.has_institution("u9", "a", "x"));
    }
}
