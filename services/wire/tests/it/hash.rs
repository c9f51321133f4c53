//! The business hash decides whether a receipt is an equal repetition: too coarse and a payment is lost, too fine and a copy is a case.

use fiorino_wire::{Limits, ReadError, Version, shared_hash};
use proptest::{prelude::*, sample};

use crate::messages::{SEND_RT, SEND_RT_V2, full, read_text, receipt_of, replace, span, times, with, without};

fn hash(message: &str) -> [u8; 32] {
    receipt_of(message).business_hash
}

#[track_caller]
fn assert_equal(one: &str, other: &str) {
    assert_eq!(hash(one), hash(other), "{other}");
}

#[track_caller]
fn assert_differs(one: &str, other: &str) {
    assert_ne!(hash(one), hash(other), "{other}");
}

#[test]
fn appearance_does_not_count() {
    for element in [SEND_RT, SEND_RT_V2] {
        let message = full(element);
        assert_equal(&message, &message.replace("><", ">\n  <!-- c --><?p i?><"));
        assert_equal(&message, &message.replace("paf:", "x:").replace(":paf", ":x").replace("soapenv", "s"));
        assert_equal(&message, &with(&message, "description", "<![CDATA[TARI]]> 20&#50;6<!-- --> rata 1"));
        assert_equal(&message, &message.replace("standIn", "standin"));
        assert_equal(&message, &message.replace("<receipt>", "<receipt a='b'>"));
    }
}

#[test]
fn spelling_does_not_count() {
    let message = full(SEND_RT_V2);
    for (element, content) in [
        ("paymentAmount", " 00120.00 "),
        ("fee", "01.50"),
        ("idTransfer", "+01"),
        ("standIn", "0"),
        ("applicationDate", "2026-06-16+02:00"),
        ("paymentDateTime", "2026-06-16T08:15:30.000Z"),
        ("MBDAttachment", "PGE+ MTwv YT4="),
    ] {
        assert_equal(&message, &with(&message, element, content));
    }
}

#[test]
fn order_does_not_count() {
    let message = full(SEND_RT_V2);
    let (begin, end) = span(&message, "transfer");
    let first = &message[begin..end];
    let swapped = without(&message, "transfer").replace("</transferList>", &format!("{first}</transferList>"));
    assert_equal(&message, &swapped);
    let moved = without(&message, "fee").replace("<receiptId>", "<fee>1.50</fee><receiptId>");
    assert_equal(&message, &moved);
}

/// The header and the envelope are how it came, not what it says.
#[test]
fn the_way_does_not_count() {
    let message = full(SEND_RT);
    for key in ["idPA", "idBrokerPA", "idStation"] {
        assert_equal(&message, &with(&message, key, "other"));
    }
    assert_equal(&message, &message.replace("<idPA>", "<odd/><idPA>"));
}

/// Every leaf of the message: another value, no value, a second one.
#[test]
fn every_field_counts() {
    for element in [SEND_RT, SEND_RT_V2] {
        let message = full(element);
        let receipt = message.find("<receiptId>").unwrap();
        let leaves: Vec<_> = message
            .match_indices('<')
            .filter(|(at, _)| *at >= receipt && !message[*at..].starts_with("</"))
            .map(|(at, _)| (at, message[at..].find('>').unwrap() + at + 1))
            .filter(|(_, end)| !message[*end..].starts_with('<'))
            .collect();
        assert!(leaves.len() > 50);
        for (begin, content) in leaves {
            let name = &message[begin + 1..content - 1];
            let end = content + message[content..].find('<').unwrap();
            let (before, value, after) = (&message[..content], &message[content..end], &message[end..]);
            let other: String = value.chars().map(|char| if char == '1' { '2' } else { '1' }).collect();
            assert_differs(&message, &format!("{before}{other}{after}"));
            assert_differs(&message, &format!("{before}{value}{value}{after}"));
            if name != "receiptId" {
                let close = format!("</{name}>");
                let gone = format!("{}{}", &message[..begin], after.strip_prefix(close.as_str()).unwrap());
                assert_differs(&message, &gone);
                assert_differs(&message, &format!("{before}{after}"));
            }
        }
    }
}

