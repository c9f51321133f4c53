//! Machines do not agree about the time.

use anyhow::ensure;
use fiorino_chaos::compare;
use fiorino_chaos::stage::{Own, Stage};
use fiorino_e2e::town::PATIENCE;
use fiorino_rig::eventually;

/// Three hours behind, two days ahead: leases, heartbeats and what is due go by the database's time.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_clocks_lose_nothing() {
    let mut stage = Box::pin(Stage::new(Own::default())).await.unwrap();
    for (process, seconds) in [("node-connector-1", "-10800"), ("node-connector-2", "172800"), ("tenant", "-3600")] {
        let world = &mut stage.town.world;
        world.respawn(process, &[("FIORINO_FAULT_CLOCK_S", seconds)]).unwrap();
        world.wait_ready(process).await.unwrap();
    }
    let load = stage.load().await.unwrap();
    eventually(PATIENCE, async || {
        let figures = stage.ledger.figures();
        ensure!(figures.receipts >= 20, "{figures:?}");
        Ok(())
    })
    .await
    .unwrap();
    let debts = load.finish().await.unwrap();
    compare::equal(&stage).await.unwrap();
    compare::debts(&stage, &[], &debts).await.unwrap();
}
