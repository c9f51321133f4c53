//! What this replica knows of brokers, stations and institutions: enough to tell whose a message is without asking tenant.
//!
//! Whether an institution is active or a notice payable is never read from here: tenant decides (ARCHITECTURE.md 3.3).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use bytes::Bytes;
use fiorino_config_client::{decode, known};
use fiorino_proto::config::v1::{BrokerSpec, InstitutionSpec, LifecyclePhase, Resource, ResourceKind, StationSpec};
use fiorino_wire::Header;

/// The node-connector's reading of the configuration stream.
#[derive(Debug, Clone, Copy, Default)]
pub struct Projection;

/// One resource, as far as this service needs it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Item {
    /// An intermediary towards pagoPA.
    Broker(Broker),
    /// A station of a broker.
    Station {
        /// `<broker fiscal code>_NN`.
        station_id: String,
        /// Fiscal code of its broker.
        broker: String,
    },
    /// A creditor institution.
    Institution {
        /// 11 digits.
        fiscal_code: String,
        /// Ids of the stations it is associated with.
        stations: BTreeSet<String>,
        /// Tells this spec from another.
        mark: u64,
    },
    /// An account of an institution: looked at only because pagoPA registers it.
    Account {
        /// Fiscal code of the institution.
        institution: String,
        /// Tells this spec from another.
        mark: u64,
    },
}

/// A broker and how pagoPA's registry is read for it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Broker {
    /// 11 digits.
    pub fiscal_code: String,
    /// Base URL of the Backoffice external API; empty: no read-back.
    pub backoffice_url: String,
    /// Subscription keys, primary first, sealed to this service.
    pub sealed_keys: Vec<Bytes>,
}

/// Everything, indexed for the checks.
#[derive(Debug, Default)]
pub struct View {
    brokers: BTreeMap<String, Broker>,
    /// Station id to fiscal code of its broker.
    stations: HashMap<String, String>,
    /// Fiscal code to station ids.
    institutions: HashMap<String, HashSet<String>>,
    /// Fiscal code of a broker to what tells its part of the configuration from another.
    marks: HashMap<String, u64>,
}

/// To whom a message of the node is addressed: its header.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// `idBrokerPA`
    pub broker: String,
    /// `idStation`
    pub station: String,
    /// `idPA`
    pub institution: String,
}

/// What the view says of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// Broker, station and institution are known and belong together.
    Associated,
    /// All three are known, but do not belong together as far as this replica knows.
    NotAssociated,
    /// At least one is not known here: ask tenant.
    Unknown,
}

// === impl Projection ===

impl fiorino_config_client::Projection for Projection {
    type Item = Item;
    type View = View;

    fn wants(&self, kind: ResourceKind) -> bool {
        match kind {
            ResourceKind::Broker | ResourceKind::Station | ResourceKind::Institution | ResourceKind::Account => true,
            ResourceKind::Service | ResourceKind::Unspecified => false,
        }
    }

    fn parse(&self, resource: &Resource) -> Result<Item, String> {
        match resource.kind() {
            ResourceKind::Broker => decode::<BrokerSpec>(resource).map(broker),
            ResourceKind::Station => decode::<StationSpec>(resource)
                .map(|spec| Item::Station { station_id: spec.station_id, broker: spec.broker_fiscal_code }),
            ResourceKind::Institution => {
                let spec = decode::<InstitutionSpec>(resource)?;
                known::<LifecyclePhase>(spec.phase, "phase")?;
                let stations = spec.associations.into_iter().map(|association| association.station_id).collect();
                Ok(Item::Institution { fiscal_code: spec.fiscal_code, stations, mark: mark(&resource.spec) })
            }
            ResourceKind::Account => {
                Ok(Item::Account { institution: resource.institution.clone(), mark: mark(&resource.spec) })
            }
            ResourceKind::Service | ResourceKind::Unspecified => Err("the kind is none of this service's".to_owned()),
        }
    }

    fn view(&self, items: &BTreeMap<String, Arc<Item>>) -> View {
        let mut view = View::default();
        for item in items.values() {
            view.add(item);
        }
        view.marks = view.marked(items);
        view
    }
}

fn broker(spec: BrokerSpec) -> Item {
    Item::Broker(Broker {
        fiscal_code: spec.fiscal_code,
        backoffice_url: spec.backoffice_url,
        sealed_keys: spec.sealed_backoffice_keys,
    })
}

fn mark(spec: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    spec.hash(&mut hasher);
    hasher.finish()
}

// === impl Broker ===

