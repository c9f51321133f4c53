//! Everything that one institution refers to, as it is at this moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use fiorino_crds::{
    Broker, CreditorInstitution, Iban, PaymentService, ServiceProfile, Station,
    reference::{ProfileReference, SecretKeyReference},
};
use jiff::civil::Date;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Resource, ResourceExt,
    core::object::HasStatus,
    runtime::reflector::{ObjectRef, Store},
};
use serde::de::DeserializeOwned;

use super::{
    Caches, Memory,
    secrets::{self, Secrets},
    validate::unused::Unused,
};
use crate::{
    runtime::cache::{Guarded, Kind},
    tenant::Tenant,
};

/// What a reference leads to.
#[derive(Debug, Clone, PartialEq)]
pub enum Found<K> {
    /// Nothing.
    Missing,
    /// An object that this version cannot read: why.
    Unreadable(String),
    /// The object.
    Object(Box<K>),
}

/// A child that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Its kind, as in manifests.
    pub kind: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
    /// Why.
    pub error: String,
}

/// What the owner of an account says of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Beneficiary {
    /// No institution of the platform has this fiscal code.
    NoInstitution,
    /// It has no such account.
    NoAccount,
    /// The account, and whose it is.
    Account {
        /// Legal name of the owner.
        legal_name: String,
        /// The account.
        iban: Box<Iban>,
    },
}

/// Fiscal code and name of an account.
pub type AccountName = (String, String);

/// One institution and what it refers to.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The institution.
    pub institution: CreditorInstitution,
    /// The older institution of the same namespace, to which the children belong.
    pub rival: Option<String>,
    /// Its accounts, by name.
    pub ibans: Vec<Iban>,
    /// Its own services, oldest first.
    pub services: Vec<PaymentService>,
    /// Its children that cannot be read.
    pub unreadable: Vec<Unreadable>,
    /// Stations of its associations, by name.
    pub stations: BTreeMap<String, Found<Station>>,
    /// Their brokers, by name.
    pub brokers: BTreeMap<String, Found<Broker>>,
    /// The brokers' subscription keys.
    pub keys: BTreeMap<SecretKeyReference, secrets::Value>,
    /// Its profiles, in the order of the manifest.
    pub profiles: Vec<(ProfileReference, Found<ServiceProfile>)>,
    /// Accounts of others that its services name.
    pub beneficiaries: BTreeMap<AccountName, Beneficiary>,
    /// The legal date.
    pub today: Date,
}

/// Reads caches; Secrets by name.
#[derive(Debug, Clone)]
pub struct Dereferencer {
    /// The objects of the cluster.
    pub caches: Caches,
    /// The Secrets.
    pub secrets: Secrets,
    /// Statuses that were just written.
    pub memory: Arc<Memory>,
    /// Says who holds a fiscal code that several claim; absent = the oldest of them.
    pub tenant: Option<Tenant>,
    /// Namespace of the platform.
    pub platform: String,
}

// === impl Dereferencer ===

impl Dereferencer {
    /// Whether this operator looks after the institution: it is the platform's, or of a platform that nobody knows.
    pub fn is_ours(&self, institution: &CreditorInstitution) -> bool {
        institution.spec.platform().is_some_and(|platform| self.serves(platform))
    }

    /// Whether institutions of this platform are this operator's to look after.
    pub fn serves(&self, platform: &str) -> bool {
        platform == self.platform
            || self.caches.brokers.find(|broker| broker.namespace().as_deref() == Some(platform)).is_none()
    }

    /// Everything that the institution refers to.
    pub async fn snapshot(&self, institution: &CreditorInstitution, today: Date) -> Snapshot {
        let namespace = institution.namespace().unwrap_or_default();
        let mut unreadable = Vec::new();
        let mut ibans = self.children(&self.caches.ibans, &namespace, &mut unreadable);
        ibans.sort_by_key(ResourceExt::name_any);
        let mut services = self.children(&self.caches.services, &namespace, &mut unreadable);
        services.sort_by_key(|service| (service.creation_timestamp(), service.name_any()));
        let stations = self.stations(institution);
        let brokers = self.brokers(&stations);
        let keys = self.keys(brokers.values()).await;
        Snapshot {
            institution: institution.clone(),
            rival: self.rival(institution),
            beneficiaries: self.beneficiaries(&services).await,
            profiles: self.profiles(institution),
            ibans,
            services,
            unreadable,
            stations,
            brokers,
            keys,
            today,
        }
    }

