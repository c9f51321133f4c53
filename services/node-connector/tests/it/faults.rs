//! The fault matrix of pagopa.md 2.10 for verify and get, cell by cell: code, official text, who raises it, valid by the XSD.

use fiorino_proto::notices::v1::{Refusal, Stamp};
use fiorino_wire::{FaultCode, Version};
use rstest::rstest;
use tonic::Code;

use crate::rig::{
    Names, Node, Rig,
    messages::{self, NOTICE, PROBE, envelope, header, qr_code},
    tenant::{self, Answer},
};

/// What a cell is about: the operations differ, the rules do not.
#[derive(Debug, Clone, Copy)]
enum Asked {
    Verify,
    Get(Version),
}

// === impl Asked ===

impl Asked {
    fn message(self, names: &Names, notice: &str) -> String {
        match self {
            Self::Verify => messages::verify(names, notice),
            Self::Get(version) => messages::get(version, names, notice),
        }
    }

    fn with(self, children: &str) -> String {
        let element = match self {
            Self::Verify => "paVerifyPaymentNoticeReq",
            Self::Get(Version::V1) => "paGetPaymentReq",
            Self::Get(Version::V2) => "paGetPaymentV2Request",
        };
        envelope(element, children)
    }
}

/// The message is answered with the fault, raised by the institution addressed.
async fn check_message(node: &Node, names: &Names, path: &str, message: String, code: FaultCode) {
    node.call(path, message).await.assert_ko(code, &names.institution);
}

/// Tenant refuses, the node gets the fault.
async fn check_refusal(asked: Asked, refusal: Refusal, code: FaultCode) {
    let (rig, node) = Rig::with_node().await;
    rig.tenant.script().refused.insert(NOTICE.to_owned(), refusal);
    check_message(&node, &rig.names, &rig.names.station, asked.message(&rig.names, NOTICE), code).await;
}

async fn check_extraxsd(asked: Asked) {
    let (rig, node) = Rig::with_node().await;
    // Two requests in one body: each is valid by the XSD, together they are no message of the binding.
    let message = asked.message(&rig.names, NOTICE);
    let (before, rest) = message.split_once("<paf:").unwrap();
    let (element, after) = rest.split_once("</soapenv:Body>").unwrap();
    let twice = format!("{before}<paf:{element}<paf:{element}</soapenv:Body>{after}");
    check_message(&node, &rig.names, &rig.names.station, twice, FaultCode::SintassiExtraXsd).await;
}

async fn check_xsd(asked: Asked) {
    let (rig, node) = Rig::with_node().await;
    let names = &rig.names;
    let short = asked.with(&(header(names) + &qr_code(&names.institution, "31200000000047117")));
    check_message(&node, names, &names.station, short, FaultCode::SintassiXsd).await;
    let without = asked.with(&header(names));
    check_message(&node, names, &names.station, without, FaultCode::SintassiXsd).await;
    assert!(rig.tenant.script().verified.is_empty() && rig.tenant.script().activated.is_empty());
}

async fn check_institution(asked: Asked) {
    let (rig, node) = Rig::with_node().await;
    let code = FaultCode::IdDominioErrato;
    let station = &rig.names.station;
    let unknown = Names { institution: "99999999990".into(), ..rig.names.clone() };
    check_message(&node, &unknown, station, asked.message(&unknown, NOTICE), code).await;
    let other = asked.with(&(header(&rig.names) + &qr_code("99999999990", NOTICE)));
    check_message(&node, &rig.names, station, other, code).await;
    rig.tenant.script().refused.insert(NOTICE.to_owned(), Refusal::Institution);
    check_message(&node, &rig.names, station, asked.message(&rig.names, NOTICE), code).await;
}

async fn check_broker(asked: Asked) {
    let (rig, node) = Rig::with_node().await;
    let names = Names { broker: "99999999990".into(), ..rig.names.clone() };
    let code = FaultCode::IdIntermediarioErrato;
    check_message(&node, &names, &names.station, asked.message(&names, NOTICE), code).await;
    // The broker comes first: whatever else is wrong.
    let worse = Names { station: "99999999990_01".into(), institution: "99999999990".into(), ..names };
    check_message(&node, &worse, "somewhere", asked.message(&worse, NOTICE), code).await;
}

async fn check_station(asked: Asked) {
    let (rig, node) = Rig::with_node().await;
    let code = FaultCode::StazioneIntErrata;
    let unknown = Names { station: format!("{}_99", rig.names.broker), ..rig.names.clone() };
    check_message(&node, &unknown, &unknown.station, asked.message(&unknown, NOTICE), code).await;
    // Ours, but of another institution.
    let other = Names { station: format!("{}_02", rig.names.broker), ..rig.names.clone() };
    rig.tenant.script().ours.insert(other.station.clone());
    check_message(&node, &other, &other.station, asked.message(&other, NOTICE), code).await;
    // The URL names another station than the body.
    check_message(&node, &rig.names, &other.station, asked.message(&rig.names, NOTICE), code).await;
    rig.tenant.script().refused.insert(NOTICE.to_owned(), Refusal::Station);
    check_message(&node, &rig.names, &rig.names.station, asked.message(&rig.names, NOTICE), code).await;
}

