//! What given transfers may be, and what each mistake is answered.

use proptest::prelude::*;
use rstest::rstest;

use super::{
    super::accounts::{Account, Known},
    *,
};

const COMUNE: &str = "80012340560";
const PROVINCE: &str = "80001234567";
const DIGEST: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

fn code(text: &str) -> InstitutionCode {
    InstitutionCode::parse(text).unwrap()
}

fn own(amount_cents: i64) -> proto::NewTransfer {
    proto::NewTransfer { amount_cents, ..Default::default() }
}

fn tefa(amount_cents: i64) -> proto::NewTransfer {
    proto::NewTransfer {
        beneficiary: PROVINCE.to_owned(),
        account: "tefa".to_owned(),
        taxonomy_code: "0201102IM".to_owned(),
        ..own(amount_cents)
    }
}

fn stamp() -> proto::NewTransfer {
    let stamp = proto::Stamp { document_digest: DIGEST.to_owned(), province: "RM".to_owned() };
    proto::NewTransfer { stamp: Some(stamp), ..own(1_600) }
}

fn entry(key: &str, value: &str) -> proto::MapEntry {
    proto::MapEntry { key: key.to_owned(), value: value.to_owned() }
}

fn issuer() -> Issuer<'static> {
    let taxonomy = TaxonomyCode::parse("0101101IM").unwrap();
    Issuer { code: code(COMUNE), legal_name: "Comune", account: "tesoreria", taxonomy }
}

fn known(account: Option<(bool, bool)>) -> Known {
    let account = account.map(|(published, numbered)| Account { published, numbered });
    Known { legal_name: "Provincia".to_owned(), second_version: true, account }
}

fn accounts(account: Option<(bool, bool)>) -> Accounts {
    Accounts::of_test([
        ((code(PROVINCE), "tefa".to_owned()), known(account)),
        ((code(COMUNE), "sanzioni".to_owned()), known(Some((false, true)))),
        ((code(COMUNE), String::new()), known(None)),
    ])
}

fn given(amount: i64, new: &[proto::NewTransfer]) -> Result<Vec<Given>, Vec<Violation>> {
    read("transfers", Some(Cents::new(amount).unwrap()), new)
}

fn told(violations: &[Violation]) -> Vec<String> {
    violations.iter().map(|one| format!("{}: {}", one.field, one.message)).collect()
}

/// pagopa.md Appendix A, and the amounts of which no basis point gives the parts.
#[rstest]
#[case(35_000, 33_333, 1_667)]
#[case(105_000, 100_000, 5_000)]
#[case(600_000, 400_000, 200_000)]
#[case(12_000, 10_000, 2_000)]
fn parts_to_the_cent(#[case] amount: i64, #[case] comune: i64, #[case] province: i64) {
    let given = given(amount, &[own(comune), tefa(province)]).unwrap();
    let placed = placed("transfers", &given, issuer(), &accounts(Some((true, true)))).unwrap();
    let shown: Vec<_> = placed
        .iter()
        .map(|it| (it.id, it.cents.get(), it.taxonomy.as_str(), it.to.as_ref().map(|to| to.account.as_str())))
        .collect();
    assert_eq!(shown, [(1, comune, "9/0101101IM/", None), (2, province, "9/0201102IM/", Some("tefa"))]);
}

