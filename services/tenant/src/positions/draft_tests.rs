//! Every rule of a new position is told by field, rule and remedy.

use super::*;

fn position() -> proto::NewPosition {
    proto::NewPosition {
        client_reference: "tari-2026-1".to_owned(),
        service_code: "TARI".to_owned(),
        description: "TARI 2026".to_owned(),
        debtor: Some(proto::Debtor {
            kind: proto::PersonKind::Natural.into(),
            fiscal_code: "RSSMRA80A01H501U".to_owned(),
            full_name: "Maria Rossi".to_owned(),
            ..Default::default()
        }),
        options: vec![proto::NewOption { description: String::new(), instalments: vec![instalment()] }],
        ..proto::NewPosition::default()
    }
}

fn instalment() -> proto::NewInstalment {
    proto::NewInstalment { amount_cents: 12_000, description: "TARI 2026".to_owned(), ..Default::default() }
}

fn first(position: &mut proto::NewPosition) -> &mut proto::NewInstalment {
    &mut position.options[0].instalments[0]
}

/// Field, rule with remedy, and how it is broken.
type Broken = (&'static str, &'static str, fn(&mut proto::NewPosition));

#[rustfmt::skip]
const BROKEN: &[Broken] = &[
    ("client_reference", "must not be empty; send 1 to 70 characters", |p| p.client_reference.clear()),
    ("client_reference", "has 71 characters, at most 70 are allowed; send 1 to 70 characters", |p| p.client_reference = "x".repeat(71)),
    ("service_code", "must not be empty; send 1 to 70 characters", |p| p.service_code.clear()),
    ("description", "must not contain line breaks or control characters; send 1 to 140 characters", |p| p.description = "a\nb".to_owned()),
    ("description", "must not hold the debtor's fiscal code: it travels to the payer; leave it out", |p| p.description = "per rssmra80a01h501u".to_owned()),
    ("debtor", "must be set; say who owes", |p| p.debtor = None),
    ("debtor.kind", "must be PERSON_KIND_NATURAL or PERSON_KIND_LEGAL; say whether a person or a body owes", |p| p.debtor.as_mut().unwrap().kind = 0),
    ("debtor.fiscal_code", "a fiscal code is 11 digits, or 16 letters and digits; without one, ANONIMO; correct it", |p| p.debtor.as_mut().unwrap().fiscal_code = "X".to_owned()),
    ("debtor.country", "a country is two capital letters, such as IT; correct it", |p| p.debtor.as_mut().unwrap().country = "it".to_owned()),
    ("options", "has 0 entries; send 1 to 100", |p| p.options.clear()),
    ("options", "has 101 entries; send 1 to 100", |p| p.options = vec![p.options[0].clone(); 101]),
    ("options", "has 1001 instalments, at most 1000 are allowed; split the position", |p| p.options = vec![proto::NewOption { description: String::new(), instalments: vec![instalment(); 91] }; 11]),
    ("options[0].description", "has 141 characters, at most 140 are allowed; send 1 to 140 characters", |p| p.options[0].description = "x".repeat(141)),
    ("options[0].instalments", "has 0 entries; send 1 to 100", |p| p.options[0].instalments.clear()),
    ("options[0].instalments[0].amount_cents", "must be above zero; send whole cents", |p| first(p).amount_cents = 0),
    ("options[0].instalments[0].amount_cents", "an amount is never negative; send whole cents", |p| first(p).amount_cents = -1),
    ("options[0].instalments[0].amount_cents", "an amount is at most 999999999.99 euro; send whole cents", |p| first(p).amount_cents = 100_000_000_000),
    ("options[0].instalments[0].due_date", "a date is written YYYY-MM-DD and exists in the calendar; leave it empty for none", |p| first(p).due_date = "2026-02-30".to_owned()),
    ("options[0].instalments[0].description", "must not be empty; send 1 to 140 characters", |p| first(p).description.clear()),
    ("options[0].instalments[0].description", "must not hold the debtor's fiscal code: it travels to the payer; leave it out", |p| first(p).description = "RSSMRA80A01H501U".to_owned()),
    ("options[0].instalments[0].notice_number", "a notice number is 18 digits; leave it empty to have one issued", |p| first(p).notice_number = "12".to_owned()),
    ("options[0].instalments[0].notice_number", "is the number by which pagoPA probes stations; leave it empty to have one issued", |p| first(p).notice_number = "0".repeat(18)),
];

