//! What is refused whatever it says, and that nothing makes the reader fall over.

use fiorino_wire::{
    Fault, FaultCode, Limits, Operation, ReadError, SoapFault, SoapRule, Version, XmlRule, operation_of, read,
};
use proptest::{prelude::*, sample};
use rstest::rstest;

use crate::messages::{ALL, GET_PAYMENT, SEND_RT, SEND_RT_V2, VERIFY, envelope, full, read_text, with};

/// The rule of a message that is no acceptable XML.
#[track_caller]
fn xml_rule(message: impl AsRef<[u8]>) -> XmlRule {
    match read(message.as_ref(), &Limits::default()) {
        Err(ReadError::NotXml { rule, .. }) => rule,
        other => panic!("{other:?}"),
    }
}

#[test]
fn document_types_are_refused() {
    let doctype = |inner: &str| full(VERIFY).replace("?>", &format!("?><!DOCTYPE a{inner}>"));
    assert_eq!(xml_rule(doctype("")), XmlRule::Doctype);
    assert_eq!(xml_rule(doctype(" SYSTEM \"file:///etc/passwd\"")), XmlRule::Doctype);
    let bomb = doctype(" [<!ENTITY b \"bb\"><!ENTITY c \"&b;&b;\">]").replace("77777777777", "&c;");
    assert_eq!(xml_rule(bomb), XmlRule::Doctype);
}

#[test]
fn entities_are_refused() {
    assert_eq!(xml_rule(with(&full(VERIFY), "idPA", "&c;")), XmlRule::Entity);
    assert_eq!(xml_rule(with(&full(VERIFY), "idPA", "&nbsp;")), XmlRule::Entity);
    assert_eq!(xml_rule(full(VERIFY).replace("<idPA>", "<idPA a='&c;'>")), XmlRule::Entity);
    assert_eq!(xml_rule(with(&full(VERIFY), "idPA", "&#0;")), XmlRule::Character);
    assert_eq!(xml_rule(with(&full(VERIFY), "idPA", "&#xFFFE;")), XmlRule::Character);
    assert_eq!(xml_rule(with(&full(VERIFY), "idPA", "&#x110000;")), XmlRule::Character);
}

#[test]
fn depth_is_bounded() {
    // The envelope, the body, the request's element and the unknown one's parent are four.
    let nested = |depth: usize| {
        let (open, close) = ("<a>".repeat(depth - 3), "</a>".repeat(depth - 3));
        full(VERIFY).replace("<idPA>", &format!("{open}{close}<idPA>"))
    };
    assert!(matches!(read_text(&nested(16)), Err(ReadError::Schema { .. })));
    assert_eq!(xml_rule(nested(17)), XmlRule::Depth);
    assert_eq!(xml_rule(full(VERIFY).replace("<idPA>", &"<a>".repeat(100_000))), XmlRule::Depth);
}

#[test]
fn size_is_bounded() {
    let limits = Limits { request_bytes: 2_000, receipt_bytes: 8_000, ..Limits::default() };
    let padded = |element: &str, bytes: usize| {
        let message = full(element);
        let pad = " ".repeat(bytes - message.len());
        message.replace("<idPA>", &format!("{pad}<idPA>"))
    };
    for (element, operation, limit) in
        [(VERIFY, Operation::Verify, 2_000), (GET_PAYMENT, Operation::GetPayment(Version::V1), 2_000)]
    {
        assert!(read(padded(element, limit).as_bytes(), &limits).is_ok());
        let refused = read(padded(element, limit + 1).as_bytes(), &limits).unwrap_err();
        assert_eq!(refused, ReadError::TooLarge { operation: Some(operation), bytes: limit + 1, limit });
        assert_eq!(Fault::of(&refused).unwrap().1.code, FaultCode::SintassiExtraXsd);
    }
    for element in [SEND_RT, SEND_RT_V2] {
        assert!(read(padded(element, 8_000).as_bytes(), &limits).is_ok());
        let refused = read(padded(element, 8_001).as_bytes(), &limits).unwrap_err();
        assert_eq!(refused, ReadError::TooLarge { operation: None, bytes: 8_001, limit: 8_000 });
        assert_eq!(Fault::of(&refused), None);
    }
    let default = Limits::default();
    assert_eq!((default.request_bytes, default.receipt_bytes, default.depth), (1 << 20, 4 << 20, 16));
}