async fn check_system_error(asked: Asked) {
    let (rig, node) = Rig::with_node().await;
    let (names, code) = (&rig.names, FaultCode::SystemError);
    let ask = async || check_message(&node, names, &names.station, asked.message(names, NOTICE), code).await;
    // No account number can be used.
    rig.tenant.script().refused.insert(NOTICE.to_owned(), Refusal::NoAccount);
    ask().await;
    rig.tenant.script().refused.clear();
    // What tenant tells cannot be written.
    rig.tenant.script().payable.get_mut(NOTICE).unwrap().notice.as_mut().unwrap().company_name = "x".repeat(141);
    ask().await;
    rig.tenant.script().payable.get_mut(NOTICE).unwrap().notice.as_mut().unwrap().due_date = "tomorrow".into();
    ask().await;
    // A reason that this version does not know.
    rig.tenant.script().refused.insert(NOTICE.to_owned(), Refusal::Unspecified);
    ask().await;
    rig.tenant.script().notices = Answer::Fail(Code::Unavailable);
    ask().await;
}

/// No `Refusal` of tenant means that an exclusive process of the institution is under way, because there is none; the answer could
/// be written.
fn check_in_corso(asked: Asked) {
    let names = ["UNKNOWN", "PAID", "CANCELLED", "EXPIRED", "INSTITUTION", "STATION", "NO_ACCOUNT"];
    let told: Vec<&str> = (1..).map_while(|code| Refusal::try_from(code).ok()).map(|told| told.as_str_name()).collect();
    assert_eq!(told, names.map(|name| format!("REFUSAL_{name}")), "a new refusal: which fault is it?");
    could_be_written(asked, FaultCode::PagamentoInCorso);
}

fn could_be_written(asked: Asked, code: FaultCode) {
    let operation = match asked {
        Asked::Verify => fiorino_wire::Operation::Verify,
        Asked::Get(version) => fiorino_wire::Operation::GetPayment(version),
    };
    let fault = fiorino_wire::Fault::new(code, "77777777777");
    let written = fiorino_wire::write_fault(operation, &fault).unwrap();
    assert!(written.contains(&format!("<faultCode>{}</faultCode>", code.as_str())));
}

#[tokio::test]
async fn paa_sintassi_extraxsd_verify() {
    check_extraxsd(Asked::Verify).await;
}

#[rstest]
#[tokio::test]
async fn paa_sintassi_extraxsd_get(#[values(Version::V1, Version::V2)] version: Version) {
    check_extraxsd(Asked::Get(version)).await;
}

#[tokio::test]
async fn paa_sintassi_xsd_verify() {
    check_xsd(Asked::Verify).await;
}

#[rstest]
#[tokio::test]
async fn paa_sintassi_xsd_get(#[values(Version::V1, Version::V2)] version: Version) {
    check_xsd(Asked::Get(version)).await;
}

#[tokio::test]
async fn paa_id_dominio_errato_verify() {
    check_institution(Asked::Verify).await;
}

#[rstest]
#[tokio::test]
async fn paa_id_dominio_errato_get(#[values(Version::V1, Version::V2)] version: Version) {
    check_institution(Asked::Get(version)).await;
}

#[tokio::test]
async fn paa_id_intermediario_errato_verify() {
    check_broker(Asked::Verify).await;
}

#[rstest]
#[tokio::test]
async fn paa_id_intermediario_errato_get(#[values(Version::V1, Version::V2)] version: Version) {
    check_broker(Asked::Get(version)).await;
}

#[tokio::test]
async fn paa_stazione_int_errata_verify() {
    check_station(Asked::Verify).await;
}

#[rstest]
#[tokio::test]
async fn paa_stazione_int_errata_get(#[values(Version::V1, Version::V2)] version: Version) {
    check_station(Asked::Get(version)).await;
}

#[tokio::test]
async fn paa_pagamento_sconosciuto_verify() {
    check_refusal(Asked::Verify, Refusal::Unknown, FaultCode::PagamentoSconosciuto).await;
}

#[rstest]
#[tokio::test]
async fn paa_pagamento_sconosciuto_get(#[values(Version::V1, Version::V2)] version: Version) {
    check_refusal(Asked::Get(version), Refusal::Unknown, FaultCode::PagamentoSconosciuto).await;
}

#[tokio::test]
async fn paa_pagamento_duplicato_verify() {
    check_refusal(Asked::Verify, Refusal::Paid, FaultCode::PagamentoDuplicato).await;
}

