//! Receipts are taken as they come: what makes one readable, what is kept of an odd one (ARCHITECTURE.md 4.4).

use fiorino_wire::{EntityKind, Limits, Outcome, ReadError, Receipt, ReceiptMessage, Rule, Version, read_receipt};
use rstest::rstest;

use crate::messages::{SEND_RT, SEND_RT_V2, VERIFY, full, read_text, receipt_of, times, violations, with, without};

#[rstest]
fn a_receipt_without_a_key_is_unreadable(
    #[values(SEND_RT, SEND_RT_V2)] element: &str,
    #[values("idPA", "idBrokerPA", "idStation", "receiptId", "receipt")] key: &str,
) {
    let refused = read_text(&without(&full(element), key)).unwrap_err();
    let ReadError::Schema { operation, violation, .. } = &refused else { panic!("{refused:?}") };
    assert!(operation.is_receipt());
    assert_eq!(violation.rule, Rule::Missing);
    assert!(violation.field.ends_with(if key == "receipt" { "receiptId" } else { key }), "{violation}");
}

/// Keys go into indexes: 255 characters at most (pagopa.md 10, row 11), whatever the XSD says of them.
#[test]
fn keys_are_kept_as_they_are() {
    for key in ["idPA", "idBrokerPA", "idStation", "receiptId"] {
        let message = receipt_of(&with(&full(SEND_RT), key, &"è".repeat(255)));
        assert_eq!(message.findings.len(), usize::from(key != "receiptId"), "{:?}", message.findings);
        for content in ["", &"è".repeat(256)] {
            assert!(read_text(&with(&full(SEND_RT), key, content)).is_err());
        }
    }
}

#[test]
fn a_readable_receipt_may_have_nothing_else() {
    let bare = with(&full(SEND_RT), "receipt", "<receiptId>r</receiptId>");
    let message = receipt_of(&bare);
    assert_eq!(message.receipt, fiorino_wire::Receipt { receipt_id: "r".into(), ..Default::default() });
    let missing: Vec<_> = message.findings.iter().map(|finding| finding.field.as_str()).collect();
    let expected = [
        "noticeNumber",
        "fiscalCode",
        "outcome",
        "creditorReferenceId",
        "paymentAmount",
        "description",
        "companyName",
        "debtor",
        "transferList",
        "idPSP",
        "PSPCompanyName",
        "idChannel",
        "channelDescription",
    ];
    assert_eq!(missing, expected.map(|name| format!("receipt.{name}")));
}

#[test]
fn what_cannot_be_read_is_left_out_and_told() {
    let mut message = full(SEND_RT_V2);
    let spoiled = [
        ("noticeNumber", "3120"),
        ("fiscalCode", "777"),
        ("outcome", "MAYBE"),
        ("paymentAmount", "120,00"),
        ("country", "ITA"),
        ("e-mail", "nobody"),
        ("entityUniqueIdentifierType", "X"),
        ("idTransfer", "9"),
        ("transferAmount", "1e1"),
        ("fiscalCodePA", "x"),
        ("MBDAttachment", "?"),
        ("fee", "1,00"),
        ("primaryCiIncurredFee", "-1.00"),
        ("paymentDateTime", "yesterday"),
        ("applicationDate", "16/06/2026"),
        ("transferDate", ""),
        ("standIn", "no"),
    ];
    for (element, content) in spoiled {
        message = with(&message, element, content);
    }
    let ReceiptMessage { receipt, findings, .. } = receipt_of(&message);
    for (element, _) in spoiled {
        assert!(findings.iter().any(|finding| finding.field.ends_with(element)), "{element}");
    }
    assert_eq!(findings.len(), spoiled.len());
    let debtor = receipt.debtor.as_ref().unwrap();
    let transfer = &receipt.transfers[0];
    assert_eq!((receipt.notice_number, receipt.fiscal_code, receipt.outcome), (None, None, None));
    assert_eq!((receipt.payment_amount, receipt.fee, receipt.primary_ci_incurred_fee), (None, None, None));
    assert_eq!((receipt.paid_at, receipt.application_date, receipt.transfer_date), (None, None, None));
    assert_eq!((receipt.stand_in, &debtor.country, &debtor.email, debtor.kind), (None, &None, &None, None));
    assert_eq!((transfer.id, transfer.amount, transfer.fiscal_code), (None, None, None));
    assert_eq!(receipt.transfers[1].stamp, None);
    assert_eq!(receipt.creditor_reference_id.as_deref(), Some("12000000000471179"));
    assert_eq!(debtor.full_name.as_ref().unwrap().expose(), "Mario Rossi");
}

