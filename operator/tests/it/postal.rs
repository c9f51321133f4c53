//! An account names a postal one for payments by slip.

use fiorino_crds::Reason;
use fiorino_proto::config::v1::{AccountSpec, Resource, ResourceKind};
use prost::Message as _;
use rstest::rstest;
use serde_json::json;

use crate::world::{iban, judge, snapshot};

const BANK: &str = "IT70C0998877665000000104233";
const POSTAL: &str = "IT26A0760103200001012345678";

/// The bundle's account of a name.
fn account<'a>(children: &'a [Resource], name: &str) -> Option<(&'a Resource, AccountSpec)> {
    let child = children.iter().find(|child| child.kind() == ResourceKind::Account && child.name == name)?;
    Some((child, AccountSpec::decode(&child.spec[..]).unwrap()))
}

#[test]
fn it_is_told_with_the_feature_that_it_needs() {
    let mut snapshot = snapshot();
    let mut bank = iban("tesoreria", json!([{"validFrom": "2026-01-01", "iban": BANK}]));
    bank.spec.postal_account = Some("posta".to_owned());
    let mut post = iban("posta", json!([{"validFrom": "2026-01-01", "iban": POSTAL}]));
    post.spec.published = true;
    snapshot.ibans = vec![bank, post];
    let validated = judge(&snapshot);
    assert_eq!(validated.report.draft().reason, Reason::Valid, "{}", validated.report.draft().message);
    let children = &validated.bundle.as_ref().unwrap().children;
    let (resource, spec) = account(children, "tesoreria").unwrap();
    assert_eq!((spec.postal_account.as_str(), spec.published), ("posta", false));
    assert_eq!(resource.required_features, ["postal-account"]);
    let (resource, spec) = account(children, "posta").unwrap();
    assert_eq!((spec.postal_account.as_str(), spec.published), ("", true));
    assert!(resource.required_features.is_empty(), "an older reader understands what asks for nothing new");
}

#[rstest]
#[case::none(
    "posta",
    BANK,
    "Iban posta has no postal number (IT.., ABI 07601): name a postal account, or leave it out"
)]
#[case::missing(
    "altro",
    POSTAL,
    "Iban altro does not exist in this namespace: create it, name another, or leave it out"
)]
#[case::itself("tesoreria", POSTAL, "an account cannot be its own postal account: name another Iban, or leave it out")]
fn another_account_with_a_postal_number_is_named(#[case] named: &str, #[case] number: &str, #[case] told: &str) {
    let mut snapshot = snapshot();
    let mut bank = iban("tesoreria", json!([{"validFrom": "2026-01-01", "iban": BANK}]));
    bank.spec.postal_account = Some(named.to_owned());
    snapshot.ibans = vec![bank, iban("posta", json!([{"validFrom": "2026-01-01", "iban": number}]))];
    let validated = judge(&snapshot);
    let bundle = validated.bundle.as_ref().unwrap();
    assert_eq!(bundle.keep, ["uid-tesoreria"], "tenant keeps what it has of it");
    assert!(account(&bundle.children, "posta").is_some() && account(&bundle.children, "tesoreria").is_none());
    let wrong: Vec<_> = validated.report.others().iter().filter(|it| !it.errors.is_empty()).collect();
    assert_eq!(wrong.len(), 1);
    assert_eq!(wrong[0].draft().message, format!("spec.postalAccount: {told}"));
}