#[rstest]
#[tokio::test]
async fn paa_pagamento_duplicato_get(#[values(Version::V1, Version::V2)] version: Version) {
    check_refusal(Asked::Get(version), Refusal::Paid, FaultCode::PagamentoDuplicato).await;
}

#[test]
fn paa_pagamento_in_corso_verify() {
    check_in_corso(Asked::Verify);
}

#[rstest]
fn paa_pagamento_in_corso_get(#[values(Version::V1, Version::V2)] version: Version) {
    check_in_corso(Asked::Get(version));
}

#[tokio::test]
async fn paa_pagamento_annullato_verify() {
    check_refusal(Asked::Verify, Refusal::Cancelled, FaultCode::PagamentoAnnullato).await;
}

#[rstest]
#[tokio::test]
async fn paa_pagamento_annullato_get(#[values(Version::V1, Version::V2)] version: Version) {
    check_refusal(Asked::Get(version), Refusal::Cancelled, FaultCode::PagamentoAnnullato).await;
}

#[tokio::test]
async fn paa_pagamento_scaduto_verify() {
    check_refusal(Asked::Verify, Refusal::Expired, FaultCode::PagamentoScaduto).await;
}

#[rstest]
#[tokio::test]
async fn paa_pagamento_scaduto_get(#[values(Version::V1, Version::V2)] version: Version) {
    check_refusal(Asked::Get(version), Refusal::Expired, FaultCode::PagamentoScaduto).await;
}

/// Verify finds no fault with what a notice is: the answer could be written.
#[test]
fn paa_semantica_verify() {
    could_be_written(Asked::Verify, FaultCode::Semantica);
}

/// A stamp has no place in the first version's answer; every kind of transfer has one in both.
#[rstest]
#[tokio::test]
async fn paa_semantica_get(#[values(Version::V1, Version::V2)] version: Version) {
    let (rig, node) = Rig::with_node().await;
    let stamp = Stamp { document_digest: vec![7; 32].into(), province: "MI".into() };
    let mut activated = tenant::activated(&rig.names.institution);
    (activated.transfers[0].stamp, activated.transfers[0].iban) = (Some(stamp), String::new());
    rig.tenant.script().payable.insert(NOTICE.to_owned(), activated);
    for kind in ["", "<transferType>POSTAL</transferType>", "<transferType>PAGOPA</transferType>"] {
        let message = messages::get_with(version, &rig.names, NOTICE, kind);
        let reply = node.call(&rig.names.station, message).await;
        match version {
            Version::V1 => reply.assert_ko(FaultCode::Semantica, &rig.names.institution),
            Version::V2 => {
                reply.assert_ok();
                assert_eq!(reply.tag("provinciaResidenza"), Some("MI"), "{}", reply.body);
            }
        }
    }
}

#[tokio::test]
async fn paa_system_error_verify() {
    check_system_error(Asked::Verify).await;
}

#[rstest]
#[tokio::test]
async fn paa_system_error_get(#[values(Version::V1, Version::V2)] version: Version) {
    check_system_error(Asked::Get(version)).await;
}

#[rstest]
#[case::probe(PROBE)]
#[case::no_aux_digit_of_pagopa("912000000000471179")]
#[tokio::test]
async fn probe_notice_is_unknown(#[case] notice: &str) {
    let (rig, node) = Rig::with_node().await;
    let message = messages::verify(&rig.names, notice);
    check_message(&node, &rig.names, &rig.names.station, message, FaultCode::PagamentoSconosciuto).await;
    let asked = rig.tenant.script().verified.concat();
    assert_eq!(asked.len(), 1, "the probe takes the real path");
    assert_eq!(asked[0].notice_number, notice);
}

#[tokio::test]
async fn demand_is_answered_paa_semantica() {
    let (rig, node) = Rig::with_node().await;
    let message = messages::demand(&rig.names);
    check_message(&node, &rig.names, &rig.names.station, message, FaultCode::Semantica).await;
    let unknown = Names { broker: "99999999990".into(), ..rig.names.clone() };
    let message = messages::demand(&unknown);
    check_message(&node, &unknown, &unknown.station, message, FaultCode::IdIntermediarioErrato).await;
}

#[rstest]
#[case::verify(Asked::Verify)]
#[case::get(Asked::Get(Version::V2))]
#[tokio::test]
async fn a_broken_message_is_answered_in_its_operation(#[case] asked: Asked) {
    let (rig, node) = Rig::with_node().await;
    let message = asked.message(&rig.names, NOTICE);
    let (broken, _) = message.split_once("<noticeNumber>").unwrap();
    check_message(&node, &rig.names, &rig.names.station, broken.to_owned(), FaultCode::SintassiXsd).await;
}