/// What an amount says is taken where nobody can read it in two ways, and nothing is made of the rest: not told is not zero.
#[rstest]
#[case("10", Some(1_000), Rule::AmountForm)]
#[case("10.0", Some(1_000), Rule::AmountForm)]
#[case("10.000", Some(1_000), Rule::AmountForm)]
#[case("+10.00", Some(1_000), Rule::AmountForm)]
#[case("10.", Some(1_000), Rule::AmountForm)]
#[case("0", Some(0), Rule::AmountForm)]
#[case("10,00", None, Rule::Amount)]
#[case("1.000,00", None, Rule::Amount)]
#[case("10.001", None, Rule::Amount)]
#[case("1e1", None, Rule::Amount)]
#[case("-10.00", None, Rule::Amount)]
#[case("++10.00", None, Rule::Amount)]
#[case("", None, Rule::Amount)]
#[case("+", None, Rule::Amount)]
#[case(".50", None, Rule::Amount)]
#[case("9999999999.99", None, Rule::Amount)]
#[case("1\u{e8}", None, Rule::Amount)]
#[case("1.\u{e8}\u{e8}", None, Rule::Amount)]
fn an_amount_is_read_where_its_value_is_beyond_doubt(
    #[case] spelled: &str,
    #[case] cents: Option<i64>,
    #[case] rule: Rule,
    #[values("paymentAmount", "transferAmount", "fee", "primaryCiIncurredFee")] element: &str,
) {
    let message = receipt_of(&with(&full(SEND_RT_V2), element, spelled));
    let receipt = &message.receipt;
    let read = match element {
        "paymentAmount" => receipt.payment_amount,
        "transferAmount" => receipt.transfers[0].amount,
        "fee" => receipt.fee,
        _ => receipt.primary_ci_incurred_fee,
    };
    assert_eq!(read.map(fiorino_domain::money::Cents::get), cents);
    assert_eq!(message.findings.len(), 1);
    assert_eq!(message.findings[0].rule, rule);
    assert!(message.findings[0].field.ends_with(element));
}

/// The schema forbids it, and it was told all the same.
#[test]
fn a_transfer_of_zero_is_read_and_told() {
    let message = receipt_of(&with(&full(SEND_RT_V2), "transferAmount", "0.00"));
    assert_eq!(message.receipt.transfers[0].amount, Some(fiorino_domain::money::Cents::ZERO));
    assert_eq!(message.findings[0].rule, Rule::AmountNotZero);
    assert!(receipt_of(&with(&full(SEND_RT_V2), "paymentAmount", "0.00")).findings.is_empty());
}

/// However many elements are new to us, what is wrong is seen.
#[test]
fn what_is_unknown_hides_nothing() {
    let odd = full(SEND_RT).replace("<receiptId>", &format!("{}<receiptId>", "<odd/>".repeat(100)));
    let message = receipt_of(&with(&odd, "paymentAmount", "120,00"));
    let wrong: Vec<_> = message.findings.iter().filter(|finding| finding.rule != Rule::Unknown).collect();
    assert_eq!((wrong.len(), wrong[0].field.as_str()), (1, "receipt.paymentAmount"));
    assert_eq!(message.findings.len(), ReceiptMessage::FINDINGS_MAX + 1);
}

#[test]
fn texts_that_are_too_long_are_cut() {
    let message = receipt_of(&with(&full(SEND_RT), "description", &"è".repeat(141)));
    assert_eq!(message.receipt.description.unwrap(), "è".repeat(140));
    assert_eq!(message.findings[0].rule, Rule::Length { min: 1, max: 140 });
    let empty = receipt_of(&with(&full(SEND_RT), "description", ""));
    assert_eq!((empty.receipt.description, empty.findings.len()), (None, 1));
}

#[test]
fn unknown_elements_are_findings() {
    let odd = full(SEND_RT_V2).replace("<standIn>", "<newThing><deep>1</deep></newThing><standIn>");
    let message = receipt_of(&odd);
    assert_eq!(message.findings.len(), 1);
    assert_eq!((message.findings[0].field.as_str(), message.findings[0].rule), ("receipt.newThing", Rule::Unknown));
    assert_eq!(message.receipt, receipt_of(&full(SEND_RT_V2)).receipt);
}

#[test]
fn findings_are_bounded() {
    let odd = full(SEND_RT).replace("<standIn>", &format!("{}<standIn>", "<odd/>".repeat(10_000)));
    let message = receipt_of(&odd);
    assert_eq!(message.findings.len(), ReceiptMessage::FINDINGS_MAX);
    assert_eq!(message.receipt.stand_in, Some(false));
    let long = full(SEND_RT).replace("<standIn>", &format!("<{0}/><standIn>", "x".repeat(100_000)));
    assert!(receipt_of(&long).findings[0].field.len() < 100);
}

