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

#[rstest]
#[case::doctype(|verify: &str| with_doctype(verify, "<!DOCTYPE a>"), "document type")]
#[case::external_entity(
    |verify: &str| with_doctype(&verify.replace(NOTICE, "&x;"), "<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>"),
    "document type"
)]
#[case::entity_bomb(
    |verify: &str| with_doctype(&verify.replace(NOTICE, "&c;"), "<!DOCTYPE a [<!ENTITY b \"bbbb\"><!ENTITY c \"&b;&b;&b;&b;\">]>"),
    "document type"
)]
#[case::deep(|verify: &str| verify.replace("<idPA>", &"<a>".repeat(50_000)).into_bytes(), "")]
#[case::cut(|verify: &str| verify.as_bytes()[..verify.len() / 2].to_vec(), "")]
#[case::utf_16_undeclared(|verify: &str| utf_16(verify), "encoded in utf-8")]
#[case::latin_1_declared_utf_8(|verify: &str| latin_1(&verify.replace("<qrCode>", "<!-- è --><qrCode>")), "encoded in utf-8")]
#[case::declared_utf_16(|verify: &str| verify.replace("UTF-8", "UTF-16").into_bytes(), "encoded in utf-8")]
#[case::unknown_operation(|verify: &str| verify.replace("paVerifyPaymentNoticeReq", "paDeleteEverythingReq").into_bytes(), "unknown operation")]
#[case::soap_1_2(
    |verify: &str| verify.replace("http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope").into_bytes(),
    "soap 1.2"
)]
#[case::nul(|verify: &str| verify.replace(NOTICE, "\0").into_bytes(), "")]
#[case::nothing(|_: &str| Vec::new(), "")]
#[tokio::test]
async fn a_message_that_cannot_be_read_is_a_fault_or_ko(#[case] spoil: fn(&str) -> Vec<u8>, #[case] rule: &str) {
    let (rig, node) = Rig::with_node().await;
    let body = spoil(&messages::verify(&rig.names, NOTICE));
    for _ in 0..2 {
        let answers = exchange(&node, post(&rig.names.station, &body)).await;
        let [Answer { status, body, .. }] = answers.as_slice() else { panic!("{answers:?}") };
        // What was asked was seen: KO in its element. It was not: a SOAP fault.
        let ko = *status == 200 && body.contains("<outcome>KO</outcome>") && body.contains("PAA_SINTASSI");
        let fault = *status == 500 && body.contains("<faultcode>");
        assert!(ko || fault, "{status} {body}");
        assert!(body.contains(rule), "{rule:?} is missing in {body}");
        assert!(!body.contains("root:"), "{body}");
    }
    // Kept once, however often it comes.
    assert!(storage::unreadable(&rig.db.pool).await.len() <= 1);
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
