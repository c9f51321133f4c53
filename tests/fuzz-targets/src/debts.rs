//! What tenant is asked by gRPC: new positions, receipts of the inbox.

use std::collections::HashSet;

use fiorino_domain::{debtor, fiscal_code::DebtorCode};
use fiorino_proto::{
    payments::v1::PaymentRecorded,
    positions::v1::{
        CreatePositionsRequest, Debtor, MapEntry, NewInstalment, NewOption, NewPosition, NewTransfer, PersonKind, Stamp,
    },
    receipts::v1::{ApplyOutcome, ApplyReceiptsRequest, Receipt, ReceiptTransfer},
};
use fiorino_tenant::Error;
use prost::Message as _;

/// Violations that are told at once.
const VIOLATIONS_MAX: usize = 50;

pub(crate) const DICTIONARY: &[&str] = &[
    "RSSMRA80A01H501U",
    "80041780356",
    "312000000000471179",
    "000000000000000000",
    "ANONIMO",
    "maria@example.it",
    "IT",
    "2026-12-31",
    "2026-07-14T10:42:00Z",
    "+999999-01-01T00:00:00Z",
    "receipt_schema",
    "addressee_never_ours",
    "OK",
    "KO",
    "\u{8}\u{0}",
    "\u{18}\u{1}",
    "\u{a}\u{0}",
];

/// A `CreatePositionsRequest`: each position is read whole and with the same hash again, or told what is wrong, without a word about
/// the person.
pub(crate) fn positions(data: &[u8]) {
    let Ok(request) = CreatePositionsRequest::decode(data) else { return };
    for new in &request.positions {
        let path = "positions[7]";
        match fiorino_tenant::positions::fuzz::position(path, new) {
            Ok(read) => {
                let sent: usize = new.options.iter().map(|option| option.instalments.len()).sum();
                assert_eq!(read.instalments, sent, "a position is read whole");
                let again = NewPosition::decode(new.encode_to_vec().as_slice()).expect("it was just written");
                let again = fiorino_tenant::positions::fuzz::position("position", &again).map(|again| again.hash);
                assert!(again.is_ok_and(|hash| hash == read.hash), "a repetition is told from it");
                assert!(!names_the_debtor(new, &read.debtor) && !read.debtor.contains('@'), "{}", read.debtor);
            }
            Err(Error::Invalid(violations)) => {
                assert!((1..=VIOLATIONS_MAX).contains(&violations.len()), "{violations:?}");
                for violation in violations {
                    assert!(violation.field.starts_with(path) && !violation.message.is_empty(), "{violation:?}");
                    assert!(!names_the_debtor(new, &violation.message), "{violation:?}");
                }
            }
            Err(error) => unreachable!("{error}: nobody was asked"),
        }
    }
}

fn names_the_debtor(new: &NewPosition, text: &str) -> bool {
    // Of a person: a body's code is public, and may be as short as a word.
    let code =
        new.debtor.as_ref().and_then(|debtor| DebtorCode::parse(&debtor.fiscal_code, debtor::PersonKind::Natural).ok());
    code.is_some_and(|code| code != DebtorCode::Anonymous && text.to_ascii_uppercase().contains(code.expose()))
}

/// An `ApplyReceiptsRequest`: every receipt gets its outcome, counts once, and is nothing new the next time.
pub(crate) fn receipts(data: &[u8]) {
    let Ok(request) = ApplyReceiptsRequest::decode(data) else { return };
    let receipts = request.receipts;
    let notices: HashSet<_> = receipts.iter().map(|receipt| (&receipt.institution, &receipt.notice_number)).collect();
    let applied = fiorino_tenant::receipts::fuzz::apply(receipts.clone(), false);
    let count = |outcome| applied.outcomes.iter().filter(|it| **it == outcome).count();
    assert_eq!(applied.outcomes.len(), receipts.len(), "an outcome for each");
    assert_eq!(count(ApplyOutcome::Unspecified), 0, "no institution is unknown");
    assert!(applied.cases >= count(ApplyOutcome::Case), "{applied:?}");
    assert!(applied.paid <= notices.len(), "a notice is paid once: {applied:?}");
    assert!(applied.stored.len() >= applied.events.len(), "nothing is told that is not kept: {applied:?}");
    assert!(applied.events.len() >= count(ApplyOutcome::Applied) + count(ApplyOutcome::Beneficiary), "{applied:?}");
    let mut ids = HashSet::new();
    for event in &applied.events {
        let event = PaymentRecorded::decode(event.as_ref()).expect("it was just written");
        assert!(ids.insert(event.event_id), "a payment counts twice");
    }
    let again = fiorino_tenant::receipts::fuzz::apply(receipts, true);
    assert_eq!((again.stored.len(), again.events.len(), again.paid), (0, 0, 0), "{again:?}");
    let known = |outcome: &ApplyOutcome| matches!(outcome, ApplyOutcome::Repeated | ApplyOutcome::Case);
    assert!(again.outcomes.iter().all(known), "{again:?}");
}

