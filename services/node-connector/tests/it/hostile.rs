//! Bytes that no well-meaning caller sends, by raw sockets: each is answered by one rule or cut, and nobody else notices.

mod flood;
mod framing;
mod raw;
mod slow;

use rstest::rstest;

use crate::{
    hostile::raw::{Answer, exchange, post},
    rig::{
        Rig, SOON,
        messages::{self, NOTICE, Receipt},
    },
    storage,
};

/// A verify in UTF-16, little endian, with byte order mark.
fn utf_16(text: &str) -> Vec<u8> {
    let units = std::iter::once(0xfeff).chain(text.encode_utf16());
    units.flat_map(u16::to_le_bytes).collect()
}

fn latin_1(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(u32::from(character)).unwrap()).collect()
}

/// The `DOCTYPE` stands where it is allowed to.
fn with_doctype(message: &str, doctype: &str) -> Vec<u8> {
    message.replace("?>", &format!("?>{doctype}")).into_bytes()
}

/// 200: what was asked was seen, so it is KO in its element. 500: it was not, which is a SOAP fault, and it may be a receipt.
#[rstest]
#[case::doctype(|verify: &str| with_doctype(verify, "<!DOCTYPE a>"), 500, "a document type declaration is refused")]
#[case::external_entity(
    |verify: &str| with_doctype(&verify.replace(NOTICE, "&x;"), "<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>"),
    500,
    "a document type declaration is refused"
)]
#[case::entity_bomb(
    |verify: &str| with_doctype(&verify.replace(NOTICE, "&c;"), "<!DOCTYPE a [<!ENTITY b \"bbbb\"><!ENTITY c \"&b;&b;&b;&b;\">]>"),
    500,
    "a document type declaration is refused"
)]
#[case::deep(|verify: &str| verify.replace("<idPA>", &"<a>".repeat(50_000)).into_bytes(), 200, "nested too deep")]
#[case::cut(|verify: &str| verify.as_bytes()[..verify.len() / 2].to_vec(), 200, "ends before its last element does")]
#[case::utf_16_undeclared(|verify: &str| utf_16(verify), 500, "encoded in utf-8")]
#[case::latin_1_declared_utf_8(
    |verify: &str| latin_1(&verify.replace("<qrCode>", "<!-- è --><qrCode>")),
    500,
    "encoded in utf-8"
)]
#[case::declared_utf_16(|verify: &str| verify.replace("UTF-8", "UTF-16").into_bytes(), 500, "encoded in utf-8")]
#[case::unknown_operation(
    |verify: &str| verify.replace("paVerifyPaymentNoticeReq", "paDeleteEverythingReq").into_bytes(),
    500,
    "unknown operation paDeleteEverythingReq"
)]
#[case::soap_1_2(
    |verify: &str| verify.replace("http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope").into_bytes(),
    500,
    "a soap 1.2 envelope"
)]
#[case::nul(|verify: &str| verify.replace(NOTICE, "\0").into_bytes(), 500, "a character that xml 1.0 excludes")]
#[case::nothing(|_: &str| Vec::new(), 500, "ends before its last element does")]
#[tokio::test]
async fn a_message_that_cannot_be_read_is_a_fault_or_ko(
    #[case] spoil: fn(&str) -> Vec<u8>,
    #[case] expected: u16,
    #[case] rule: &str,
) {
    let (rig, node) = Rig::with_node().await;
    let message = spoil(&messages::verify(&rig.names, NOTICE));
    let says = if expected == 200 {
        "<faultCode>PAA_SINTASSI_XSD</faultCode>"
    } else {
        "<faultcode>soapenv:Client</faultcode>"
    };
    for _ in 0..2 {
        let answers = exchange(&node, post(&rig.names.station, &message)).await;
        let [Answer { status, body, .. }] = answers.as_slice() else { panic!("{answers:?}") };
        assert_eq!(*status, expected, "{body}");
        assert!(body.contains(says) && body.contains(rule), "{says} or {rule:?} is missing in {body}");
        assert!(!body.contains("root:"), "{body}");
    }
    // What may be a receipt is kept once, however often it comes.
    let kept = (expected == 500).then_some((message, 2));
    assert_eq!(storage::unreadable(&rig.db.pool).await, Vec::from_iter(kept));
    node.call(&rig.names.station, messages::verify(&rig.names, NOTICE)).await.assert_ok();
}

