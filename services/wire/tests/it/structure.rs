//! Sequences, choices and occurrences: the reader says what the official schema says, for every way to spoil the order of a message.

use fiorino_wire::{FaultCode, ReadError, Rule, Violation};
use proptest::{prelude::*, sample};

use crate::{
    messages::{ALL, SEND_RT, SEND_RT_V2, VERIFY, full, read_text, replace, times, violations, with, without},
    xsd,
};

/// Begin and end of every element below the request's, tags included.
fn elements(message: &str) -> Vec<(usize, usize)> {
    let body = message.find("<idPA>").unwrap();
    let starts = message.match_indices('<').filter(|(at, _)| *at >= body && !message[*at..].starts_with("</"));
    let spans = starts.map(|(begin, _)| {
        let name = &message[begin + 1..begin + message[begin..].find('>').unwrap()];
        let end = begin + message[begin..].find(&format!("</{name}>")).unwrap() + name.len() + 3;
        (begin, end)
    });
    spans.collect()
}

/// Our verdict by the XSD alone: rules beside it do not count.
fn our_verdict(message: &str) -> bool {
    violations(message).iter().all(|violation| violation.rule.fault_code() == FaultCode::SintassiExtraXsd)
}

#[track_caller]
fn assert_agreed(message: &str) {
    if let Some(official) = xsd::judge(message) {
        assert_eq!(our_verdict(message), official.is_ok(), "{official:?} {:?}: {message}", violations(message));
    }
}

#[test]
fn full_messages_are_valid() {
    for element in ALL {
        let message = full(element);
        xsd::assert_valid(&message);
        assert_eq!(violations(&message), []);
    }
}

/// Takes away, doubles, moves and renames every element of every request.
#[test]
fn occurrences_are_those_of_the_xsd() {
    for request in ALL {
        let message = full(request);
        let spans = elements(&message);
        for &(begin, end) in &spans {
            let (before, element, after) = (&message[..begin], &message[begin..end], &message[end..]);
            assert_agreed(&format!("{before}{after}"));
            assert_agreed(&format!("{before}{element}{element}{after}"));
            assert_agreed(&format!("{before}<unknown/>{element}{after}"));
            assert_agreed(&format!("{before}{element}stray{after}"));
            if let Some(&(next, next_end)) = spans.iter().find(|(next, _)| *next >= end) {
                let (between, swapped) = (&message[end..next], &message[next..next_end]);
                assert_agreed(&format!("{before}{swapped}{between}{element}{}", &message[next_end..]));
            }
        }
    }
}

/// What XML Schema and our lexical rules could read differently.
const CONTENTS: &[&str] = &[
    "",
    " ",
    "x",
    "0",
    "1",
    "5",
    "6",
    "01",
    "+1",
    "-1",
    "a",
    "F",
    "G",
    "OK",
    "KO",
    "POSTAL",
    "IT",
    "it",
    "ITA",
    "true",
    "TRUE",
    "0.00",
    "0.01",
    "00120.00",
    " 120.00 ",
    "120",
    "120,00",
    "999999999.99",
    "1000000000.00",
    "77777777777",
    "312000000000471179",
    "2026-06-16",
    "2026-06-16+02:00",
    "2026-06-16Z",
    "2026-02-30",
    "2026-06-16T10:15:30",
    "2026-06-16T10:15:30.123Z",
    "2026-06-16T24:00:00",
    "a@b",
    "a@b..c",
    "PGE+",
    "PGE",
    "PG E+",
    "&amp;&#x41;&lt;",
    "<![CDATA[77777777777]]>",
    "<!-- c -->1<?pi x?>",
    "<b/>",
    "<idPA/>",
    "x\ny",
    "&#13;",
    "é",
];

