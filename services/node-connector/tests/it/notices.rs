//! Verify and get when all is well: what is asked of tenant, and what is answered.

use fiorino_proto::notices::v1::{MapEntry, Transfer, TransferType};
use fiorino_wire::{FaultCode, Version};
use futures::future::join_all;
use rstest::rstest;

use crate::rig::{
    Names, Rig,
    messages::{self, NOTICE},
    tenant,
};

#[tokio::test]
async fn a_payable_notice_is_verified() {
    let (rig, node) = Rig::with_node().await;
    let reply = node.call(&rig.names.station, messages::verify(&rig.names, NOTICE)).await;
    reply.assert_ok();
    let told = ["amount", "options", "dueDate", "allCCP", "fiscalCodePA", "companyName", "officeName"]
        .map(|tag| reply.tag(tag).unwrap());
    let institution = rig.names.institution.as_str();
    assert_eq!(told, ["120.00", "EQ", "2026-06-16", "false", institution, "Comune di Esempio", "Ufficio Tributi"]);
    let asked = &rig.tenant.script().verified.concat()[0];
    assert_eq!((asked.institution.as_str(), asked.station_id.as_str()), (institution, rig.names.station.as_str()));
}

#[tokio::test]
async fn a_notice_without_due_date_is_due_at_the_end_of_the_fifth_year() {
    let (rig, node) = Rig::with_node().await;
    rig.tenant.script().payable.get_mut(NOTICE).unwrap().notice.as_mut().unwrap().due_date.clear();
    let reply = node.call(&rig.names.station, messages::verify(&rig.names, NOTICE)).await;
    assert_eq!(reply.tag("dueDate"), Some("2031-12-31"), "issued on 2026-01-02: {}", reply.body);
}

#[rstest]
#[case::plain(Version::V1, "", TransferType::Unspecified, None)]
#[case::postal(
    Version::V1,
    "<amount>120.00</amount><transferType>POSTAL</transferType>",
    TransferType::Postal,
    Some(12_000)
)]
#[case::pagopa(
    Version::V2,
    "<amount>1.10</amount><transferType>PAGOPA</transferType>",
    TransferType::Pagopa,
    Some(110)
)]
#[case::nothing(Version::V1, "<amount>0.00</amount>", TransferType::Unspecified, Some(0))]
#[case::nothing_by_v2(Version::V2, "<amount>0.00</amount>", TransferType::Unspecified, Some(0))]
#[tokio::test]
async fn a_payable_notice_is_activated(
    #[case] version: Version,
    #[case] rest: &str,
    #[case] transfer_type: TransferType,
    #[case] requested_cents: Option<i64>,
) {
    let (rig, node) = Rig::with_node().await;
    let reply = node.call(&rig.names.station, messages::get_with(version, &rig.names, NOTICE, rest)).await;
    reply.assert_ok();
    let told = ["creditorReferenceId", "paymentAmount", "IBAN", "transferCategory"].map(|tag| reply.tag(tag).unwrap());
    assert_eq!(told, ["12000000000471179", "120.00", "IT60X0542811101000000123456", "9/0101101IM/"]);
    let asked = &rig.tenant.script().activated[0];
    assert_eq!((asked.transfer_type(), asked.requested_cents), (transfer_type, requested_cents));
}