impl std::fmt::Debug for Broker {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Broker")
            .field("fiscal_code", &self.fiscal_code)
            .field("backoffice_url", &self.backoffice_url)
            .field("sealed_keys", &self.sealed_keys.len())
            .finish()
    }
}

// === impl Address ===

impl From<&Header> for Address {
    fn from(header: &Header) -> Self {
        Self {
            broker: header.id_broker_pa.clone(),
            station: header.id_station.clone(),
            institution: header.id_pa.clone(),
        }
    }
}

// === impl View ===

impl View {
    /// Whether a message is for an institution that this replica knows.
    pub fn lookup(&self, address: &Address) -> Lookup {
        let broker = self.brokers.contains_key(&address.broker);
        let station = self.stations.get(&address.station);
        let institution = self.institutions.get(&address.institution);
        match (broker, station, institution) {
            (true, Some(owner), Some(stations)) => {
                if *owner == address.broker && stations.contains(&address.station) {
                    Lookup::Associated
                } else {
                    Lookup::NotAssociated
                }
            }
            _ => Lookup::Unknown,
        }
    }

    /// Every broker, by fiscal code.
    pub fn brokers(&self) -> &BTreeMap<String, Broker> {
        &self.brokers
    }

    /// Another value when anything changed that pagoPA registers for the broker: itself, its stations, the institutions
    /// associated with them, their accounts, and those of institutions without stations.
    pub fn mark(&self, broker: &str) -> u64 {
        self.marks.get(broker).copied().unwrap_or_default()
    }

    fn marked(&self, items: &BTreeMap<String, Arc<Item>>) -> HashMap<String, u64> {
        let mut hashers: HashMap<String, DefaultHasher> = HashMap::new();
        for (uid, item) in items {
            for broker in self.brokers_of(item) {
                let hasher = hashers.entry(broker.to_owned()).or_default();
                uid.hash(hasher);
                item.hash(hasher);
            }
        }
        hashers.into_iter().map(|(broker, hasher)| (broker, hasher.finish())).collect()
    }

    fn brokers_of<'a>(&'a self, item: &'a Item) -> BTreeSet<&'a str> {
        let of_institution = |fiscal_code: &str| {
            let stations = self.institutions.get(fiscal_code).into_iter().flatten();
            stations.filter_map(|station| self.stations.get(station).map(String::as_str)).collect()
        };
        match item {
            Item::Broker(broker) => BTreeSet::from([broker.fiscal_code.as_str()]),
            Item::Station { broker, .. } => BTreeSet::from([broker.as_str()]),
            Item::Institution { fiscal_code, .. } => of_institution(fiscal_code),
            // Who has no station of its own, as an institution that receives shares, may be shown by any broker's reading.
            Item::Account { institution, .. } if self.institutions.get(institution).is_some_and(HashSet::is_empty) => {
                self.brokers.keys().map(String::as_str).collect()
            }
            Item::Account { institution, .. } => of_institution(institution),
        }
    }

