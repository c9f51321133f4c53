//! Every CEL rule accepts what it should and refuses what it must, on the API server.

mod cases;

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use self::cases::cases;
use crate::cluster::Cluster;

/// A rule, told by the text that a person reads.
struct Case {
    kind: &'static str,
    message: &'static str,
    /// Merged into [`base`]; for a transition rule: the object before the change.
    given: Value,
    refused: Vec<Value>,
    accepted: Vec<Value>,
    transition: bool,
}

// === impl Case ===

impl Case {
    /// A rule that looks at one object: the changes are merged into [`base`] and created.
    fn state(kind: &'static str, message: &'static str, refused: Vec<Value>, accepted: Vec<Value>) -> Self {
        Self { kind, message, given: json!({}), refused, accepted, transition: false }
    }

    /// A rule that looks at a change: `given` is created, then changed.
    fn change(
        kind: &'static str,
        message: &'static str,
        given: Value,
        refused: Vec<Value>,
        accepted: Vec<Value>,
    ) -> Self {
        Self { kind, message, given, refused, accepted, transition: true }
    }
}

/// The smallest object of a kind.
pub(crate) fn base(kind: &str, name: &str) -> Value {
    let spec = match kind {
        "Broker" => json!({"fiscalCode": "91073550427"}),
        "Station" => json!({"id": "91073550427_01", "brokerRef": {"name": "valdarda"}}),
        "ServiceProfile" => json!({"profile": name, "revision": 1, "services": [template("TARI")]}),
        "CreditorInstitution" => json!({
            "fiscalCode": "80041780356", "legalName": "Comune di Roccafiorina", "kind": "Municipality",
            "associations": [association("12", "")],
        }),
        "Iban" => {
            json!({"holder": "Comune di Roccafiorina", "numbers": [number("2026-01-01", "IT70C0998877665000000104233")]})
        }
        "PaymentService" => json!({"code": "MENSA"}),
        other => panic!("no kind {other}"),
    };
    let name = if kind == "ServiceProfile" { format!("{name}-1") } else { name.to_owned() };
    json!({"apiVersion": "fiorino.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn template(code: &str) -> Value {
    json!({"code": code, "title": {"it": "Tassa sui rifiuti"}, "taxonomyCode": "9/0101101IM/", "account": "tesoreria"})
}

fn station(namespace: &str) -> Value {
    json!({"namespace": namespace, "name": "valdarda-01"})
}

fn association(segregation_code: &str, nav_prefix: &str) -> Value {
    json!({"stationRef": station("fiorino"), "segregationCode": segregation_code, "navPrefix": nav_prefix})
}

fn number(valid_from: &str, iban: &str) -> Value {
    json!({"validFrom": valid_from, "iban": iban})
}

fn spec(value: Value) -> Value {
    Value::Object([("spec".to_owned(), value)].into_iter().collect())
}

#[tokio::test]
async fn every_rule_refuses_and_accepts() -> Result<()> {
    let cluster = Cluster::new().await?;
    for (index, case) in cases().iter().enumerate() {
        check(&cluster, case, &format!("case-{index}")).await?;
    }
    Ok(())
}

async fn check(cluster: &Cluster, case: &Case, name: &str) -> Result<()> {
    let mut given = base(case.kind, name);
    merge(&mut given, &case.given);
    let object = given["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    if case.transition {
        cluster.create(case.kind, &given).await?;
    }
    let attempt = async |change: &Value| {
        if case.transition {
            return cluster.try_merge(case.kind, &object, change).await;
        }
        let mut changed = given.clone();
        merge(&mut changed, change);
        cluster.try_create(case.kind, &changed).await
    };
    for change in &case.refused {
        let Err(error) = attempt(change).await else { panic!("{}: accepted {change}: {}", case.kind, case.message) };
        ensure!(error.to_string().contains(case.message), "{} {change}: {error}", case.kind);
    }
    for change in &case.accepted {
        let outcome = attempt(change).await;
        ensure!(
            outcome.is_ok(),
            "{} {change}: {}",
            case.kind,
            outcome.err().map(|error| error.to_string()).unwrap_or_default()
        );
    }
    Ok(())
}

#[test]
fn every_rule_has_its_case() {
    let tested: BTreeSet<(String, String)> =
        cases().iter().map(|case| (case.kind.to_owned(), case.message.to_owned())).collect();
    let mut declared = BTreeSet::new();
    for definition in fiorino_crds::all() {
        let schema = serde_json::to_value(&definition.spec.versions[0].schema).unwrap();
        collect(&definition.spec.names.kind, &schema, &mut declared);
    }
    assert_eq!(tested, declared);
}

fn collect(kind: &str, value: &Value, declared: &mut BTreeSet<(String, String)>) {
    for rule in value["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let message = rule["message"].as_str().unwrap_or("a rule without message");
        declared.insert((kind.to_owned(), message.to_owned()));
    }
    match value {
        Value::Object(fields) => fields.values().for_each(|child| collect(kind, child, declared)),
        Value::Array(items) => items.iter().for_each(|child| collect(kind, child, declared)),
        _ => {}
    }
}

#[tokio::test]
async fn what_is_required_or_malformed_is_refused() -> Result<()> {
    let cluster = Cluster::new().await?;
    let portal = |field: &str, url: &str| {
        let mut change = spec(json!({"portal": {"hostnames": ["a.example"]}}));
        change["spec"]["portal"][field] = url.into();
        change
    };
    let refused = [
        ("CreditorInstitution", spec(json!({"fiscalCode": null})), "spec.fiscalCode: Required value"),
        ("CreditorInstitution", spec(json!({"fiscalCode": "8004178035"})), "spec.fiscalCode"),
        ("CreditorInstitution", spec(json!({"adhesion": {"date": "2026-02-30"}})), "spec.adhesion.date"),
        (
            "CreditorInstitution",
            spec(json!({"associations": [association("12", ""), association("12", "")]})),
            "Duplicate value",
        ),
        ("CreditorInstitution", spec(json!({"navFloor": -1})), "spec.navFloor"),
        ("CreditorInstitution", spec(json!({"portal": {"hostnames": ["a.example", "a.example"]}})), "Duplicate value"),
        ("CreditorInstitution", portal("contactUrl", "http://comune.example/contatti"), "spec.portal.contactUrl"),
        ("CreditorInstitution", portal("contactUrl", "javascript:alert(1)"), "spec.portal.contactUrl"),
        ("CreditorInstitution", portal("accessibilityUrl", "https://agid.example/a b"), "spec.portal.accessibilityUrl"),
        (
            "Iban",
            spec(json!({"numbers": [number("2026-01-01", "it70c0998877665000000104233")]})),
            "spec.numbers[0].iban",
        ),
        ("Iban", spec(json!({"numbers": []})), "spec.numbers"),
        (
            "Iban",
            spec(json!({"numbers": [number("1899-12-31", "IT70C0998877665000000104233")]})),
            "spec.numbers[0].validFrom",
        ),
        ("CreditorInstitution", spec(json!({"legalName": "Comune di\nRoccafiorina"})), "spec.legalName"),
        ("CreditorInstitution", spec(json!({"legalName": "\u{a0}\u{2003}"})), "spec.legalName"),
        ("CreditorInstitution", spec(json!({"legalName": "Comune\u{fffe}"})), "spec.legalName"),
        ("CreditorInstitution", spec(json!({"officeName": "Ufficio\u{ffff}"})), "spec.officeName"),
        ("PaymentService", spec(json!({"title": {"it": "  "}})), "spec.title.it"),
        ("Iban", json!({"metadata": {"name": "a".repeat(64)}}), "metadata.name: Too long"),
        ("PaymentService", spec(json!({"taxonomyCode": "5/0101101IM/"})), "spec.taxonomyCode"),
        ("PaymentService", spec(json!({"code": "mensa"})), "spec.code"),
        ("Station", spec(json!({"id": "91073550427"})), "spec.id"),
        ("Station", spec(json!({"primitiveVersion": 3})), "spec.primitiveVersion"),
        ("Broker", spec(json!({"endpoints": {"backoffice": "http://pagopa.example"}})), "spec.endpoints.backoffice"),
        ("ServiceProfile", spec(json!({"services": []})), "spec.services"),
    ];
    for (kind, change, text) in refused {
        let mut manifest = base(kind, "malformed");
        merge(&mut manifest, &change);
        let Err(error) = cluster.try_create(kind, &manifest).await else { panic!("{kind}: accepted {change}") };
        ensure!(error.to_string().contains(text), "{kind} {change}: {error}");
    }
    Ok(())
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