#[test]
fn rules() {
    for (field, message, break_it) in BROKEN {
        let mut new = position();
        break_it(&mut new);
        let Err(Error::Invalid(violations)) = Draft::read("positions[3]", &new) else { panic!("{field} was taken") };
        assert_eq!(
            violations.first(),
            Some(&Violation::new(format!("positions[3].{field}"), *message)),
            "{violations:?}"
        );
    }
}

#[test]
fn all_violations_are_told_at_once_but_not_without_limit() {
    let mut new = position();
    new.client_reference.clear();
    first(&mut new).amount_cents = 0;
    let Err(Error::Invalid(two)) = Draft::read("position", &new) else { panic!("taken") };
    assert_eq!(two.len(), 2);
    new.options[0].instalments = vec![proto::NewInstalment::default(); 100];
    let Err(Error::Invalid(many)) = Draft::read("position", &new) else { panic!("taken") };
    assert_eq!(many.len(), VIOLATIONS_MAX);
}

/// The hash is stored: were it to change, every repetition after an upgrade would be refused.
#[test]
fn hashes_are_stable_and_tell_requests_apart() {
    let hash = Draft::read("position", &position()).unwrap().hash;
    assert_eq!(hash, Draft::read("positions[7]", &position()).unwrap().hash);
    insta::assert_compact_debug_snapshot!(hash, @"[19, 61, 187, 175, 81, 35, 162, 87, 221, 94, 88, 202, 148, 79, 90, 198, 183, 67, 123, 65, 194, 124, 234, 166, 138, 72, 105, 238, 10, 245, 68, 120]");
    let mut other = position();
    first(&mut other).amount_cents += 1;
    assert_ne!(Draft::read("position", &other).unwrap().hash, hash);
}

#[test]
fn debtors_stay_masked() {
    let draft = Draft::read("position", &position()).unwrap();
    let shown = format!("{draft:?}");
    assert!(!shown.contains("RSSMRA80A01H501U") && !shown.contains("Maria"), "{shown}");
}

/// Of the bytes that a client of before given transfers and metadata sends: its repetition is one, and stays one.
#[test]
fn the_hash_of_a_request_of_before_stays() {
    let hash = |new: &proto::NewPosition| Draft::read("position", new).unwrap().hash;
    let before = [
        0x13, 0x3d, 0xbb, 0xaf, 0x51, 0x23, 0xa2, 0x57, 0xdd, 0x5e, 0x58, 0xca, 0x94, 0x4f, 0x5a, 0xc6, 0xb7, 0x43,
        0x7b, 0x41, 0xc2, 0x7c, 0xea, 0xa6, 0x8a, 0x48, 0x69, 0xee, 0x0a, 0xf5, 0x44, 0x78,
    ];
    assert_eq!(hash(&position()), before);
    let part = |amount_cents| proto::NewTransfer { amount_cents, ..Default::default() };
    let entry = proto::MapEntry { key: "k".to_owned(), value: "v".to_owned() };
    let changes: [fn(&mut proto::NewPosition, proto::NewTransfer, proto::MapEntry); 3] = [
        |new, part, _| first(new).transfers = vec![part],
        |new, _, entry| first(new).metadata = vec![entry],
        |new, _, entry| new.metadata = vec![entry],
    ];
    for change in changes {
        let mut new = position();
        change(&mut new, part(12_000), entry.clone());
        assert_ne!(hash(&new), before, "what is new is part of it");
    }
}

#[test]
fn given_transfers_and_metadata_are_told_by_their_place() {
    let entry = |key: &str, value: &str| proto::MapEntry { key: key.to_owned(), value: value.to_owned() };
    let mut new = position();
    new.metadata = vec![entry("ufficio", "rssmra80a01h501u"), entry("pratica", "7")];
    first(&mut new).metadata = vec![entry("pratica", "8")];
    first(&mut new).transfers = vec![proto::NewTransfer {
        amount_cents: 12_000,
        remittance: "RSSMRA80A01H501U".to_owned(),
        ..Default::default()
    }];
    let Err(Error::Invalid(violations)) = Draft::read("position", &new) else { panic!("taken") };
    let told: Vec<_> = violations.iter().map(|one| format!("{}: {}", one.field, one.message)).collect();
    assert_eq!(
        told,
        [
            "position.options[0].instalments[0].metadata: has a key that the position has too; send each key once"
                .to_owned(),
            format!("position.metadata[0].value: {DESCRIPTION_NAMES_DEBTOR}"),
            format!("position.options[0].instalments[0].transfers[0].remittance: {DESCRIPTION_NAMES_DEBTOR}"),
        ]
    );
}
