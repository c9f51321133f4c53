//! Receipts survive the replica that took them.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use fiorino_test_support::{Signal, Stopwatch, eventually};
use serde_json::json;

use fiorino_e2e::town::{PATIENCE, Town};

#[tokio::test(flavor = "multi_thread")]
async fn another_replica_applies_the_rows_of_a_dead_one() {
    let mut town = Town::payable().await;
    let mut notices = Vec::new();
    for n in 0..8 {
        notices.push(town.create_debt(&format!("dead-{n}")).await);
    }
    // Tenant is held, so that the receipts wait in the inbox of both replicas; then one replica dies.
    let mut tokens = Vec::new();
    for notice in &notices {
        let activated = town.simulator("psp/activate", &town.notice(notice)).await.unwrap();
        tokens.push(activated["paymentToken"].as_str().unwrap().to_owned());
    }
    town.world.process("tenant").unwrap().signal(Signal::STOP).unwrap();
    for token in &tokens {
        town.simulator("psp/outcome", &json!({"paymentToken": token, "outcome": "OK"})).await.unwrap();
    }
    eventually(PATIENCE, async || {
        let acknowledged = town.simulator_list("deliveries").await;
        let open = acknowledged.iter().filter(|d| d["state"] != "notified").count();
        ensure!(open == 0, "{open} receipts are not acknowledged");
        Ok(())
    })
    .await
    .unwrap();
    town.world.process("node-connector-1").unwrap().kill().unwrap();
    let died = Stopwatch::start();
    town.world.process("tenant").unwrap().signal(Signal::CONT).unwrap();
    for notice in &notices {
        town.reported(notice).await;
    }
    assert!(died.within(Duration::from_secs(8)), "shards change hands in 5 s; took {:?}", died.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_receipt_is_told_and_applied_once() {
    let town = Town::payable().await;
    let notice = town.create_debt("twice").await;
    town.simulator("psp/pay", &town.notice(&notice)).await.unwrap();
    town.reported(&notice).await;
    town.simulator("deliveries/0/resend", &json!({})).await.unwrap();
    let repeated = eventually(PATIENCE, async || {
        let delivery = town.simulator_list("deliveries").await.into_iter().next().context("no delivery")?;
        ensure!(delivery["state"] == "refused", "{delivery}");
        Ok::<_, anyhow::Error>(delivery)
    })
    .await
    .unwrap();
    assert_eq!(repeated["fault"]["code"], "PAA_RECEIPT_DUPLICATA");
}
