//! What a new position becomes, and what its service and institution refuse.

use fiorino_domain::{
    institution::InstitutionCode,
    notice::{AuxDigit, SegregationCode},
    position::ExpiryPolicy,
    taxonomy::TaxonomyCode,
};
use fiorino_proto::positions::v1 as proto;
use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::positions::facts::Beneficiary;

fn service() -> Service {
    Service {
        code: "TARI".to_owned(),
        account: "tesoreria".to_owned(),
        taxonomy: TaxonomyCode::parse("0101101IM").unwrap(),
        expiry: ExpiryPolicy::PayableAfterDueDate,
        open: true,
        minimum_cents: 100,
        maximum_cents: 50_000,
        beneficiaries: vec![beneficiary(500)],
    }
}

fn beneficiary(share_basis_points: u32) -> Beneficiary {
    Beneficiary {
        fiscal_code: InstitutionCode::parse("80001234567").unwrap(),
        legal_name: "Provincia".to_owned(),
        share_basis_points,
        account: "tefa".to_owned(),
        taxonomy_code: TaxonomyCode::parse("0201102IM").unwrap(),
    }
}

fn facts(phase: LifecyclePhase, service: Service) -> Facts {
    let code = InstitutionCode::parse("80012340560").unwrap();
    let owner = Owner { institution_id: 7, code, legal_name: "Comune".to_owned(), phase, config_seq: 1 };
    let code = SegregationCode::parse("12").unwrap();
    let point = Point { institution_id: 7, aux_digit: AuxDigit::Three, code, prefix: String::new() };
    Facts::of_test(owner, Some((point, 0)), &[(3, "12"), (1, "")], vec![service])
}

fn draft(amounts: &[i64], number: &str) -> Draft {
    let instalment = |amount_cents: &i64| proto::NewInstalment {
        amount_cents: *amount_cents,
        description: "TARI 2026".to_owned(),
        notice_number: number.to_owned(),
        ..Default::default()
    };
    let debtor = proto::Debtor {
        kind: proto::PersonKind::Natural.into(),
        fiscal_code: "RSSMRA80A01H501U".to_owned(),
        full_name: "Maria Rossi".to_owned(),
        ..Default::default()
    };
    let option = proto::NewOption { instalments: amounts.iter().map(instalment).collect(), ..Default::default() };
    let new = proto::NewPosition {
        client_reference: "1".to_owned(),
        service_code: "TARI".to_owned(),
        description: "TARI 2026".to_owned(),
        debtor: Some(debtor),
        options: vec![option],
        ..Default::default()
    };
    Draft::read("position", &new).unwrap()
}

fn planned(draft: &Draft, facts: &Facts) -> Result<Planned> {
    let now = "2026-11-24T10:00:00Z".parse().unwrap();
    let accounts = &Accounts::default();
    plan(&Asked { path: "position", client: "test", id: Uuid::nil(), now, accounts }, draft, facts)
}

fn violation(outcome: Result<Planned>) -> (&'static str, String, String) {
    let (kind, violations) = match outcome {
        Err(Error::Invalid(violations)) => ("invalid", violations),
        Err(Error::Precondition(violations)) => ("precondition", violations),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("planned"),
    };
    (kind, violations[0].field.clone(), violations[0].message.clone())
}

#[rstest]
#[case(LifecyclePhase::Suspended, "is suspended")]
#[case(LifecyclePhase::Leaving, "is leaving")]
#[case(LifecyclePhase::Closed, "is closed")]
#[case(LifecyclePhase::Unspecified, "has no known phase")]
fn phases_without_new_notices(#[case] phase: LifecyclePhase, #[case] why: &str) {
    let (kind, field, message) = violation(planned(&draft(&[1_000], ""), &facts(phase, service())));
    assert_eq!((kind, field.as_str()), ("precondition", "institution"));
    assert!(message.contains(why) && message.contains("80012340560"), "{message}");
}

#[rstest]
#[case(
    99,
    "",
    "invalid",
    "options[0].instalments[0].amount_cents",
    "service TARI takes 100 cents at least; raise the amount"
)]
#[case(
    50_001,
    "",
    "invalid",
    "options[0].instalments[0].amount_cents",
    "service TARI takes 50000 cents at most; lower the amount or split it"
)]
#[case(
    100,
    "313000000000471179",
    "invalid",
    "options[0].instalments[0].notice_number",
    "its code is none of institution 80012340560; add an association with it, or leave the number empty to have one issued"
)]
#[case(
    100,
    "212000000000471179",
    "invalid",
    "options[0].instalments[0].notice_number",
    "its code is none of institution 80012340560; add an association with it, or leave the number empty to have one issued"
)]
fn rules(#[case] cents: i64, #[case] number: &str, #[case] kind: &str, #[case] field: &str, #[case] message: &str) {
    let found = violation(planned(&draft(&[cents], number), &facts(LifecyclePhase::Live, service())));
    assert_eq!(
        found,
        (if kind == "invalid" { "invalid" } else { "precondition" }, format!("position.{field}"), message.to_owned())
    );
}

