//! Amounts that are divided by shares, at once and later.

use fiorino_domain::institution::InstitutionCode;
use fiorino_domain::position::ExpiryPolicy;
use serde_json::json;

use super::*;
use crate::positions::facts::Beneficiary;

fn beneficiary(account: &str, share_basis_points: u32) -> Beneficiary {
    Beneficiary {
        fiscal_code: InstitutionCode::parse("80001234567").unwrap(),
        legal_name: "Provincia".to_owned(),
        share_basis_points,
        account: account.to_owned(),
        taxonomy_code: TaxonomyCode::parse("0201102IM").unwrap(),
    }
}

fn service(beneficiaries: Vec<Beneficiary>) -> Service {
    Service {
        code: "TARI".to_owned(),
        account: "tesoreria".to_owned(),
        taxonomy: TaxonomyCode::parse("0101101IM").unwrap(),
        expiry: ExpiryPolicy::PayableAfterDueDate,
        open: true,
        minimum_cents: 0,
        maximum_cents: 0,
        beneficiaries,
    }
}

fn cents(transfers: &[StoredTransfer]) -> Vec<i64> {
    transfers.iter().map(|transfer| transfer.cents.get()).collect()
}

fn divide(shares: &Shares, amount: i64) -> Vec<StoredTransfer> {
    shares.divide(Cents::new(amount).unwrap()).unwrap()
}

/// Rows outlive programs: a renamed field would lose what is stored.
#[test]
fn shapes_of_the_rows() {
    let shapes = |division: &Division| serde_json::to_value(division).unwrap();
    assert_eq!(shapes(&Division::Amounts), json!({ "by": "amounts" }));
    let alone = Division::Shares(Shares::of_service(&service(Vec::new())));
    assert_eq!(shapes(&alone), json!({ "by": "shares", "taxonomy": "9/0101101IM/" }));
    let shared = Division::Shares(Shares::of_service(&service(vec![beneficiary("fondo", 500)])));
    let to = json!({ "code": "80001234567", "name": "Provincia", "account": "fondo" });
    let of = json!([{ "points": 500, "taxonomy": "9/0201102IM/", "to": to }]);
    assert_eq!(shapes(&shared), json!({ "by": "shares", "taxonomy": "9/0101101IM/", "of": of }));
    for division in [Division::Amounts, alone, shared] {
        assert!(serde_json::from_value::<Division>(shapes(&division)).unwrap() == division);
    }
}

/// A share that is rounded to nothing has no transfer, and one again when the amount grows.
#[test]
fn a_share_of_nothing_is_kept() {
    let shares = Shares::of_service(&service(vec![beneficiary("fondo", 500)]));
    assert_eq!(cents(&divide(&shares, 9)), [9]);
    assert_eq!(cents(&divide(&shares, 35_001)), [33_251, 1_750]);
}

/// Which shares an instalment of before was divided by is not known, only among whom.
#[test]
fn of_an_instalment_of_before_the_shares_count_if_the_same_accounts_have_them() {
    let then = divide(&Shares::of_service(&service(vec![beneficiary("fondo", 500)])), 10_000);
    let today =
        |beneficiaries| Shares::of_before(&then, &service(beneficiaries)).map(|shares| cents(&divide(&shares, 20_000)));
    assert_eq!(today(vec![beneficiary("fondo", 500)]), Some(vec![19_000, 1_000]));
    assert_eq!(today(Vec::new()), None, "the beneficiary is gone");
    assert_eq!(today(vec![beneficiary("altro", 500)]), None);
    let alone = divide(&Shares::of_service(&service(Vec::new())), 10_000);
    let shared = Shares::of_before(&alone, &service(vec![beneficiary("fondo", 500)])).unwrap();
    assert_eq!(cents(&divide(&shared, 20_000)), [20_000], "nobody shared in it");
}