/// What no sender has a reason for takes no room, and still tells two messages apart.
#[rstest]
#[case::transfers("<transferList>", "<transfer/>")]
#[case::metadata("<metadata>", "<mapEntry><key>k</key><value>v</value></mapEntry>")]
fn lists_without_end_are_kept_in_part(#[case] list: &str, #[case] entry: &str) {
    let of = |entries: usize| receipt_of(&full(SEND_RT_V2).replace(list, &format!("{list}{}", entry.repeat(entries))));
    let (many, more) = (of(10_000), of(10_001));
    let Receipt { transfers, metadata, .. } = &more.receipt;
    let metadata = transfers.iter().map(|transfer| transfer.metadata.len()).chain([metadata.len()]).max();
    match list {
        "<metadata>" => assert_eq!(metadata, Some(Receipt::METADATA_MAX)),
        _ => assert_eq!(transfers.len(), Receipt::TRANSFERS_MAX),
    }
    assert_eq!((&many.receipt, many.findings.len()), (&more.receipt, ReceiptMessage::FINDINGS_MAX));
    assert_ne!(many.business_hash, more.business_hash);
}

/// The copy for another beneficiary has another addressee and the same content (pagopa.md 2.7).
#[test]
fn the_addressee_may_be_another_beneficiary() {
    let copy = receipt_of(&with(&full(SEND_RT_V2), "idPA", "01199250158"));
    let primary = receipt_of(&full(SEND_RT_V2));
    assert_eq!(copy.header.id_pa, "01199250158");
    assert_eq!((copy.receipt, copy.business_hash, copy.findings), (primary.receipt, primary.business_hash, vec![]));
}

#[test]
fn a_receipt_is_read_in_full() {
    let message = receipt_of(&full(SEND_RT_V2));
    assert_eq!(message.version, Version::V2);
    let receipt = &message.receipt;
    assert_eq!(receipt.outcome, Some(Outcome::Ok));
    assert_eq!(receipt.payment_note.as_deref(), Some("cart-0001"));
    assert_eq!((receipt.id_bundle.as_deref(), receipt.id_ci_bundle.as_deref()), (Some("1"), Some("2")));
    assert_eq!(receipt.transfers[0].iban.as_ref().unwrap().expose(), "IT30N0103076271000001823603");
    assert_eq!(receipt.transfers[0].metadata[0].key, "TARI-TEFA-1");
    let payer = receipt.payer.as_ref().unwrap();
    assert_eq!(
        (payer.kind, payer.email.as_ref().unwrap().expose().as_str()),
        (Some(EntityKind::Natural), "mario.rossi@example.org")
    );
    insta::assert_debug_snapshot!("receipt_in_full", message);
}

#[test]
fn version_one_has_no_names_of_beneficiaries() {
    let odd = full(SEND_RT).replace("<IBAN>", "<companyName>x</companyName><IBAN>");
    let message = receipt_of(&odd);
    assert!(message.findings.iter().all(|finding| finding.rule == Rule::Unknown));
    assert_eq!(message.receipt.transfers[0].company_name, None);
}

/// The dispatcher reads what the inbox kept.
#[test]
fn receipts_alone() {
    let limits = Limits::default();
    let message = read_receipt(full(SEND_RT).as_bytes(), &limits).unwrap();
    assert_eq!(message, receipt_of(&full(SEND_RT)));
    let refused = read_receipt(full(VERIFY).as_bytes(), &limits).unwrap_err();
    assert_eq!(refused, ReadError::UnknownOperation { name: VERIFY.into() });
}

/// Findings and errors name fields and rules, never what was written.
#[test]
fn values_are_not_repeated() {
    let secret = "RSSMRA80A01H501U-SECRET";
    for element in ["entityUniqueIdentifierValue", "country", "e-mail", "IBAN", "paymentAmount"] {
        for finding in violations(&with(&full(SEND_RT), element, secret)) {
            assert!(!format!("{finding:?} {finding}").contains("SECRET"));
        }
    }
    let refused = read_text(&with(&full(VERIFY), "noticeNumber", secret)).unwrap_err();
    assert!(!format!("{refused:?} {refused}").contains("SECRET"));
}

#[test]
fn a_second_receipt_element_is_a_finding() {
    let message = receipt_of(&times(&full(SEND_RT), "receipt", 2));
    assert_eq!(message.findings[0].rule, Rule::Repeated { max: 1 });
}
