//! What a strict reader would stumble over and ours does not (pagopa.md 2.1, 9.1, 10).

use fiorino_wire::{Limits, Request, read, read_with_charset};
use rstest::rstest;

use crate::messages::{
    ALL, DEMAND, GET_PAYMENT, SEND_RT, SEND_RT_V2, VERIFY, full, read_text, receipt_of, with, without,
};

/// The same request, whatever it looks like.
#[track_caller]
fn assert_same(element: &str, changed: &str) {
    let plain = read_text(&full(element)).unwrap();
    match (read_text(changed).unwrap(), plain) {
        (Request::SendReceipt(changed), Request::SendReceipt(plain)) => {
            assert_eq!(changed.findings, []);
            assert_eq!(changed.receipt, plain.receipt);
        }
        (changed, plain) => assert_eq!(changed, plain),
    }
}

#[test]
fn any_prefix() {
    for element in ALL {
        let message = full(element);
        assert_same(
            element,
            &message.replace("soapenv", "S").replace("paf:", "ns2.x:").replace("xmlns:paf", "xmlns:ns2.x"),
        );
    }
}

#[test]
fn children_may_undo_a_default_namespace() {
    let message = full(VERIFY)
        .replace("<soapenv:Body>", "<soapenv:Body xmlns=\"urn:default\">")
        .replace("<idPA>", "<idPA xmlns=\"\">")
        .replace("<idBrokerPA>", "<idBrokerPA xmlns=\"\">")
        .replace("<idStation>", "<idStation xmlns=\"\">")
        .replace("<qrCode>", "<qrCode xmlns=\"\">");
    assert_same(VERIFY, &message);
}

#[test]
fn white_space_comments_and_instructions() {
    for element in ALL {
        assert_same(element, &full(element).replace("><", ">\r\n\t <!-- c --><?pi x?><"));
    }
}

#[test]
fn cdata_and_references() {
    assert_same(VERIFY, &with(&full(VERIFY), "idPA", "<![CDATA[777]]>77<!-- c -->7&#55;&#x37;777"));
    let told = receipt_of(&with(&full(SEND_RT), "description", "<![CDATA[a<b]]> &amp;&lt;&gt;&apos;&quot; \r\n c"));
    assert_eq!(told.receipt.description.as_deref(), Some("a<b &<>'\" \n c"));
}

#[test]
fn attributes_and_headers() {
    let message = full(VERIFY)
        .replace(
            "<idPA>",
            "<idPA xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"string\" a='&lt;b'>",
        )
        .replace("<soapenv:Header/>", "<soapenv:Header><h xmlns=\"urn:h\"><i>text</i></h></soapenv:Header>");
    assert_same(VERIFY, &message);
    assert_same(VERIFY, &full(VERIFY).replace("<soapenv:Header/>", ""));
}

#[test]
fn a_byte_order_mark() {
    assert_same(VERIFY, &format!("\u{feff}{}", full(VERIFY)));
}

#[rstest]
#[case("iso-8859-1")]
#[case("ISO-8859-1")]
#[case("latin1")]
fn latin_1_declared(#[case] label: &str) {
    let message = with(&full(SEND_RT), "description", "Tassa sull'età").replace("UTF-8", label);
    let bytes: Vec<u8> = message.chars().map(|char| u8::try_from(u32::from(char)).unwrap()).collect();
    let Ok(Request::SendReceipt(receipt)) = read(&bytes, &Limits::default()) else { panic!("no receipt") };
    assert_eq!(receipt.receipt.description.as_deref(), Some("Tassa sull'età"));
}

/// The transport's charset counts where the message is silent.
#[test]
fn latin_1_of_the_transport() {
    let message = with(&full(SEND_RT), "description", "età").replace("<?xml version=\"1.0\" encoding=\"UTF-8\"?>", "");
    let bytes: Vec<u8> = message.chars().map(|char| u8::try_from(u32::from(char)).unwrap()).collect();
    let read = |charset| read_with_charset(&bytes, charset, &Limits::default());
    let Ok(Request::SendReceipt(receipt)) = read(Some("iso-8859-1")) else { panic!("no receipt") };
    assert_eq!(receipt.receipt.description.as_deref(), Some("età"));
    assert!(read(None).is_err());
    let declared = full(VERIFY);
    assert!(read_with_charset(declared.as_bytes(), Some("utf-16"), &Limits::default()).is_ok());
}

#[test]
fn us_ascii_declared() {
    assert_same(VERIFY, &full(VERIFY).replace("UTF-8", "US-ASCII"));
    assert_same(VERIFY, &full(VERIFY).replace("encoding=\"UTF-8\"", "encoding = 'utf8' standalone='yes'"));
    assert_same(VERIFY, &full(VERIFY).replace(" encoding=\"UTF-8\"", ""));
}

#[test]
fn leading_zeros_in_amounts() {
    assert_same(GET_PAYMENT, &with(&full(GET_PAYMENT), "amount", "00120.00"));
    assert_same(SEND_RT, &with(&full(SEND_RT), "paymentAmount", "0120.00"));
}

#[test]
fn dates_with_a_zone() {
    assert_same(GET_PAYMENT, &with(&full(GET_PAYMENT), "dueDate", "2026-06-16+02:00"));
    assert_same(SEND_RT, &with(&full(SEND_RT), "paymentDateTime", "2026-06-16T08:15:30Z"));
}

#[test]
fn both_spellings_of_stand_in() {
    for element in [SEND_RT, SEND_RT_V2] {
        assert_same(element, &full(element).replace("standIn", "standin"));
    }
}

#[test]
fn both_names_of_the_demand_payload() {
    assert_same(DEMAND, &full(DEMAND).replace("datiSpecificiServizioRequest", "datiSpecificiServizio"));
}

#[test]
fn amount_of_get_payment_is_optional() {
    let Ok(Request::GetPayment(request)) = read_text(&without(&full(GET_PAYMENT), "amount")) else { panic!("refused") };
    assert_eq!(request.amount, None);
}

/// The node's probe, and aux digits that nobody issues, are requests like any other.
#[rstest]
fn any_notice_number(#[values("000000000000000000", "900000000000000000", "312000000000471178")] number: &str) {
    let Ok(Request::Verify(request)) = read_text(&with(&full(VERIFY), "noticeNumber", number)) else {
        panic!("refused")
    };
    assert_eq!(request.qr_code.notice_number, number);
}