    /// The platform's objects and children that no institution uses. A rival judges nothing but itself: what it names is as good as unused.
    pub async fn unused(&self) -> Unused {
        let users = self.eldest();
        let namespaces: BTreeSet<Option<String>> = users.iter().map(|user| user.namespace()).collect();
        let readable = users.iter().filter_map(|user| user.0.as_ref().ok());
        let ours: Vec<_> = readable.filter(|user| user.spec.platform() == Some(&self.platform)).collect();
        let station_names: BTreeSet<&String> = ours.iter().flat_map(|user| self.station_names(user)).collect();
        let used_stations: BTreeMap<String, Found<Station>> =
            station_names.into_iter().map(|name| (name.clone(), self.find(&self.caches.stations, name))).collect();
        let used_brokers = self.brokers(&used_stations);
        let used_profiles: BTreeSet<String> =
            ours.iter().flat_map(|user| &user.spec.profiles).map(profile_name).collect();
        let platform = Some(self.platform.clone());
        let lonely = |namespace: &Option<String>| !namespaces.contains(namespace);
        let brokers = self
            .every(&self.caches.brokers, |it| it.namespace() == platform && !used_brokers.contains_key(&it.name_any()));
        let stations = self.every(&self.caches.stations, |it| {
            it.namespace() == platform && !used_stations.contains_key(&it.name_any())
        });
        let with_broker = |station: Station| {
            let broker = self.find(&self.caches.brokers, &station.spec.broker_ref.name);
            (station, broker)
        };
        let found: Vec<_> = brokers.iter().cloned().map(|broker| Found::Object(Box::new(broker))).collect();
        Unused {
            keys: self.keys(&found).await,
            brokers,
            stations: stations.into_iter().map(with_broker).collect(),
            profiles: self.every(&self.caches.profiles, |it| {
                it.namespace() == platform && !used_profiles.contains(&it.name_any())
            }),
            ibans: self.every(&self.caches.ibans, |it| lonely(&it.namespace())),
            services: self.every(&self.caches.services, |it| lonely(&it.namespace())),
        }
    }

    /// The objects of a store that can be read and are not on their way out.
    fn every<K>(&self, store: &Store<Guarded<K>>, wanted: impl Fn(&K) -> bool) -> Vec<K>
    where
        K: Kind + HasStatus<Status: DeserializeOwned>,
    {
        let readable =
            store.state().into_iter().filter_map(|object| object.0.as_ref().ok().filter(|it| wanted(it)).cloned());
        readable.filter(|object| object.meta().deletion_timestamp.is_none()).map(|object| self.fresh(object)).collect()
    }

    fn children<K>(&self, store: &Store<Guarded<K>>, namespace: &str, unreadable: &mut Vec<Unreadable>) -> Vec<K>
    where
        K: Kind + HasStatus<Status: DeserializeOwned>,
    {
        let mut children = Vec::new();
        for child in store.state_filter(|child| child.meta().namespace.as_deref() == Some(namespace)) {
            match &child.0 {
                // A child that is being deleted is gone: the bundle removes it.
                Ok(child) if child.meta().deletion_timestamp.is_some() => {}
                Ok(child) => children.push(self.fresh(child.clone())),
                Err(error) => unreadable.push(Unreadable {
                    kind: K::kind(&()).into_owned(),
                    name: child.name_any(),
                    uid: child.uid().unwrap_or_default(),
                    error: error.error.clone(),
                }),
            }
        }
        unreadable.sort_by(|left, right| (&left.kind, &left.name).cmp(&(&right.kind, &right.name)));
        children
    }

    fn stations(&self, institution: &CreditorInstitution) -> BTreeMap<String, Found<Station>> {
        let names = self.station_names(institution);
        names.map(|name| (name.clone(), self.find(&self.caches.stations, name))).collect()
    }