#[rstest]
#[case::utf_16(b"\xff\xfe<\0a\0/\0>\0".to_vec())]
#[case::unknown_label(full(VERIFY).replace("UTF-8", "windows-1252").into_bytes())]
#[case::not_utf_8([full(VERIFY).as_bytes(), b"\xe8"].concat())]
#[case::not_ascii(with(&full(VERIFY), "idPA", "è").replace("UTF-8", "us-ascii").into_bytes())]
fn encodings_are_told(#[case] message: Vec<u8>) {
    assert_eq!(xml_rule(message), XmlRule::Encoding);
}

#[rstest]
#[case::nothing("", XmlRule::Truncated)]
#[case::text("hello", XmlRule::Syntax)]
#[case::control_character("<a>\u{1}</a>", XmlRule::Character)]
#[case::noncharacter("<a>\u{ffff}</a>", XmlRule::Character)]
#[case::mismatched(&full(VERIFY).replace("</idPA>", "</idPa>"), XmlRule::Syntax)]
#[case::two_roots(&format!("{0}<a/>", full(VERIFY)), XmlRule::Syntax)]
#[case::text_behind(&format!("{0}x", full(VERIFY)), XmlRule::Syntax)]
#[case::declared_late(&full(VERIFY).replace("<idPA>", "<?xml version='1.0'?><idPA>"), XmlRule::Syntax)]
#[case::undeclared_prefix(&full(VERIFY).replace("idPA>", "x:idPA>"), XmlRule::Namespace)]
#[case::doubled_attribute(&full(VERIFY).replace("<idPA>", "<idPA a='1' a='2'>"), XmlRule::Attribute)]
#[case::markup_in_attribute(&full(VERIFY).replace("<idPA>", "<idPA a='<'>"), XmlRule::Attribute)]
#[case::dangling_reference(&with(&full(VERIFY), "idPA", "a & b"), XmlRule::Syntax)]
#[case::hyphens_in_comment(&full(VERIFY).replace("<idPA>", "<!-- -- --><idPA>"), XmlRule::Syntax)]
fn malformed_xml_is_told(#[case] message: &str, #[case] rule: XmlRule) {
    assert_eq!(xml_rule(message), rule);
}

/// Cut anywhere, a message is refused; from its operation's element on it is known what was asked.
#[test]
fn a_message_that_breaks_off_is_refused() {
    for (element, operation) in [(VERIFY, Operation::Verify), (SEND_RT, Operation::SendReceipt(Version::V1))] {
        let message = full(element);
        let known = message.find("<idPA>").unwrap();
        let addressed = message.find("<idBrokerPA>").unwrap();
        for end in 0..message.len() {
            let refused = read(&message.as_bytes()[..end], &Limits::default()).unwrap_err();
            assert_eq!(refused.operation(), (end >= known).then_some(operation), "{refused:?} at {end}");
            let id_pa = refused.header().and_then(|header| header.id_pa.as_deref());
            assert_eq!(id_pa, (end >= addressed).then_some("77777777777"));
            let fault = Fault::of(&refused).map(|(operation, fault)| (operation, fault.code));
            let expected =
                (end >= known && operation == Operation::Verify).then_some((operation, FaultCode::SintassiXsd));
            assert_eq!(fault, expected);
        }
    }
}