/// A receipt without its key is unreadable, which the XSD cannot say; libxml2 passes over what is not of base64's alphabet.
const UNJUDGED: [&str; 3] = ["receiptId", "MBDAttachment", "datiSpecificiServizioRequest"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Any content in any place, up to three at once.
    #[test]
    fn verdicts_are_those_of_the_xsd(
        request in sample::select(&ALL),
        changes in prop::collection::vec((any::<sample::Index>(), content()), 1..4),
    ) {
        let mut message = full(request);
        let spans = elements(&message);
        let mut changed = message.len();
        let mut places: Vec<_> = changes.iter().map(|(place, content)| (*place.get(&spans), content)).collect();
        // From the end on, so that the places stay where they are; what lies around a change stays.
        places.sort_by_key(|((begin, _), _)| std::cmp::Reverse(*begin));
        for ((begin, end), content) in places {
            let name = message[begin + 1..begin + message[begin..].find('>').unwrap()].to_owned();
            if end <= changed && !UNJUDGED.contains(&name.as_str()) {
                message.replace_range(begin..end, &format!("<{name}>{content}</{name}>"));
                changed = begin;
            }
        }
        assert_agreed(&message);
    }
}

fn content() -> impl Strategy<Value = String> {
    prop_oneof![3 => sample::select(CONTENTS).prop_map(str::to_owned), 1 => (1_usize..300).prop_map(|length| "é".repeat(length))]
}

fn only(message: &str) -> Violation {
    let mut found = violations(message);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn violations_name_field_and_rule() {
    let told = |message: &str| only(message).to_string();
    assert_eq!(told(&without(&full(VERIFY), "noticeNumber")), "qrCode.noticeNumber: is mandatory");
    assert_eq!(told(&times(&full(VERIFY), "idStation", 2)), "idStation: appears more than 1 times");
    let receipt = full(SEND_RT);
    assert_eq!(
        told(&replace(&receipt, "value", "<value/>")),
        "receipt.transferList.transfer[1].metadata.mapEntry[1].value: must have 1 to 140 characters"
    );
    assert_eq!(told(&with(&receipt, "transferList", "")), "receipt.transferList.transfer: is mandatory");
    let nowhere = without(&full(SEND_RT_V2), "MBDAttachment");
    assert_eq!(told(&nowhere), "receipt.transferList.transfer[2].IBAN|MBDAttachment: is mandatory");
    assert_eq!(
        told(&with(&full(VERIFY), "fiscalCode", "<b/>1")),
        "qrCode.fiscalCode: contains elements instead of a value"
    );
}

#[test]
fn six_transfers_are_one_too_many() {
    let message = times(&full(SEND_RT), "transfer", 5);
    assert_eq!(
        only(&message),
        Violation { field: "receipt.transferList.transfer[6]".into(), rule: Rule::Repeated { max: 5 } }
    );
    assert_eq!(crate::messages::receipt_of(&message).receipt.transfers.len(), 6);
    xsd::assert_invalid(&message);
}

#[test]
fn fifteen_metadata_are_read() {
    let fifteen = times(&full(SEND_RT), "mapEntry", 15);
    xsd::assert_valid(&fifteen);
    assert_eq!(crate::messages::receipt_of(&fifteen).receipt.transfers[0].metadata.len(), 15);
    let rule = Rule::Repeated { max: 15 };
    assert_eq!(only(&times(&full(SEND_RT), "mapEntry", 16)).rule, rule);
}

#[test]
fn children_are_in_no_namespace() {
    let qualified = full(VERIFY).replace("idStation>", "paf:idStation>");
    let expected = Violation { field: "idStation".into(), rule: Rule::Namespace };
    assert_eq!(only(&qualified), expected);
    xsd::assert_invalid(&qualified);
}

/// The header that was read goes with a refusal, wherever the violation is.
#[test]
fn a_refusal_knows_its_addressee() {
    for spoiled in [without(&full(VERIFY), "qrCode"), full(VERIFY).replace("<qrCode>", "<odd/><qrCode>")] {
        let refused = read_text(&spoiled).unwrap_err();
        let header = refused.header().unwrap();
        assert_eq!(header.id_pa.as_deref(), Some("77777777777"));
        assert_eq!(header.id_broker_pa.as_deref(), Some("88888888888"));
        assert_eq!(header.id_station.as_deref(), Some("88888888888_01"));
    }
    let refused = read_text(&with(&full(VERIFY), "idPA", "")).unwrap_err();
    let ReadError::Schema { header, .. } = &refused else { panic!("{refused:?}") };
    assert_eq!((header.id_pa.as_deref(), header.fault_id()), (None, "88888888888"));
}
