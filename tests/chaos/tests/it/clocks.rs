//! Machines do not agree about the time.

use std::time::Duration;

use fiorino_chaos::compare;
use fiorino_chaos::stage::{Own, Stage};
use tokio::time::sleep;

/// Three hours behind, two days ahead: leases, heartbeats and what is due go by the database's time.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_clocks_lose_nothing() {
    let mut stage = Box::pin(Stage::new(Own::default())).await.unwrap();
    for (process, seconds) in [("node-connector-1", "-10800"), ("node-connector-2", "172800"), ("tenant", "-3600")] {
        stage.town.world.restart_with(process, &[("FIORINO_FAULT_CLOCK_S", seconds)]).await.unwrap();
    }
    let load = stage.load().await.unwrap();
    sleep(Duration::from_secs(4)).await;
    let debts = load.finish().await.unwrap();
    compare::equal(&stage.town, &stage.ledger).await.unwrap();
    compare::debts(&stage.town, debts).await.unwrap();
    assert!(stage.ledger.figures().receipts > 10, "{:?}", stage.ledger.figures());
}
