//! Whatever was applied before: a bundle that is applied twice changes nothing the second time.

use fiorino_proto::config::v1::{
    AccountNumber, AccountSpec, ApplyBundleRequest, Association, AssociationState, BrokerSpec, ExpiryPolicy,
    InstitutionSpec, LifecyclePhase, Resource, ServiceSpec, StationSpec,
};
use proptest::{collection, prelude::*, sample};
use prost::Message;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::config::Environment;

/// What may differ from one bundle to the next.
#[derive(Debug, Clone)]
struct Sent {
    /// Which manifest of the institution, and how it is called.
    object: u8,
    generation: i64,
    adopt: bool,
    legal_name: &'static str,
    /// Whether the bundle has the account of its services; they are its codes, and whether they are active.
    account: bool,
    services: Vec<(u8, bool)>,
    keep: Vec<u8>,
}

// === impl Sent ===

impl Sent {
    fn any() -> impl Strategy<Value = Self> {
        let services = collection::vec((0..3_u8, any::<bool>()), 0..4);
        let keep = collection::vec(0..3_u8, 0..2);
        let names = sample::select(vec!["Comune", "Comune di Fontechiara"]);
        let object = (0..3_u8, 1..4_i64, any::<bool>());
        (object, names, any::<bool>(), services, keep).prop_map(
            |((object, generation, adopt), legal_name, account, mut services, mut keep)| {
                services.sort_unstable();
                services.dedup_by_key(|(code, _)| *code);
                keep.retain(|kept| services.iter().all(|(code, _)| code != kept));
                keep.dedup();
                Self { object, generation, adopt, legal_name, account, services, keep }
            },
        )
    }

    fn bundle(&self) -> Bundle {
        let institution = InstitutionSpec {
            fiscal_code: "80012340560".into(),
            legal_name: self.legal_name.into(),
            phase: LifecyclePhase::Live.into(),
            associations: vec![Association {
                station_id: "15376371009_01".into(),
                aux_digit: 3,
                code: "12".into(),
                state: AssociationState::Issuing.into(),
                ..Association::default()
            }],
            ..InstitutionSpec::default()
        };
        let number = AccountNumber {
            valid_from: "2026-01-01".into(),
            iban: "IT60X0542811101000000123456".into(),
            ..AccountNumber::default()
        };
        let account = AccountSpec { name: "tesoreria".into(), numbers: vec![number], ..AccountSpec::default() };
        let service = |&(code, active): &(u8, bool)| {
            let spec = ServiceSpec {
                code: format!("S{code}"),
                title_it: "Mensa".into(),
                taxonomy_code: "9/0107101TS/".into(),
                account: "tesoreria".into(),
                expiry_policy: ExpiryPolicy::PayableAfterDueDate.into(),
                active,
                ..ServiceSpec::default()
            };
            self.own(ResourceKind::Service, &format!("S{code}"), &spec)
        };
        let broker = BrokerSpec { fiscal_code: "15376371009".into(), ..BrokerSpec::default() };
        let station = StationSpec {
            station_id: "15376371009_01".into(),
            broker_fiscal_code: "15376371009".into(),
            primitive_version: 2,
        };
        let account = self.account.then(|| self.own(ResourceKind::Account, "tesoreria", &account));
        let request = ApplyBundleRequest {
            fence: 0,
            platform: "fiorino".into(),
            environment: "Uat".into(),
            institution: Some(self.own(ResourceKind::Institution, "comune", &institution)),
            children: account.into_iter().chain(self.services.iter().map(service)).collect(),
            shared: vec![
                resource(ResourceKind::Broker, "broker", &broker),
                resource(ResourceKind::Station, "station", &station),
            ],
            keep: self.keep.iter().map(|code| self.uid(&format!("S{code}"))).collect(),
        };
        Bundle::read(request, "fiorino", Environment::Uat).unwrap()
    }

    /// The first two objects are called the same: one is the other made anew.
    fn own(&self, kind: ResourceKind, name: &str, spec: &impl Message) -> Resource {
        let namespace = if self.object < 2 { "comune" } else { "elsewhere" };
        let (generation, adopt) = (self.generation, self.adopt);
        Resource { namespace: namespace.into(), generation, adopt, ..resource(kind, &self.uid(name), spec) }
    }

    fn uid(&self, name: &str) -> String {
        format!("{}-{name}", self.object)
    }
}