#[rstest]
#[case("312000000000471179")]
#[case("112345678901234567")]
#[case("312000000000471100")] // wrong check digits: never refused for them
fn numbers_of_other_systems(#[case] number: &str) {
    let planned = planned(&draft(&[100], number), &facts(LifecyclePhase::Live, service())).unwrap();
    assert_eq!(planned.notices[0].nav.as_str(), number);
    assert_eq!(planned.missing_numbers(), 0);
}

#[test]
fn services_that_take_nothing_new() {
    let closed = facts(LifecyclePhase::Live, Service { open: false, ..service() });
    let (kind, field, _) = violation(planned(&draft(&[1_000], ""), &closed));
    assert_eq!((kind, field.as_str()), ("precondition", "position.service_code"));
    let other = facts(LifecyclePhase::Live, Service { code: "MENSA".to_owned(), ..service() });
    let (kind, field, message) = violation(planned(&draft(&[1_000], ""), &other));
    assert_eq!((kind, field.as_str()), ("precondition", "position.service_code"));
    assert!(message.contains("has no service TARI; apply a PaymentService"), "{message}");
}

#[test]
fn nobody_issues() {
    let owner = facts(LifecyclePhase::Live, service()).owner;
    let none = Facts::of_test(owner, None, &[(3, "12")], vec![service()]);
    let (kind, field, _) = violation(planned(&draft(&[1_000], ""), &none));
    assert_eq!((kind, field.as_str()), ("invalid", "position.options[0].instalments[0].notice_number"));
    assert!(planned(&draft(&[1_000], "312000000000471179"), &none).is_ok(), "numbers that came along need no sequence");
}

#[test]
fn the_issuer_comes_first_and_accounts_are_named() {
    let planned = planned(&draft(&[10_000, 1_001], ""), &facts(LifecyclePhase::Testing, service())).unwrap();
    let shown = |place: usize| {
        let transfers = &planned.notices[place].transfers;
        transfers.iter().map(|t| (t.id, t.cents.get(), t.taxonomy.as_str(), t.to.is_some())).collect::<Vec<_>>()
    };
    assert_eq!(shown(0), [(1, 9_500, "9/0101101IM/", false), (2, 500, "9/0201102IM/", true)]);
    assert_eq!(shown(1), [(1, 951, "9/0101101IM/", false), (2, 50, "9/0201102IM/", true)]);
    assert_eq!(planned.notices[1].account, "tesoreria");
    assert_eq!(planned.missing_numbers(), 2);
    let all = Service { beneficiaries: vec![beneficiary(10_000)], ..service() };
    let nothing_left = Shares::of_service(&all).divide(Cents::new(500).unwrap()).unwrap();
    assert_eq!(nothing_left.iter().map(|t| (t.id, t.to.is_some())).collect::<Vec<_>>(), [(1, true)]);
}

/// Of up to 5 beneficiaries, often the whole.
fn shares() -> impl Strategy<Value = Vec<u32>> {
    let some = prop::collection::vec(0u32..=2_500, 0..=4);
    let whole = prop::collection::vec(1u32..=2_000, 0..=4).prop_map(|mut shares| {
        shares.push(10_000 - shares.iter().sum::<u32>());
        shares
    });
    prop_oneof![some, whole]
}

proptest! {
    /// What the node is told adds up, whatever the shares.
    #[test]
    fn transfers_add_up(cents in 1i64..=99_999_999_999, shares in shares()) {
        let given: u32 = shares.iter().sum();
        let service = Service { beneficiaries: shares.into_iter().map(beneficiary).collect(), ..service() };
        let transfers = Shares::of_service(&service).divide(Cents::new(cents).unwrap()).unwrap();
        prop_assert!(given < 10_000 || transfers.iter().all(|t| t.to.is_some()), "nothing is left for the issuer");
        prop_assert_eq!(transfers.iter().map(|t| t.cents.get()).sum::<i64>(), cents);
        prop_assert!(transfers.iter().all(|t| !t.cents.is_zero()));
        prop_assert!((1..).zip(&transfers).all(|(id, t)| t.id == id) && transfers.len() <= 5);
    }
}