#[rstest]
#[case(&[own(5), tefa(4)], 10, "transfers: add up to 9 cents, the amount of the instalment is 10 cents; correct one of them")]
#[case(&[own(1), own(1), own(1), own(1), own(1), own(1)], 6, "transfers: has 6 entries; send 1 to 5, or none")]
#[case(&[own(0), own(10)], 10, "transfers[0].amount_cents: must be above zero; send whole cents")]
#[case(
    &[proto::NewTransfer { id: 1, ..own(5) }, proto::NewTransfer { id: 1, ..own(5) }], 10,
    "transfers: the ids must be 1 to 2, each once; correct them, or leave all out"
)]
#[case(
    &[proto::NewTransfer { id: 3, ..own(5) }, own(5)], 10,
    "transfers: the ids must be 1 to 2, each once; correct them, or leave all out"
)]
#[case(
    &[proto::NewTransfer { beneficiary: "8000123456".to_owned(), ..tefa(10) }], 10,
    "transfers[0].beneficiary: the fiscal code of an institution is 11 digits; correct it, or leave it empty for the institution itself"
)]
#[case(
    &[proto::NewTransfer { account: String::new(), ..tefa(10) }], 10,
    "transfers[0].account: must be set with a beneficiary; send metadata.name of its Iban"
)]
#[case(
    &[proto::NewTransfer { account: "IT60 X054".to_owned(), ..tefa(10) }], 10,
    "transfers[0].account: is no name of an account: 1 to 63 of a-z, 0-9 and -; send metadata.name of the Iban"
)]
#[case(
    &[proto::NewTransfer { taxonomy_code: String::new(), ..tefa(10) }], 10,
    "transfers[0].taxonomy_code: must be set with a beneficiary; send the code of what it receives the money for"
)]
#[case(
    &[proto::NewTransfer { taxonomy_code: "0201102XX".to_owned(), ..tefa(10) }], 10,
    "transfers[0].taxonomy_code: a taxonomy code is seven digits and IM, TS, SP, SA or AP, such as 9/0101101IM/; its prefix is 6/, 7/, 8/ or 9/; correct it"
)]
#[case(
    &[proto::NewTransfer { remittance: "x".repeat(141), ..own(10) }], 10,
    "transfers[0].remittance: has 141 characters, at most 140 are allowed; send 1 to 140 characters"
)]
#[case(
    &[proto::NewTransfer { metadata: vec![entry("", "A000|2023|TEFA")], ..own(10) }], 10,
    "transfers[0].metadata[0].key: must not be empty; send 1 to 140 characters"
)]
#[case(
    &[proto::NewTransfer { metadata: vec![entry("k", "v"), entry("k", "w")], ..own(10) }], 10,
    "transfers[0].metadata[1].key: is there twice; send each key once"
)]
#[case(
    &[proto::NewTransfer { metadata: (0..10).map(|at| entry(&at.to_string(), "v")).collect(), ..own(10) }], 10,
    "transfers[0].metadata: has 10 entries, at most 9 are allowed; leave some out"
)]
#[case(
    &[proto::NewTransfer { metadata: vec![entry("IBANAPPOGGIO", "IT60X0542811101000000123456")], ..own(10) }], 10,
    "transfers[0].metadata[0].key: is set when somebody pays, from the postal account beside the account; leave it out"
)]
#[case(
    &[proto::NewTransfer { amount_cents: 1_601, ..stamp() }], 1_601,
    "transfers[0].amount_cents: a stamp costs 1600 cents; send that, or leave the stamp out"
)]
#[case(
    &[proto::NewTransfer { account: "tesoreria".to_owned(), ..stamp() }], 1_600,
    "transfers[0].account: a stamp goes to no account; leave it empty"
)]
#[case(
    &[proto::NewTransfer { beneficiary: PROVINCE.to_owned(), taxonomy_code: "0201102IM".to_owned(), ..stamp() }], 1_600,
    "transfers[0].beneficiary: a stamp is the institution's own; leave it empty"
)]
#[case(
    &[proto::NewTransfer { stamp: Some(proto::Stamp { document_digest: "47DE".to_owned(), province: "RM".to_owned() }), ..stamp() }], 1_600,
    "transfers[0].stamp.document_digest: is no SHA-256 in base64: 32 bytes, 44 characters; correct it"
)]
#[case(
    &[proto::NewTransfer { stamp: Some(proto::Stamp { document_digest: DIGEST.to_owned(), province: "Roma".to_owned() }), ..stamp() }], 1_600,
    "transfers[0].stamp.province: must be two capital letters, such as RM; correct it"
)]
fn refused_as_read(#[case] new: &[proto::NewTransfer], #[case] amount: i64, #[case] message: &str) {
    assert_eq!(told(&given(amount, new).unwrap_err()), [message]);
}

#[rstest]
#[case(
    tefa(10),
    None,
    "account: institution 80001234567 has no account tefa; name another, or have an Iban of that name applied"
)]
#[case(
    tefa(10),
    Some((false, true)),
    "account: institution 80001234567 has not published its account tefa; ask it to set spec.published: true"
)]
#[case(
    tefa(10),
    Some((true, false)),
    "account: account tefa of institution 80001234567 has no number that can be paid to today; name another, or have one added"
)]
#[case(
    proto::NewTransfer { account: "altro".to_owned(), ..tefa(10) },
    Some((true, true)),
    "beneficiary: no institution here has the fiscal code 80001234567; correct it, or have a CreditorInstitution applied with it (role BeneficiaryOnly)"
)]
fn refused_by_the_accounts(
    #[case] new: proto::NewTransfer,
    #[case] account: Option<(bool, bool)>,
    #[case] message: &str,
) {
    // Told by its place in the request, whatever its id.
    let new = [proto::NewTransfer { id: 2, ..new }, proto::NewTransfer { id: 1, ..own(5) }];
    let given = given(15, &new).unwrap();
    let violations = placed("transfers", &given, issuer(), &accounts(account)).err().unwrap();
    assert_eq!(told(&violations), [format!("transfers[0].{message}")]);
}