#[rstest]
#[case::mark(|verify: &str| [b"\xef\xbb\xbf", verify.as_bytes()].concat(), "text/xml")]
#[case::mark_against_declaration(
    |verify: &str| [b"\xef\xbb\xbf", verify.replace("UTF-8", "ISO-8859-1").as_bytes()].concat(),
    "text/xml; charset=iso-8859-1"
)]
#[case::declaration_against_transport(|verify: &str| verify.as_bytes().to_vec(), "text/xml; charset=us-ascii")]
#[tokio::test]
async fn an_encoding_is_told_by_mark_then_declaration_then_transport(
    #[case] encode: fn(&str) -> Vec<u8>,
    #[case] content_type: &str,
) {
    let (rig, node) = Rig::with_node().await;
    let verify = messages::verify(&rig.names, NOTICE).replace("<qrCode>", "<!-- è --><qrCode>");
    let body = encode(&verify);
    let request = raw::post_with(&rig.names.station, &[("Content-Type", content_type)], &body);
    let answers = exchange(&node, request).await;
    assert!(answers.len() == 1 && answers[0].body.contains("<outcome>OK</outcome>"), "{answers:?}");
}

#[tokio::test]
async fn a_path_that_differs_from_the_body_is_told() {
    let (rig, node) = Rig::with_node().await;
    for path in ["88888888888_99", "..%2f..", "%00", &"9".repeat(2_000)] {
        let verify = messages::verify(&rig.names, NOTICE);
        let answers = exchange(&node, post(path, verify.as_bytes())).await;
        assert!(answers.len() == 1 && answers[0].body.contains("PAA_STAZIONE_INT_ERRATA"), "{path}: {answers:?}");
    }
}

/// The same receipt in every dress: one row, applied once.
#[tokio::test]
async fn a_receipt_is_stored_once_however_it_is_sent() {
    let (rig, node) = Rig::with_node().await;
    let receipt = Receipt::new(&rig.names, "r1").write();
    let half = receipt.len() / 2;
    let chunks: Vec<u8> = receipt
        .as_bytes()
        .chunks(97)
        .flat_map(|chunk| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat())
        .chain(*b"0\r\n\r\n")
        .collect();
    let chunked = [raw::head(&rig.names.station, &[("Transfer-Encoding", "chunked")]).as_bytes(), &chunks].concat();
    let dressed = [
        receipt.clone(),
        receipt.replace("><", ">\r\n  <"),
        receipt.replace("<receipt>", "<!-- again --><receipt>"),
        receipt.replace("paf:", "x:").replace("xmlns:paf", "xmlns:x"),
        receipt.replace("TARI 2026 rata 1", "<![CDATA[TARI 2026 rata 1]]>"),
    ];
    // Cut in the middle of the body: nothing of it may be kept.
    let mut cut = post(&rig.names.station, receipt.as_bytes());
    cut.truncate(cut.len() - half);
    let answers = exchange(&node, cut).await;
    assert!(answers.iter().all(|answer| answer.status == 400), "{answers:?}");
    assert_eq!(storage::messages(&rig.db.pool).await.len(), 0);

    let answers = exchange(&node, chunked).await;
    assert!(answers.len() == 1 && answers[0].body.contains("<outcome>OK</outcome>"), "{answers:?}");
    for message in dressed {
        let answers = exchange(&node, post(&rig.names.station, message.as_bytes())).await;
        assert!(answers.len() == 1 && answers[0].body.contains("PAA_RECEIPT_DUPLICATA"), "{message}: {answers:?}");
    }
    assert_eq!(storage::rows(&rig.db.pool, "r1").await.len(), 1);
    fiorino_test_support::eventually(SOON, async || {
        anyhow::ensure!(rig.tenant.script().applied_ids() == ["r1"], "not applied");
        Ok(())
    })
    .await
    .unwrap();
}