#[test]
fn what_the_xsd_does_not_know_counts() {
    let message = full(SEND_RT);
    let with_odd = |odd: &str| message.replace("<standIn>", &format!("{odd}<standIn>"));
    assert_differs(&message, &with_odd("<odd/>"));
    assert_differs(&with_odd("<odd>1</odd>"), &with_odd("<odd>2</odd>"));
    assert_differs(&with_odd("<odd><a>1</a></odd>"), &with_odd("<odd><b>1</b></odd>"));
    assert_equal(&with_odd("<odd><a>1</a></odd>"), &with_odd("<odd>\n <a>1</a>\n</odd>"));
    assert_differs(&message, &with_odd("stray"));
    assert_differs(&message, &times(&message, "fee", 2));
    assert_differs(&message, &times(&message, "transfer", 2));
}

fn shared(message: &str) -> (Version, [u8; 32]) {
    shared_hash(message.as_bytes(), None, &Limits::default()).unwrap()
}

/// The payment of a `paSendRT` as `paSendRTV2` tells it: with what only that knows.
fn as_v2(message: &str) -> String {
    let names = "<companyName>Ente</companyName><IBAN>";
    let notes = "<paymentNote>c</paymentNote><fee>1.50</fee><primaryCiIncurredFee>0.50</primaryCiIncurredFee><idBundle>1</idBundle>";
    message.replace(SEND_RT, SEND_RT_V2).replace("<IBAN>", names).replace("<fee>1.50</fee>", notes)
}

/// A station that is moved to version 2 gets what it had by version 1 once more (pagopa.md 2.7).
#[test]
fn both_versions_of_one_payment_share_a_hash() {
    let first = full(SEND_RT);
    let second = as_v2(&first);
    assert!(receipt_of(&second).findings.is_empty());
    assert_differs(&first, &second);
    assert_eq!((shared(&first).0, shared(&second).0), (Version::V1, Version::V2));
    assert_eq!(shared(&first).1, shared(&second).1);
    let newer = second.replace("<standIn>", "<brandNew><deep>1</deep></brandNew><standIn>");
    assert_eq!(shared(&first).1, shared(&newer).1, "what nobody knows is of one version");
}

/// Every leaf that both have: another value is another payment.
#[test]
fn every_shared_field_counts() {
    let first = full(SEND_RT);
    let second = as_v2(&first);
    let receipt = first.find("<receiptId>").unwrap();
    let mut leaves = 0;
    for (begin, _) in first.match_indices('<').filter(|(at, _)| *at >= receipt && !first[*at..].starts_with("</")) {
        let content = first[begin..].find('>').unwrap() + begin + 1;
        let end = content + first[content..].find('<').unwrap();
        if first[content..].starts_with('<') || !first[end..].starts_with("</") {
            continue;
        }
        leaves += 1;
        let other: String = first[content..end].chars().map(|char| if char == '1' { '2' } else { '1' }).collect();
        let changed = format!("{}{other}{}", &first[..content], &first[end..]);
        assert_ne!(shared(&changed).1, shared(&second).1, "{}", &first[begin..end]);
    }
    assert!(leaves > 50);
}

#[test]
fn values_do_not_move_between_fields() {
    let message = full(SEND_RT_V2);
    let swapped = with(&with(&message, "idBundle", "2"), "idCiBundle", "1");
    assert_differs(&message, &swapped);
    let payer = replace(&message, "debtor", "<debtor>x</debtor>");
    assert_differs(&message, &payer);
}

#[test]
fn the_hash_is_stable() {
    // It is stored: a change of the canonical form makes every retried receipt a new version.
    insta::assert_debug_snapshot!("business_hash", hash(&full(SEND_RT_V2)));
}

proptest! {
    /// Two receipts that differ in one text have different hashes, whatever the text.
    #[test]
    fn texts_count(
        element in sample::select(&["description", "companyName", "fullName", "idPSP", "value"][..]),
        one in "[a-z<&;\u{e8}]{1,34}",
        other in "[a-z<&;\u{e8}]{1,34}",
    ) {
        let set = |text: &str| with(&full(SEND_RT), element, &text.replace('&', "&amp;").replace('<', "&lt;"));
        prop_assert_eq!(one == other, hash(&set(&one)) == hash(&set(&other)));
    }
}

#[test]
fn an_unreadable_receipt_has_none() {
    assert!(matches!(read_text(&without(&full(SEND_RT), "receiptId")), Err(ReadError::Schema { .. })));
}
