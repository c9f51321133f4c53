//! Receipts as nobody should send them, through the whole: each pays, is told once, and its case says what is odd.

use anyhow::ensure;
use fiorino_e2e::town::{PATIENCE, Town};
use fiorino_proto::{payments::v1::PaymentRecorded, positions::v1::PositionState};
use fiorino_test_support::eventually;
use serde_json::{Value, json};
use sqlx::PgPool;

/// Activates a notice and pays it by such receipts; what is reported then.
async fn paid(town: &Town, reference: &str, odd: Value) -> (String, PaymentRecorded) {
    let notice = town.create_debt(reference).await;
    let activated = town.simulator("psp/activate", &town.notice(&notice)).await.unwrap();
    let token = activated["paymentToken"].as_str().unwrap().to_owned();
    let outcome = json!({ "paymentToken": token, "outcome": "OK", "odd": odd });
    town.simulator("psp/outcome", &outcome).await.unwrap();
    let payment = town.reported(&notice).await;
    assert_eq!(town.position(&notice).await.state(), PositionState::Paid);
    assert_eq!(payment.receipt_id, token);
    (token, payment)
}

/// (kind, detail) of the cases of a receipt.
async fn cases(town: &Town, receipt_id: &str) -> Vec<(String, Value)> {
    let pool = PgPool::connect(&town.world.addresses().database_urls["tenant"]).await.unwrap();
    sqlx::query_as("select kind, detail from cases where receipt_id = $1 order by kind")
        .bind(receipt_id)
        .fetch_all(&pool)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_pays_and_its_case_says_what_is_odd() {
    let town = Town::payable().await;

    let elsewhere =
        json!([{ "oddity": "set", "at": "transferList.transfer[1].IBAN", "text": "IT66A0306909606100000012345" }]);
    let (receipt, payment) = paid(&town, "elsewhere", elsewhere).await;
    assert_eq!(
        (payment.amount_cents, payment.transfers[0].iban.as_str()),
        (Some(12_000), "IT66A0306909606100000012345")
    );
    let found = cases(&town, &receipt).await;
    assert_eq!(
        (found.len(), found[0].0.as_str(), &found[0].1["differs"]),
        (1, "receipt_transfers_differ", &json!(["account"]))
    );

    let unread = json!([
        { "oddity": "set", "at": "paymentAmount", "text": "120,00" },
        { "oddity": "set", "at": "transferList.transfer[1].transferAmount", "text": "120,00" },
    ]);
    let (receipt, payment) = paid(&town, "unread", unread).await;
    assert_eq!(
        (payment.amount_cents, payment.transfers[0].amount_cents),
        (Some(12_000), Some(12_000)),
        "as it was answered"
    );
    let found = cases(&town, &receipt).await;
    assert_eq!((found.len(), found[0].0.as_str()), (1, "receipt_schema"));
    assert_eq!(found[0].1["violations"][0], json!({ "field": "receipt.paymentAmount", "rule": "amount" }));
    assert_eq!(found[0].1["amount"], json!("the amount could not be read"));

    let newer = json!([{ "oddity": "bothVersions" }, { "oddity": "add", "at": "", "name": "brandNew", "text": "1" }]);
    let (receipt, _) = paid(&town, "newer", newer).await;
    assert_eq!(cases(&town, &receipt).await, []);
    eventually(PATIENCE, async || {
        let deliveries = town.simulator_list("deliveries").await;
        let ours = deliveries.iter().filter(|delivery| delivery["receiptId"] == receipt.as_str());
        let mut states: Vec<_> = ours.map(|delivery| delivery["state"].as_str().unwrap_or_default()).collect();
        states.sort_unstable();
        ensure!(states == ["notified", "refused"], "one payment is one receipt: {deliveries:?}");
        Ok(())
    })
    .await
    .unwrap();

    let (receipt, _) = paid(&town, "by-path", json!([{ "oddity": "path", "path": "/" }])).await;
    let found = cases(&town, &receipt).await;
    assert_eq!(
        (found.len(), found[0].0.as_str(), &found[0].1["path_station"]),
        (1, "receipt_path_mismatch", &json!("?"))
    );
    let (receipt, _) = paid(&town, "by-method", json!([{ "oddity": "method", "method": "PUT" }])).await;
    assert_eq!(cases(&town, &receipt).await, []);
    assert_eq!(town.simulator_list("violations").await, Vec::<Value>::new(), "the judge found nothing");
}