/// What TARI and TEFA need (pagopa.md 2.9): parts to the cent with their keys, and the payment's own metadata, in both versions.
#[rstest]
#[tokio::test]
async fn metadata_and_parts_leave_as_tenant_answers_them(#[values(Version::V1, Version::V2)] version: Version) {
    let (rig, node) = Rig::with_node().await;
    let entry = |key: &str, value: &str| MapEntry { key: key.into(), value: value.into() };
    let mut activated = tenant::activated(&rig.names.institution);
    activated.metadata = vec![entry("pratica", "7/2026")];
    activated.transfers[0].amount_cents = 10_000;
    activated.transfers[0].metadata = vec![entry("TARI-TEFA-1", "A000|2026|3944")];
    let tefa = Transfer {
        id: 2,
        amount_cents: 2_000,
        remittance: "TEFA 2026".into(),
        taxonomy_code: "9/0201102IM/".into(),
        metadata: vec![entry("TARI-TEFA-2", "A000|2026|TEFA"), entry("IBANAPPOGGIO", "IT26A0760103200001012345678")],
        ..activated.transfers[0].clone()
    };
    activated.transfers.push(tefa);
    rig.tenant.script().payable.insert(NOTICE.to_owned(), activated);
    let reply = node.call(&rig.names.station, messages::get(version, &rig.names, NOTICE)).await;
    reply.assert_ok();
    for told in [
        "<transferAmount>100.00</transferAmount>",
        "<mapEntry><key>TARI-TEFA-1</key><value>A000|2026|3944</value></mapEntry>",
        "<transferAmount>20.00</transferAmount>",
        "<mapEntry><key>TARI-TEFA-2</key><value>A000|2026|TEFA</value></mapEntry>",
        "<mapEntry><key>IBANAPPOGGIO</key><value>IT26A0760103200001012345678</value></mapEntry>",
        "</transferList><metadata><mapEntry><key>pratica</key><value>7/2026</value></mapEntry></metadata>",
    ] {
        assert!(reply.body.contains(told), "no {told} in {}", reply.body);
    }
}

#[tokio::test]
async fn the_cart_of_a_payment_is_recorded() {
    let (rig, node) = Rig::with_node().await;
    let rest = "<amount>120.00</amount><paymentNote>cart-0001</paymentNote>";
    node.call(&rig.names.station, messages::get_with(Version::V2, &rig.names, NOTICE, rest)).await.assert_ok();
    assert_eq!(rig.tenant.script().activated[0].payment_note, "cart-0001");
}

#[tokio::test]
async fn answers_of_a_batch_go_to_those_who_asked() {
    let (rig, node) = Rig::with_node().await;
    let notices: Vec<String> = (0..200).map(|number| format!("3120000000{number:08}")).collect();
    for (number, notice) in (1..).zip(&notices) {
        let mut activated = tenant::activated(&rig.names.institution);
        activated.notice.as_mut().unwrap().amount_cents = number;
        rig.tenant.script().payable.insert(notice.clone(), activated);
    }
    let replies =
        join_all(notices.iter().map(|notice| node.call(&rig.names.station, messages::verify(&rig.names, notice))));
    for (number, reply) in (1..).zip(replies.await) {
        assert_eq!(
            reply.tag("amount"),
            Some(format!("{}.{:02}", number / 100, number % 100).as_str()),
            "{}",
            reply.body
        );
    }
    let calls = rig.tenant.script().verified.len();
    assert!(calls < notices.len(), "{} notices took {calls} calls: they were not batched", notices.len());
}

#[tokio::test]
async fn one_poisoned_notice_spoils_no_other() {
    let (rig, node) = Rig::with_node().await;
    let poisoned = "312000000000000099";
    rig.tenant.script().poison.insert(poisoned.to_owned());
    let calls = (0..64).map(|number| {
        let notice = if number == 7 { poisoned } else { NOTICE };
        node.call(&rig.names.station, messages::verify(&rig.names, notice))
    });
    for (number, reply) in join_all(calls).await.into_iter().enumerate() {
        if number == 7 {
            reply.assert_ko(FaultCode::SystemError, &rig.names.institution);
        } else {
            reply.assert_ok();
        }
    }
}

#[tokio::test]
async fn an_institution_that_the_stream_has_not_brought_yet_is_served() {
    let (rig, node) = Rig::with_node().await;
    let names = Names { institution: fiorino_test_support::fiscal_code(), ..rig.names.clone() };
    rig.tenant.script().own(&names);
    node.call(&names.station, messages::verify(&names, NOTICE)).await.assert_ok();
    node.call(&names.station, messages::verify(&names, NOTICE)).await.assert_ok();
    assert_eq!(rig.tenant.script().asked, 1, "tenant is asked once a second at most");
}
