//! Every golden message of paForNode.

use fiorino_rig::samples;
use fiorino_wire::{Operation, ReadError, Request, Version};
use rstest::rstest;

use crate::{answers, messages::read_text, xsd};

fn sample(name: &str) -> Option<String> {
    let path = samples()?.join("paForNode").join(name);
    Some(fs_err::read_to_string(path).unwrap())
}

/// Names and texts of a message's elements in their order: what it says, whatever it looks like.
fn said(message: &str) -> Vec<(String, String)> {
    let document = libxml::parser::Parser::default().parse_string(message).unwrap();
    let mut said = Vec::new();
    let mut open: Vec<_> = xsd::body(&document).into_iter().collect();
    while let Some(node) = open.pop() {
        let children = node.get_child_elements();
        let text = if children.is_empty() { node.get_content() } else { String::new() };
        said.push((node.get_name(), text));
        open.extend(children.into_iter().rev());
    }
    said
}

#[rstest]
#[case("paVerifyPaymentNotice.req.xml", Operation::Verify)]
#[case("paGetPayment.req.xml", Operation::GetPayment(Version::V1))]
#[case("paGetPaymentV2.req.xml", Operation::GetPayment(Version::V2))]
#[case("paSendRT.req.xml", Operation::SendReceipt(Version::V1))]
#[case("paSendRTV2.req.xml", Operation::SendReceipt(Version::V2))]
#[case("paDemandPaymentNotice.req.xml", Operation::Demand)]
fn every_golden_request_is_read(#[case] name: &str, #[case] operation: Operation) {
    let Some(message) = sample(name) else { return };
    let request = read_text(&message).unwrap();
    assert_eq!(request.operation(), operation);
    let header = request.header();
    let told = [header.id_pa.as_str(), header.id_broker_pa.as_str(), header.id_station.as_str()];
    assert_eq!(told, ["77777777777", "88888888888", "88888888888_01"]);
    if let Request::SendReceipt(receipt) = request {
        assert_eq!(receipt.findings, []);
        assert_eq!(receipt.receipt.payment_amount.unwrap().get(), 12_000);
        assert_eq!(receipt.receipt.transfers.len(), 2);
    }
}

#[test]
fn golden_requests_read_in_full() {
    for name in ["paVerifyPaymentNotice.req.xml", "paGetPaymentV2.req.xml", "paSendRTV2.req.xml"] {
        let Some(message) = sample(name) else { return };
        insta::assert_debug_snapshot!(name, read_text(&message).unwrap());
    }
}

/// A golden answer is what the writer says for the same notice.
#[rstest]
#[case("paVerifyPaymentNotice.res.ok.xml", answers::golden_verify())]
#[case("paGetPayment.res.ok.xml", answers::golden_payment(Version::V1))]
#[case("paGetPaymentV2.res.ok.xml", answers::golden_payment(Version::V2))]
#[case("paGetPaymentV2.res.bollo.xml", answers::golden_stamp())]
#[case("paSendRT.res.ok.xml", fiorino_wire::write_receipt_accepted(Version::V1))]
#[case("paSendRTV2.res.ok.xml", fiorino_wire::write_receipt_accepted(Version::V2))]
fn every_golden_answer_is_written(#[case] name: &str, #[case] written: String) {
    let Some(golden) = sample(name) else { return };
    assert_eq!(said(&written), golden_said(&golden));
}

/// The V1 sample has taxonomy codes without the prefix that is mandatory since (pagopa.md 2.9).
fn golden_said(golden: &str) -> Vec<(String, String)> {
    let mut said = said(golden);
    for (_, text) in said.iter_mut().filter(|(name, text)| name == "transferCategory" && !text.contains('/')) {
        *text = format!("9/{text}/");
    }
    said
}

/// Faults say the same elements and code; their texts are the official ones, which the samples spell otherwise.
#[rstest]
#[case("paVerifyPaymentNotice.res.ko.xml", Operation::Verify, fiorino_wire::FaultCode::PagamentoSconosciuto)]
#[case("paSendRT.res.ko.xml", Operation::SendReceipt(Version::V1), fiorino_wire::FaultCode::ReceiptDuplicata)]
fn every_golden_fault_is_written(
    #[case] name: &str,
    #[case] operation: Operation,
    #[case] code: fiorino_wire::FaultCode,
) {
    let Some(golden) = sample(name) else { return };
    let fault = fiorino_wire::Fault::new(code, "77777777777");
    let written = fiorino_wire::write_fault(operation, &fault).unwrap();
    let texts = |name: &str| matches!(name, "faultString" | "description");
    let shape = |message: &str| -> Vec<_> {
        said(message)
            .into_iter()
            .map(|(name, text)| if texts(&name) { (name, String::new()) } else { (name, text) })
            .collect()
    };
    assert_eq!(shape(&written), shape(&golden));
}

/// No service of the national catalogue is offered: the one golden message that is neither read nor written.
#[test]
fn an_answer_is_no_request() {
    let Some(message) = sample("paDemandPaymentNotice.res.ok.xml") else { return };
    let refused = read_text(&message).unwrap_err();
    assert_eq!(refused, ReadError::UnknownOperation { name: "paDemandPaymentNoticeResponse".into() });
}

#[test]
fn every_golden_message_has_a_test() {
    let Some(dir) = samples() else { return };
    let source = include_str!("samples.rs");
    for entry in fs_err::read_dir(dir.join("paForNode")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(source.contains(&format!("\"{name}\"")), "{name} is in no test");
    }
}
