//! What is odd about a receipt is told with field and rule, once; what is only new is no oddity of the receipt.

use anyhow::ensure;
use fiorino_proto::receipts::v1::Receipt as Told;
use fiorino_test_support::eventually;
use fiorino_wire::{FaultCode, Version};
use rstest::rstest;

use crate::{
    rig::{Node, Reply, Rig, SOON, messages::Receipt},
    storage,
};

async fn send(rig: &Rig, node: &Node, message: String) -> Reply {
    node.call(&rig.names.station, message).await
}

/// What tenant was told, when it was told of so many.
async fn applied(rig: &Rig, count: usize) -> Vec<Told> {
    eventually(SOON, async || {
        let applied = rig.tenant.script().applied.clone();
        ensure!(applied.len() == count, "{} of {count} applied", applied.len());
        Ok(applied)
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn field_and_rule_go_into_the_row_and_to_tenant() {
    let (rig, node) = Rig::with_node().await;
    let odd = Receipt { amount: "120,00".into(), ..Receipt::new(&rig.names, "r1") };
    let odd = odd.write().replace("<idPSP>AGID_01</idPSP>", "").replace("<IBAN>IT60X0542811101000000123456</IBAN>", "");
    send(&rig, &node, odd).await.assert_ok();
    let expected = [
        "receipt.paymentAmount amount",
        "receipt.transferList.transfer[1].transferAmount amount",
        "receipt.transferList.transfer[1].IBAN|MBDAttachment missing",
        "receipt.idPSP missing",
    ];
    let row = storage::rows(&rig.db.pool, "r1").await.remove(0);
    assert_eq!(
        (row.findings, row.violations.unwrap()),
        (vec!["receipt_schema".to_owned()], expected.map(str::to_owned).to_vec())
    );
    let told = applied(&rig, 1).await.remove(0);
    let violations: Vec<_> = told.violations.iter().map(|it| format!("{} {}", it.field, it.rule)).collect();
    assert_eq!(
        (violations, told.amount_cents, told.transfers[0].amount_cents),
        (expected.map(str::to_owned).to_vec(), None, None)
    );
    assert_eq!((told.broker, told.path_station), (rig.names.broker.clone(), String::new()));
}

/// What nobody can read in two ways is read, and told.
#[rstest]
#[case("120", Some(12_000), "amount_form")]
#[case("120.0", Some(12_000), "amount_form")]
#[case("120.000", Some(12_000), "amount_form")]
#[case("+120.00", Some(12_000), "amount_form")]
#[case("0", Some(0), "amount_form")]
#[case("12e1", None, "amount")]
#[case("9999999999.99", None, "amount")]
#[tokio::test]
async fn an_amount_is_what_it_says_or_absent(#[case] amount: &str, #[case] cents: Option<i64>, #[case] rule: &str) {
    let (rig, node) = Rig::with_node().await;
    let odd = Receipt { amount: amount.into(), ..Receipt::new(&rig.names, "r1") };
    send(&rig, &node, odd.write()).await.assert_ok();
    let told = applied(&rig, 1).await.remove(0);
    assert_eq!((told.amount_cents, told.transfers[0].amount_cents), (cents, cents));
    assert!(told.violations.iter().all(|it| it.rule == rule), "{:?}", told.violations);
    assert_eq!(told.violations.len(), 2);
}

#[tokio::test]
async fn zero_is_told_as_zero() {
    let (rig, node) = Rig::with_node().await;
    let zero = Receipt { amount: "0.00".into(), ..Receipt::new(&rig.names, "r1") };
    send(&rig, &node, zero.write()).await.assert_ok();
    let told = applied(&rig, 1).await.remove(0);
    assert_eq!((told.amount_cents, told.transfers[0].amount_cents), (Some(0), Some(0)));
    let violations: Vec<_> = told.violations.iter().map(|it| (it.field.as_str(), it.rule.as_str())).collect();
    assert_eq!(violations, [("receipt.transferList.transfer[1].transferAmount", "amount_not_zero")]);
}

/// The day pagoPA extends its schema every receipt has it: one alarm, and no case.
#[rstest]
#[case::at_the_end("<transferDate>", "<brandNew><deep>1</deep></brandNew><transferDate>")]
#[case::in_a_transfer("<IBAN>", "<brandNew/><IBAN>")]
#[tokio::test]
async fn an_element_that_nobody_knows_is_no_finding(
    #[case] before: &str,
    #[case] with: &str,
    #[values(Version::V1, Version::V2)] version: Version,
) {
    let (rig, node) = Rig::with_node().await;
    let newer = Receipt { version, ..Receipt::new(&rig.names, "r1") }.write().replace(before, with);
    send(&rig, &node, newer.clone()).await.assert_ok();
    let told = applied(&rig, 1).await.remove(0);
    assert_eq!((told.findings, told.violations), (vec![], vec![]));
    assert_eq!(storage::rows(&rig.db.pool, "r1").await[0].violations, None);
    send(&rig, &node, newer).await.assert_ko(FaultCode::ReceiptDuplicata, &rig.names.institution);
}

/// The same payment by `paSendRT` and by `paSendRTV2`, in either order: one receipt.
#[rstest]
#[case::main_station_first(Version::V1, Version::V2)]
#[case::broadcast_station_first(Version::V2, Version::V1)]
#[tokio::test]
async fn one_payment_by_both_versions_is_one_receipt(#[case] first: Version, #[case] second: Version) {
    let (rig, node) = Rig::with_node().await;
    let by = |version| {
        let written = Receipt { version, ..Receipt::new(&rig.names, "r1") }.write();
        let known = "<paymentMethod>creditCard</paymentMethod>";
        match version {
            Version::V1 => written,
            Version::V2 => written.replace(known, &format!("{known}<paymentNote>cart</paymentNote>")),
        }
    };
    send(&rig, &node, by(first)).await.assert_ok();
    for _ in 0..3 {
        send(&rig, &node, by(second)).await.assert_ko(FaultCode::ReceiptDuplicata, &rig.names.institution);
    }
    assert_eq!(storage::rows(&rig.db.pool, "r1").await.len(), 1);
    assert_eq!(storage::messages(&rig.db.pool).await, [by(first), by(second)], "both are kept, once");
    assert_eq!(storage::repeated(&rig.db.pool, "r1").await, 2);
    // What differs in a field that both have is another version, whichever primitive tells it.
    send(&rig, &node, by(second).replace("<fee>1.50</fee>", "<fee>1.60</fee>")).await.assert_ok();
    assert_eq!(storage::rows(&rig.db.pool, "r1").await.len(), 2);
    let told = applied(&rig, 2).await;
    assert_eq!((told[0].findings.len(), told[1].findings.as_slice()), (0, &["receipt_version".to_owned()][..]));
}

/// Rows of the version before have neither violations nor a twin: their repetitions are known as they were.
#[tokio::test]
async fn rows_of_before_are_recognised() {
    let (rig, node) = Rig::with_node().await;
    let receipt = Receipt { version: Version::V1, ..Receipt::new(&rig.names, "r1") };
    send(&rig, &node, receipt.write()).await.assert_ok();
    sqlx::query("update receipt_inbox set violations = null, twin_hash = null, twin_sha256 = null, body_sha256 = null")
        .execute(&rig.db.pool)
        .await
        .unwrap();
    let other = Receipt { version: Version::V2, ..receipt.clone() };
    for message in [receipt.write(), other.write()] {
        send(&rig, &node, message).await.assert_ko(FaultCode::ReceiptDuplicata, &rig.names.institution);
    }
    assert_eq!(storage::rows(&rig.db.pool, "r1").await.len(), 1);
}

/// A version only of this one primitive differs as it always did.
#[tokio::test]
async fn within_one_version_every_field_counts() {
    let (rig, node) = Rig::with_node().await;
    let receipt = Receipt::new(&rig.names, "r1").write();
    let noted = receipt.replace("<fee>", "<paymentNote>cart</paymentNote><fee>");
    send(&rig, &node, receipt).await.assert_ok();
    send(&rig, &node, noted).await.assert_ok();
    assert_eq!(storage::rows(&rig.db.pool, "r1").await.len(), 2);
}