    /// Of the platform: others are not ours to look at.
    fn station_names<'a>(&self, institution: &'a CreditorInstitution) -> impl Iterator<Item = &'a String> {
        let references = institution.spec.associations.iter().map(|association| &association.station_ref);
        references.filter(|reference| reference.namespace == self.platform).map(|reference| &reference.name)
    }

    fn brokers(&self, stations: &BTreeMap<String, Found<Station>>) -> BTreeMap<String, Found<Broker>> {
        let stations = stations.values().filter_map(|station| match station {
            Found::Object(station) => Some(&station.spec.broker_ref.name),
            Found::Missing | Found::Unreadable(_) => None,
        });
        stations.map(|name| (name.clone(), self.find(&self.caches.brokers, name))).collect()
    }

    /// The subscription keys of brokers.
    async fn keys(
        &self,
        brokers: impl IntoIterator<Item = &Found<Broker>>,
    ) -> BTreeMap<SecretKeyReference, secrets::Value> {
        let mut keys = BTreeMap::new();
        for broker in brokers {
            let Found::Object(broker) = broker else { continue };
            for product in &broker.spec.subscription_keys {
                for reference in [&product.primary].into_iter().chain(&product.secondary) {
                    let value = self.secrets.value(&self.platform, reference).await;
                    keys.insert(reference.clone(), value);
                }
            }
        }
        keys
    }

    fn profiles(&self, institution: &CreditorInstitution) -> Vec<(ProfileReference, Found<ServiceProfile>)> {
        let references = institution.spec.profiles.iter();
        references.map(|it| (it.clone(), self.find(&self.caches.profiles, &profile_name(it)))).collect()
    }

    async fn beneficiaries(&self, services: &[PaymentService]) -> BTreeMap<AccountName, Beneficiary> {
        let shares = services.iter().flat_map(|service| &service.spec.beneficiaries);
        let names: BTreeSet<AccountName> = shares.map(|it| (it.fiscal_code.clone(), it.account.clone())).collect();
        let mut owners = BTreeMap::new();
        for (fiscal_code, _) in &names {
            if !owners.contains_key(fiscal_code) {
                owners.insert(fiscal_code.clone(), self.owner(fiscal_code).await);
            }
        }
        names.into_iter().map(|name| (name.clone(), self.beneficiary(&name, owners[&name.0].as_deref()))).collect()
    }

    /// Of several that claim the fiscal code the one that tenant says holds it, else the oldest: a manifest that is in conflict gives the
    /// others neither its name nor its accounts.
    async fn owner(&self, fiscal_code: &str) -> Option<Arc<Guarded<CreditorInstitution>>> {
        let claimants = self.caches.claimants(fiscal_code, &self.platform);
        if claimants.len() > 1 {
            // Who cannot be asked had said it before.
            if let Some(tenant) = &self.tenant
                && let Ok(Some(status)) = tenant.institution(fiscal_code).await
            {
                self.memory.held(fiscal_code, &status.uid);
            }
            let holder = self.memory.holder(fiscal_code);
            let held = claimants.iter().find(|it| it.uid().is_some() && it.uid() == holder);
            return held.or_else(|| claimants.first()).cloned();
        }
        claimants.into_iter().next()
    }

    fn beneficiary(&self, (_, account): &AccountName, owner: Option<&Guarded<CreditorInstitution>>) -> Beneficiary {
        let Some(Ok(owner)) = owner.map(|owner| &owner.0) else { return Beneficiary::NoInstitution };
        let key = ObjectRef::new(account).within(&owner.namespace().unwrap_or_default());
        match self.caches.ibans.get(&key).as_deref().map(|iban| &iban.0) {
            Some(Ok(iban)) => {
                Beneficiary::Account { legal_name: owner.spec.legal_name.clone(), iban: Box::new(iban.clone()) }
            }
            Some(Err(_)) | None => Beneficiary::NoAccount,
        }
    }

    /// The oldest institution of each namespace: who has no rival. All are looked at once, however many there are.
    fn eldest(&self) -> Vec<Arc<Guarded<CreditorInstitution>>> {
        let mut all = self.caches.institutions.state();
        all.sort_by_cached_key(|it| (it.namespace(), age(&**it)));
        all.dedup_by(|later, eldest| later.meta().namespace == eldest.meta().namespace);
        all
    }

    /// The oldest other institution of the namespace, if it is older than this one.
    fn rival(&self, institution: &CreditorInstitution) -> Option<String> {
        let own = age(institution);
        let namespace = &institution.metadata.namespace;
        let neighbours = self.caches.institutions.state_filter(|it| it.meta().namespace == *namespace);
        let oldest = neighbours.into_iter().min_by_key(|it| age(&**it))?;
        (age(&*oldest) < own).then(|| oldest.name_any())
    }

    /// An object of the platform.
    fn find<K>(&self, store: &Store<Guarded<K>>, name: &str) -> Found<K>
    where
        K: Kind + HasStatus<Status: DeserializeOwned>,
    {
        match store.get(&ObjectRef::new(name).within(&self.platform)).as_deref().map(|object| &object.0) {
            None => Found::Missing,
            Some(Err(error)) => Found::Unreadable(error.error.clone()),
            Some(Ok(object)) => Found::Object(Box::new(self.fresh(object.clone()))),
        }
    }

    /// With the status that was just written, where the watch has not brought it back yet.
    fn fresh<K>(&self, mut object: K) -> K
    where
        K: Resource + HasStatus<Status: DeserializeOwned>,
    {
        let version = object.resource_version().unwrap_or_default();
        let written = self.memory.written(&object.uid().unwrap_or_default(), &version);
        if let Some(status) = written.and_then(|status| serde_json::from_value(status).ok()) {
            *object.status_mut() = Some(status);
        }
        object
    }
}

/// Since when it is there; names decide where two came in the same second.
fn age(object: &impl ResourceExt) -> (Option<Time>, String) {
    (object.creation_timestamp(), object.name_any())
}

/// The API server lets no profile be called otherwise.
fn profile_name(reference: &ProfileReference) -> String {
    format!("{}-{}", reference.name, reference.revision)
}