    fn add(&mut self, item: &Item) {
        match item {
            Item::Broker(broker) => {
                self.brokers.insert(broker.fiscal_code.clone(), broker.clone());
            }
            Item::Station { station_id, broker } => {
                self.stations.insert(station_id.clone(), broker.clone());
            }
            Item::Institution { fiscal_code, stations, .. } => {
                self.institutions.entry(fiscal_code.clone()).or_default().extend(stations.iter().cloned());
            }
            Item::Account { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use fiorino_config_client::Projection as _;
    use fiorino_proto::config::v1::{AccountSpec, Association};
    use rstest::rstest;

    use super::*;

    const BROKER: &str = "88888888888";
    const STATION: &str = "88888888888_01";
    const INSTITUTION: &str = "77777777777";

    fn resource(kind: ResourceKind, spec: &impl prost::Message) -> Resource {
        Resource { kind: kind.into(), spec: spec.encode_to_vec().into(), ..Resource::default() }
    }

    fn institution(phase: LifecyclePhase) -> Resource {
        let association = Association { station_id: STATION.into(), ..Association::default() };
        let spec = InstitutionSpec {
            fiscal_code: INSTITUTION.into(),
            phase: phase.into(),
            associations: vec![association],
            ..InstitutionSpec::default()
        };
        resource(ResourceKind::Institution, &spec)
    }

    fn station(id: &str, broker: &str) -> Resource {
        let spec = StationSpec { station_id: id.into(), broker_fiscal_code: broker.into(), primitive_version: 2 };
        resource(ResourceKind::Station, &spec)
    }

    fn view(resources: &[Resource]) -> View {
        let items = resources.iter().enumerate();
        Projection
            .view(&items.map(|(uid, item)| (uid.to_string(), Arc::new(Projection.parse(item).unwrap()))).collect())
    }

    fn address(broker: &str, station: &str, institution: &str) -> Address {
        Address { broker: broker.into(), station: station.into(), institution: institution.into() }
    }

    #[rstest]
    #[case::ours(address(BROKER, STATION, INSTITUTION), Lookup::Associated)]
    #[case::other_station(address(BROKER, "88888888888_02", INSTITUTION), Lookup::NotAssociated)]
    #[case::station_of_another_broker(address("99999999999", STATION, INSTITUTION), Lookup::NotAssociated)]
    #[case::unknown_broker(address("11111111111", STATION, INSTITUTION), Lookup::Unknown)]
    #[case::unknown_station(address(BROKER, "88888888888_09", INSTITUTION), Lookup::Unknown)]
    #[case::unknown_institution(address(BROKER, STATION, "66666666666"), Lookup::Unknown)]
    fn an_address_is_looked_up(#[case] address: Address, #[case] expected: Lookup) {
        let broker = |code: &str| {
            resource(ResourceKind::Broker, &BrokerSpec { fiscal_code: code.into(), ..BrokerSpec::default() })
        };
        let view = view(&[
            broker(BROKER),
            broker("99999999999"),
            station(STATION, BROKER),
            station("88888888888_02", BROKER),
            institution(LifecyclePhase::Closed),
        ]);
        assert_eq!(view.lookup(&address), expected);
    }

    fn account(institution: &str, holder: &str) -> Resource {
        let spec = AccountSpec { holder: holder.into(), ..AccountSpec::default() };
        Resource { institution: institution.into(), ..resource(ResourceKind::Account, &spec) }
    }

    #[rstest]
    #[case::account_of_its_institution(account(INSTITUTION, "another"), true)]
    #[case::account_of_another(account("66666666666", "another"), false)]
    #[case::its_institution(institution(LifecyclePhase::Closed), true)]
    #[case::its_station(station("88888888888_02", BROKER), true)]
    #[case::station_of_another(station("99999999999_01", "99999999999"), false)]
    fn a_brokers_mark_tells_what_concerns_it(#[case] change: Resource, #[case] concerns: bool) {
        let broker =
            resource(ResourceKind::Broker, &BrokerSpec { fiscal_code: BROKER.into(), ..BrokerSpec::default() });
        let before = [broker, station(STATION, BROKER), institution(LifecyclePhase::Live), account(INSTITUTION, "it")];
        let after = before.clone().into_iter().chain([change]).collect::<Vec<_>>();
        assert_eq!(view(&before).mark(BROKER), view(&before).mark(BROKER));
        assert_eq!(view(&before).mark(BROKER) != view(&after).mark(BROKER), concerns);
        // What is gone concerns it as well.
        assert_ne!(view(&before).mark(BROKER), view(&before[..3]).mark(BROKER));
    }

    #[test]
    fn an_account_without_station_concerns_every_broker() {
        let broker = |code: &str| {
            resource(ResourceKind::Broker, &BrokerSpec { fiscal_code: code.into(), ..BrokerSpec::default() })
        };
        let province = InstitutionSpec {
            fiscal_code: "66666666666".into(),
            phase: LifecyclePhase::Live.into(),
            ..InstitutionSpec::default()
        };
        let before = [
            broker(BROKER),
            broker("99999999999"),
            resource(ResourceKind::Institution, &province),
            account("66666666666", "tefa"),
        ];
        let after = [before[0].clone(), before[1].clone(), before[2].clone(), account("66666666666", "another")];
        for code in [BROKER, "99999999999"] {
            assert_ne!(view(&before).mark(code), view(&after).mark(code), "{code}");
        }
    }

    #[test]
    fn an_unknown_phase_is_refused() {
        let spec = InstitutionSpec { phase: 99, ..InstitutionSpec::default() };
        let refused = Projection.parse(&resource(ResourceKind::Institution, &spec)).unwrap_err();
        assert!(refused.contains("phase"), "{refused}");
    }

    #[test]
    fn keys_are_not_printed() {
        let broker = Broker {
            fiscal_code: BROKER.into(),
            backoffice_url: String::new(),
            sealed_keys: vec![Bytes::from_static(b"sealed")],
        };
        assert!(format!("{broker:?}").contains("sealed_keys: 1"), "{broker:?}");
    }
}