#[rstest]
#[case::no_envelope("<a/>", SoapRule::Envelope)]
#[case::bare(
    "<paf:paVerifyPaymentNoticeReq xmlns:paf='http://pagopa-api.pagopa.gov.it/pa/paForNode.xsd'/>",
    SoapRule::Envelope
)]
#[case::soap_1_2("<e:Envelope xmlns:e='http://www.w3.org/2003/05/soap-envelope'/>", SoapRule::Version)]
#[case::no_body(
    "<e:Envelope xmlns:e='http://schemas.xmlsoap.org/soap/envelope/'><e:Header/></e:Envelope>",
    SoapRule::Body
)]
#[case::empty_body(
    "<e:Envelope xmlns:e='http://schemas.xmlsoap.org/soap/envelope/'><e:Body/></e:Envelope>",
    SoapRule::Operation
)]
fn other_messages_are_told(#[case] message: &str, #[case] rule: SoapRule) {
    assert_eq!(read_text(message).unwrap_err(), ReadError::NotSoap { rule });
}

#[test]
fn unknown_operations_are_named() {
    let unknown = |name: &str| ReadError::UnknownOperation { name: name.into() };
    assert_eq!(read_text(&envelope("paVerify", "")).unwrap_err(), unknown("paVerify"));
    assert_eq!(read_text(&envelope(&"x".repeat(100), "")).unwrap_err(), unknown(&"x".repeat(64)));
    let elsewhere = full(VERIFY).replace("paForNode.xsd", "other.xsd");
    assert_eq!(read_text(&elsewhere).unwrap_err(), unknown(VERIFY));
    assert!(SoapFault::from(&unknown("paVerify")).rule.contains("unknown operation paVerify"));
}

#[test]
fn the_operation_is_seen_early() {
    let limits = Limits::default();
    for element in ALL {
        let message = format!("<!-- è -->{}", full(element).replace("<?xml version=\"1.0\" encoding=\"UTF-8\"?>", ""));
        let seen = message.find("<idPA>").unwrap();
        let operation = Operation::of_request_element(element);
        for end in 0..message.len() {
            let found = operation_of(&message.as_bytes()[..end], None, &limits);
            assert_eq!(found, operation.filter(|_| end >= seen), "{element} at {end}");
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        prop_assert!(read(&bytes, &Limits::default()).is_err());
        let _ = operation_of(&bytes, None, &Limits::default());
    }

    /// Pieces of XML in any order.
    #[test]
    fn random_markup_never_panics(pieces in prop::collection::vec(sample::select(PIECES), 0..40)) {
        let _ = read(pieces.concat().as_bytes(), &Limits::default());
    }

    /// A real message, spoiled byte by byte.
    #[test]
    fn mutated_messages_never_panic(
        request in sample::select(&ALL),
        changes in prop::collection::vec((any::<sample::Index>(), any::<u8>(), 0..3_u8), 1..20),
    ) {
        let mut message = full(request).into_bytes();
        for (place, byte, how) in changes {
            let at = place.index(message.len());
            match how {
                0 => message[at] = byte,
                1 => message.insert(at, byte),
                _ => drop(message.drain(at..message.len().min(at + usize::from(byte)))),
            }
            if message.is_empty() {
                break;
            }
        }
        let _ = read(&message, &Limits::default());
    }
}

const PIECES: &[&str] = &[
    "<",
    ">",
    "/>",
    "</",
    "&",
    ";",
    "&#",
    "&amp;",
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    "<?xml ",
    "?>",
    "<!DOCTYPE",
    "=\"",
    "'",
    "<e:Envelope xmlns:e='http://schemas.xmlsoap.org/soap/envelope/'>",
    "</e:Envelope>",
    "<e:Body>",
    "</e:Body>",
    "<p:paSendRTReq xmlns:p='http://pagopa-api.pagopa.gov.it/pa/paForNode.xsd'>",
    "</p:paSendRTReq>",
    "<receipt>",
    "</receipt>",
    "<receiptId>",
    "</receiptId>",
    "<idPA>",
    "</idPA>",
    "x",
    " ",
    "\u{feff}",
    "\u{0}",
    "è",
    "encoding=\"iso-8859-1\"",
];
