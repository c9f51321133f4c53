//! A small world for the pure rules: one municipality, its platform, a province that shares.

use std::collections::BTreeMap;

use fiorino_crds::{
    Broker, CreditorInstitution, Iban, PaymentService, ServiceProfile, Station,
    reference::{ProfileReference, SecretKeyReference},
};
use fiorino_operator::{
    Environment,
    institution::{
        dereference::{Beneficiary, Found, Snapshot},
        secrets::Problem,
        validate::{Rules, Validated, validate},
    },
    seal::SealKey,
};
use jiff::civil::{Date, date};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub(crate) const INSTITUTION: &str = "80041780356";
pub(crate) const BROKER: &str = "91073550427";
pub(crate) const PROVINCE: &str = "80236140770";
pub(crate) const IBAN: &str = "IT70C0998877665000000104233";
pub(crate) const POSTAL_IBAN: &str = "IT48Z0760111600001047382910";
/// As [`IBAN`], with two digits exchanged.
pub(crate) const WRONG_IBAN: &str = "IT70C0998877665000000104323";
/// Its check digits are right, but where Italian numbers have a letter it has a digit: what the API server takes.
pub(crate) const ODD_IBAN: &str = "IT4250998877665000000104233";
/// The public half of a pair of which nobody knows the other.
pub(crate) const SEAL_KEY: &str = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742";

pub(crate) fn today() -> Date {
    date(2026, 11, 23)
}

pub(crate) fn rules(environment: Environment) -> Rules {
    Rules { platform: "fiorino".to_owned(), environment, allowed_hostnames: vec!["localhost".to_owned()] }
}

/// An object as the API server gives it back.
pub(crate) fn object<K: DeserializeOwned>(kind: &str, namespace: &str, name: &str, spec: Value) -> K {
    let metadata = json!({
        "name": name, "namespace": namespace, "uid": format!("uid-{name}"), "generation": 1, "resourceVersion": "1",
        "creationTimestamp": "2026-11-01T08:00:00Z",
    });
    let object = json!({"apiVersion": "fiorino.dev/v1alpha1", "kind": kind, "metadata": metadata});
    let mut object = object;
    object["spec"] = spec;
    serde_json::from_value(object).unwrap()
}

pub(crate) fn institution(change: &Value) -> CreditorInstitution {
    let mut spec = json!({
        "fiscalCode": INSTITUTION, "legalName": "Comune di Roccafiorina", "kind": "Municipality",
        "adhesion": {"date": "2026-10-05"},
        "associations": [{"stationRef": {"namespace": "fiorino", "name": "valdarda-01"}, "segregationCode": "12"}],
        "profiles": [{"name": "comune-standard", "revision": 1}],
        "portal": {"hostnames": ["roccafiorina.localhost"], "contactUrl": "https://comune.example/contatti",
            "accessibilityUrl": "https://comune.example/accessibilita"},
    });
    merge(&mut spec, change);
    object("CreditorInstitution", "comune", "roccafiorina", spec)
}

pub(crate) fn iban(name: &str, numbers: Value) -> Iban {
    let mut spec = json!({"holder": "Comune di Roccafiorina"});
    spec["numbers"] = numbers;
    object("Iban", "comune", name, spec)
}

pub(crate) fn service(name: &str, spec: Value) -> PaymentService {
    object("PaymentService", "comune", name, spec)
}

pub(crate) fn station(change: &Value) -> Station {
    let mut spec =
        json!({"id": format!("{BROKER}_01"), "brokerRef": {"name": "valdarda"}, "allowedNamespaces": {"from": "All"}});
    merge(&mut spec, change);
    object("Station", "fiorino", "valdarda-01", spec)
}

pub(crate) fn broker(change: &Value) -> Broker {
    let mut spec = json!({
        "fiscalCode": BROKER,
        "subscriptionKeys": [{"product": "BackofficeExternal", "primary": {"name": "pagopa", "key": "backoffice"}}],
    });
    merge(&mut spec, change);
    object("Broker", "fiorino", "valdarda", spec)
}

pub(crate) fn profile() -> ServiceProfile {
    let services = json!([
        {"code": "TARI", "title": {"it": "Tassa sui rifiuti"}, "taxonomyCode": "0101101IM", "account": "tesoreria"},
        {"code": "MENSA", "title": {"it": "Mensa"}, "taxonomyCode": "9/0107101TS/", "account": "tesoreria"},
    ]);
    let spec = json!({"profile": "comune-standard", "revision": 1, "services": services});
    object("ServiceProfile", "fiorino", "comune-standard-1", spec)
}

/// The key of the broker.
pub(crate) fn key() -> SecretKeyReference {
    SecretKeyReference { name: "pagopa".to_owned(), key: "backoffice".to_owned() }
}

/// A subscription key as it is sent.
pub(crate) fn sealed(key: &str) -> Vec<u8> {
    let seal_key: SealKey = SEAL_KEY.parse().unwrap();
    seal_key.seal(key.as_bytes()).unwrap()
}

/// Everything is right.
pub(crate) fn snapshot() -> Snapshot {
    Snapshot {
        institution: institution(&json!({})),
        rival: None,
        ibans: vec![iban("tesoreria", json!([{"validFrom": "2026-01-01", "iban": IBAN}]))],
        services: vec![service(
            "mensa",
            json!({"code": "MENSA", "amount": {"minimumCents": 100, "maximumCents": 50_000}}),
        )],
        unreadable: Vec::new(),
        stations: BTreeMap::from([("valdarda-01".to_owned(), found(station(&json!({}))))]),
        brokers: BTreeMap::from([("valdarda".to_owned(), found(broker(&json!({}))))]),
        keys: BTreeMap::from([(key(), Ok(sealed("0123456789abcdef")))]),
        profiles: vec![(ProfileReference { name: "comune-standard".to_owned(), revision: 1 }, found(profile()))],
        beneficiaries: BTreeMap::new(),
        today: today(),
    }
}

/// The province's account, as its owner has it.
pub(crate) fn province(published: bool, numbers: Value) -> Beneficiary {
    let mut iban = iban("tefa", numbers);
    iban.spec.published = published;
    Beneficiary::Account { legal_name: "Provincia di Valdarda".to_owned(), iban: Box::new(iban) }
}

pub(crate) fn found<K>(object: K) -> Found<K> {
    Found::Object(Box::new(object))
}

pub(crate) fn no_secret(snapshot: &mut Snapshot, problem: Problem) {
    snapshot.keys.insert(key(), Err(problem));
}

pub(crate) fn judge(snapshot: &Snapshot) -> Validated {
    validate(snapshot, &rules(Environment::Production))
}

/// JSON merge patch (RFC 7386).
pub(crate) fn merge(target: &mut Value, change: &Value) {
    let Value::Object(fields) = change else {
        *target = change.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in fields {
        if value.is_null() {
            target.as_object_mut().expect("made an object above").remove(name);
        } else {
            merge(&mut target[name], value);
        }
    }
}