fn resource(kind: ResourceKind, uid: &str, spec: &impl Message) -> Resource {
    let spec = spec.encode_to_vec();
    let hash = Sha256::digest(&spec).to_vec().into();
    Resource { kind: kind.into(), uid: uid.into(), name: uid.into(), hash, spec: spec.into(), ..Resource::default() }
}

/// What the store does with a plan; false = its constraints refuse it and nothing is written.
fn carry_out(current: &mut Current, plan: &Plan<'_>, bundle: &Bundle) -> bool {
    let mut next = current.rows.clone();
    for uid in &plan.tombstones {
        next.get_mut(uid).unwrap().removed = true;
    }
    for Write { item, adopted } in &plan.writes {
        let identity = item.spec.identity().to_owned();
        let rival = |row: &Row| row.is(item.kind) && row.identity == identity && row.uid != item.resource.uid;
        if next.values().any(rival) || item.kind == ResourceKind::Institution && !plan.takes_institution {
            return false;
        }
        let Resource { uid, namespace, name, generation, hash, required_features, .. } = item.resource.clone();
        let (kind, hash) = (item.kind as i16, hash.to_vec());
        let row = Row {
            uid: uid.clone(),
            kind,
            identity: identity.clone(),
            namespace,
            name,
            generation,
            hash,
            required_features,
            removed: false,
            adopted: *adopted,
        };
        next.insert(uid, row);
        match item.kind {
            ResourceKind::Broker => current.brokers.insert(identity),
            ResourceKind::Station => current.stations.insert(identity),
            _ => false,
        };
    }
    for uid in &plan.forget_adoption {
        next.get_mut(uid).unwrap().adopted = false;
    }
    current.rows = next;
    let resource = &bundle.institution.resource;
    if plan.writes.iter().any(|write| write.item.kind == ResourceKind::Institution) {
        current.holder = Some(Holder {
            institution_id: 1,
            platform: "fiorino".into(),
            uid: resource.uid.clone(),
            namespace: resource.namespace.clone(),
            name: resource.name.clone(),
            managed: true,
            config_seq: 0,
        });
    }
    true
}

/// Live rows, for a comparison.
fn live(current: &Current) -> Vec<(&str, &str, &[u8])> {
    let rows = current.rows.values().filter(|row| !row.removed);
    let mut live: Vec<_> = rows.map(|row| (row.uid.as_str(), row.identity.as_str(), row.hash.as_slice())).collect();
    live.sort_unstable();
    live
}

proptest! {
    #[test]
    fn a_bundle_applied_twice_changes_nothing_the_second_time(history in collection::vec(Sent::any(), 1..6)) {
        let mut current = Current::default();
        for sent in &history {
            let bundle = sent.bundle();
            let before = live(&current).len();
            let plan = Plan::new(&bundle, &current);
            if !carry_out(&mut current, &plan, &bundle) {
                prop_assert_eq!(live(&current).len(), before);
                continue;
            }
            let applied = plan.outcomes.iter().any(|outcome| outcome.result() == ApplyResult::Applied);
            prop_assert!(applied || plan.writes.is_empty());
            let second = Plan::new(&bundle, &current);
            prop_assert!(second.is_empty() && second.forget_adoption.is_empty(), "{:?}", second);
            let none_applied = second.outcomes.iter().all(|outcome| outcome.result() != ApplyResult::Applied);
            prop_assert!(none_applied, "{:?}", second.outcomes);
            // What is live is what was sent, or what was kept, or what was invalid or stale and stays as it was.
            for (uid, ..) in live(&current) {
                let named = bundle.items().any(|item| item.resource.uid == uid) || bundle.keep.contains(uid);
                prop_assert!(named || !plan.proceeds, "{} is left over", uid);
            }
        }
    }

    #[test]
    fn identities_are_held_once(history in collection::vec(Sent::any(), 1..6)) {
        let mut current = Current::default();
        for sent in &history {
            let bundle = sent.bundle();
            let plan = Plan::new(&bundle, &current);
            carry_out(&mut current, &plan, &bundle);
            let rows = current.rows.values().filter(|row| !row.removed);
            let mut held: Vec<_> = rows.map(|row| (row.kind, row.identity.as_str())).collect();
            held.sort_unstable();
            let all = held.len();
            held.dedup();
            prop_assert_eq!(held.len(), all);
        }
    }
}