pub(crate) fn position_seeds() -> Vec<Vec<u8>> {
    let instalment = NewInstalment {
        amount_cents: 12_000,
        due_date: "2026-12-31".into(),
        description: "TARI 2026".into(),
        ..NewInstalment::default()
    };
    let entry = |key: &str| MapEntry { key: key.into(), value: "A000|2026|TEFA".into() };
    let tari = NewTransfer { amount_cents: 8_400, ..NewTransfer::default() };
    let tefa = NewTransfer {
        amount_cents: 2_000,
        beneficiary: "80236140770".into(),
        account: "tefa".into(),
        taxonomy_code: "9/0201102IM/".into(),
        remittance: "TEFA 2026".into(),
        metadata: vec![entry("TARI-TEFA-2")],
        ..NewTransfer::default()
    };
    let digest = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=".into();
    let stamp = Some(Stamp { document_digest: digest, province: "RM".into() });
    let stamp = NewTransfer { amount_cents: 1_600, stamp, ..NewTransfer::default() };
    let numbered = NewInstalment {
        notice_number: "312000000000471179".into(),
        transfers: vec![tari, tefa, stamp],
        metadata: vec![entry("pratica")],
        ..instalment.clone()
    };
    let debtor = Debtor {
        kind: PersonKind::Natural.into(),
        fiscal_code: "RSSMRA80A01H501U".into(),
        full_name: "Maria Rossi".into(),
        country: "IT".into(),
        email: "maria@example.it".into(),
        ..Debtor::default()
    };
    let position = NewPosition {
        client_reference: "tari-2026-1".into(),
        service_code: "TARI".into(),
        description: "TARI 2026".into(),
        debtor: Some(debtor),
        options: vec![NewOption { description: "unica".into(), instalments: vec![instalment.clone()] }],
        ..NewPosition::default()
    };
    let halves = NewOption { description: "rate".into(), instalments: vec![numbered, instalment] };
    let anonymous = Debtor {
        kind: PersonKind::Natural.into(),
        fiscal_code: "ANONIMO".into(),
        full_name: "Anonimo".into(),
        ..Debtor::default()
    };
    let draft = NewPosition {
        client_reference: "tari-2026-2".into(),
        debtor: Some(anonymous),
        options: vec![halves],
        draft: true,
        ..position.clone()
    };
    let request = |positions| CreatePositionsRequest { institution: "80041780356".into(), positions }.encode_to_vec();
    vec![request(vec![position.clone()]), request(vec![position, draft])]
}

pub(crate) fn receipt_seeds() -> Vec<Vec<u8>> {
    let transfer = ReceiptTransfer {
        id: 1,
        amount_cents: 100,
        beneficiary: "80041780356".into(),
        iban: "IT70C0998877665000000104233".into(),
        taxonomy_code: "9/0101101IM/".into(),
        ..ReceiptTransfer::default()
    };
    let receipt = Receipt {
        institution: "80041780356".into(),
        issuer: "80041780356".into(),
        receipt_id: "r1".into(),
        version: 1,
        content_hash: vec![7; 32].into(),
        notice_number: "312000000000471179".into(),
        amount_cents: 100,
        paid_at: "2026-07-14T10:42:00Z".into(),
        received_at: "2026-07-14T10:42:01Z".into(),
        outcome: "OK".into(),
        transfers: vec![transfer],
        ..Receipt::default()
    };
    let other =
        Receipt { receipt_id: "r2".into(), version: 2, findings: vec!["receipt_schema".into()], ..receipt.clone() };
    let share = Receipt { receipt_id: "r3".into(), issuer: "80236140770".into(), ..receipt.clone() };
    let nobodys = Receipt { findings: vec!["addressee_never_ours".into()], ..receipt.clone() };
    let request = |receipts| ApplyReceiptsRequest { receipts }.encode_to_vec();
    vec![request(vec![receipt.clone()]), request(vec![receipt.clone(), other, share, nobodys, receipt])]
}