#[test]
fn a_stamp_needs_a_station_of_the_second_version() {
    let given = given(1_600, &[stamp()]).unwrap();
    let placed_with = |accounts: &Accounts| placed("transfers", &given, issuer(), accounts);
    let stored = placed_with(&accounts(None)).unwrap().remove(0);
    assert!(stored.stamp.is_some_and(|stamp| (stamp.digest.as_str(), stamp.province.as_str()) == (DIGEST, "RM")));
    assert_eq!(stored.to.map(|to| (to.code, to.account)), Some((code(COMUNE), String::new())), "nobody's account");
    let first = Accounts::of_test([((code(COMUNE), String::new()), Known { second_version: false, ..known(None) })]);
    let violations = placed_with(&first).err().unwrap();
    assert!(violations[0].field == "transfers[0].stamp" && violations[0].message.contains("primitiveVersion 2"));
}

/// The institution's own accounts need not be published; the service's is the row's.
#[test]
fn own_accounts_are_told_by_name() {
    let named = |account: &str| proto::NewTransfer { account: account.to_owned(), ..own(1) };
    let told = proto::NewTransfer {
        beneficiary: COMUNE.to_owned(),
        taxonomy_code: "0101101IM".to_owned(),
        ..named("tesoreria")
    };
    let given = given(4, &[own(1), named("tesoreria"), named("sanzioni"), told]).unwrap();
    let placed = placed("transfers", &given, issuer(), &accounts(None)).unwrap();
    let shown: Vec<_> = placed.iter().map(|it| it.to.as_ref().map(|to| to.account.as_str())).collect();
    assert_eq!(shown, [None, None, Some("sanzioni"), None]);
}

#[test]
fn transfers_are_stored_in_the_order_of_their_ids() {
    let new = [proto::NewTransfer { id: 2, ..tefa(2) }, proto::NewTransfer { id: 1, ..own(1) }];
    let ids: Vec<_> = given(3, &new).unwrap().iter().map(|given| (given.id, given.cents.get())).collect();
    assert_eq!(ids, [(1, 1), (2, 2)]);
}

#[test]
fn metadata_of_position_and_instalment_go_together() {
    let entries = |keys: std::ops::Range<usize>| {
        let entries: Vec<_> = keys.map(|key| entry(&key.to_string(), "v")).collect();
        metadata("metadata", &entries).unwrap()
    };
    assert_eq!(together(&entries(0..4), &entries(4..10)), Ok(()));
    assert!(together(&entries(0..5), &entries(5..11)).unwrap_err().contains("has 11 entries"));
    assert!(together(&entries(0..5), &entries(4..6)).unwrap_err().contains("each key once"));
}

#[test]
fn no_debtor_is_named() {
    let debtor = "RSSMRA80A01H501U";
    let remittance = [own(1), proto::NewTransfer { remittance: "di rssmra80a01h501u".to_owned(), ..own(1) }];
    assert_eq!(naming(debtor, "transfers", &remittance).as_deref(), Some("transfers[1].remittance"));
    let metadata = [proto::NewTransfer { metadata: vec![entry("k", debtor)], ..own(1) }];
    assert_eq!(naming(debtor, "transfers", &metadata).as_deref(), Some("transfers[0].metadata[0].value"));
    assert_eq!(naming("ANONIMO", "transfers", &metadata), None);
}

proptest! {
    /// Whatever is asked for: what is taken adds up, has ids from 1, and 1 to 5 parts above zero.
    #[test]
    fn what_is_taken_adds_up(parts in prop::collection::vec((0u32..7, -5i64..50), 1..8), amount in 1i64..200) {
        let new: Vec<_> = parts.iter().map(|(id, cents)| proto::NewTransfer { id: *id, ..own(*cents) }).collect();
        if let Ok(given) = given(amount, &new) {
            prop_assert_eq!(given.iter().map(|it| it.cents.get()).sum::<i64>(), amount);
            prop_assert!((1..).zip(&given).all(|(id, it)| it.id == id) && given.len() <= 5);
            prop_assert!(given.iter().all(|it| !it.cents.is_zero()));
        }
    }
}
