//! Profiles and overrides become services.

use fiorino_crds::{
    PaymentServiceSpec, ServiceProfileSpec,
    expand::{Expanded, Problem, expand},
    service::ExpiryPolicy,
};
use serde_json::{Value, json};

fn profile(name: &str, revision: u32, services: &Value) -> ServiceProfileSpec {
    serde_json::from_value(json!({"profile": name, "revision": revision, "services": services})).unwrap()
}

fn standard() -> ServiceProfileSpec {
    profile(
        "comune-standard",
        7,
        &json!([
            {"code": "TARI", "title": {"it": "Tassa sui rifiuti"}, "taxonomyCode": "9/0101101IM/", "account": "tesoreria",
                "dueDate": {"expiryPolicy": "NotPayableAfterDueDate"}, "amount": {"minimumCents": 500}},
            {"code": "MENSA", "title": {"it": "Mensa"}, "taxonomyCode": "0107101TS", "account": "tesoreria", "active": false},
        ]),
    )
}

fn service(value: Value) -> PaymentServiceSpec {
    serde_json::from_value(value).unwrap()
}

fn run(profiles: &[ServiceProfileSpec], own: &[PaymentServiceSpec]) -> Expanded {
    expand(&profiles.iter().collect::<Vec<_>>(), &own.iter().collect::<Vec<_>>())
}

#[test]
fn a_profile_alone_brings_its_services() {
    let expanded = run(&[standard()], &[]);
    assert_eq!(expanded.problems, []);
    assert_eq!(expanded.services.keys().collect::<Vec<_>>(), ["MENSA", "TARI"]);
    let tari = &expanded.services["TARI"];
    assert_eq!(tari.profile_revision.as_deref(), Some("comune-standard/7"));
    assert_eq!((tari.expiry_policy, tari.active, tari.own), (ExpiryPolicy::NotPayableAfterDueDate, true, None));
    assert!(!expanded.services["MENSA"].active);
}

#[test]
fn an_override_changes_what_it_names_and_inherits_the_rest() {
    let own = [service(json!({"code": "TARI", "account": "tributi", "amount": {"maximumCents": 90_000}}))];
    let expanded = run(&[standard()], &own);
    let tari = &expanded.services["TARI"];
    assert_eq!(tari.account, "tributi");
    assert_eq!(tari.title.it, "Tassa sui rifiuti");
    assert_eq!((tari.minimum_cents, tari.maximum_cents), (None, Some(90_000)), "an amount rule is one value");
    assert_eq!(tari.expiry_policy, ExpiryPolicy::NotPayableAfterDueDate);
    assert_eq!((tari.profile_revision.as_deref(), tari.own), (Some("comune-standard/7"), Some(0)));
    assert!(!expanded.services["MENSA"].active, "untouched");
}

#[test]
fn a_service_of_ones_own_needs_its_essentials() {
    let own = [
        service(json!({"code": "SUOLO", "title": {"it": "Suolo pubblico"}})),
        service(json!({"code": "NIDO", "title": {"it": "Nido"}, "taxonomyCode": "9/0107101TS/", "account": "scuola"})),
    ];
    let expanded = run(&[standard()], &own);
    assert_eq!(expanded.problems, [Problem::Missing { own: 0, fields: vec!["spec.taxonomyCode", "spec.account"] }]);
    let nido = &expanded.services["NIDO"];
    assert_eq!((nido.active, nido.expiry_policy), (true, ExpiryPolicy::PayableAfterDueDate));
    assert_eq!(nido.profile_revision, None);
    assert!(!expanded.services.contains_key("SUOLO"));
}

#[test]
fn a_code_has_one_origin() {
    let other = profile(
        "tributi",
        1,
        &json!([{"code": "TARI", "title": {"it": "TARI"}, "taxonomyCode": "9/0101101IM/", "account": "tributi"}]),
    );
    let own = [service(json!({"code": "MENSA"})), service(json!({"code": "MENSA", "active": true}))];
    let expanded = run(&[standard(), other], &own);
    assert_eq!(
        expanded.problems,
        [
            Problem::BroughtTwice { code: "TARI".into(), profiles: ["comune-standard/7".into(), "tributi/1".into()] },
            Problem::DeclaredTwice { code: "MENSA".into(), own: 1, first: 0 },
        ]
    );
    assert_eq!(expanded.services.keys().collect::<Vec<_>>(), ["MENSA"]);
    assert!(!expanded.services["MENSA"].active, "the first one counts");
}
