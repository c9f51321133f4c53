//! From the inbox to tenant.

use std::time::Duration;

use anyhow::ensure;
use fiorino_node_connector::Tuning;
use fiorino_test_support::{Stopwatch, eventually};
use futures::future::join_all;
use rstest::rstest;
use tonic::Code;

use crate::{
    rig::{Node, Rig, SOON, messages::Receipt, tenant::Answer},
    storage,
};

async fn send(node: &Node, rig: &Rig, receipt_id: &str) {
    let receipt = Receipt::new(&rig.names, receipt_id);
    node.call(&rig.names.station, receipt.write()).await.assert_ok();
}

async fn applied(rig: &Rig, within: Duration, count: usize) {
    eventually(within, async || {
        let applied = rig.tenant.script().applied.len();
        ensure!(applied == count, "{applied} of {count} applied");
        Ok(())
    })
    .await
    .unwrap();
}

/// Rows in the state.
async fn in_state(rig: &Rig, state: &str, count: i64) {
    eventually(SOON, async || {
        let found: i64 = sqlx::query_scalar("select count(*) from receipt_inbox where state = $1")
            .bind(state)
            .fetch_one(&rig.db.pool)
            .await?;
        ensure!(found == count, "{found} of {count} {state}");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_receipt_is_applied_at_once() {
    let (rig, node) = Rig::with_node().await;
    send(&node, &rig, "r0").await;
    applied(&rig, SOON, 1).await;
    let started = Stopwatch::start();
    send(&node, &rig, "r1").await;
    applied(&rig, SOON, 2).await;
    assert!(started.within(Duration::from_millis(500)), "{:?}", started.elapsed());
    in_state(&rig, "applied", 2).await;
}

#[tokio::test]
async fn what_gathered_while_tenant_was_away_is_applied_in_batches() {
    let (mut rig, node) = Rig::with_node().await;
    rig.tenant.stop().await;
    for chunk in 0..6 {
        join_all((0..50).map(async |number| send(&node, &rig, &format!("r{chunk}-{number}")).await)).await;
    }
    rig.tenant.restart().await;
    applied(&rig, SOON, 300).await;
    in_state(&rig, "applied", 300).await;
    let batches = rig.tenant.script().batches.clone();
    assert!(batches.len() <= 4, "300 receipts took {batches:?}");
    let attempts: i64 =
        sqlx::query_scalar("select sum(attempts) from receipt_inbox").fetch_one(&rig.db.pool).await.unwrap();
    assert_eq!(attempts, 0, "tenant away is no receipt's fault");
}

#[tokio::test]
async fn a_poisoned_receipt_blocks_nobody_and_is_tried_again() {
    let (rig, node) = Rig::with_node().await;
    rig.tenant.script().poison.insert("poison".to_owned());
    rig.tenant.script().applying = Answer::Fail(Code::Unavailable);
    let ids: Vec<String> = (0..40).map(|number| format!("r{number}")).chain(["poison".to_owned()]).collect();
    join_all(ids.iter().map(|id| send(&node, &rig, id))).await;
    rig.tenant.script().applying = Answer::AtOnce;
    applied(&rig, SOON, 40).await;
    eventually(SOON, async || {
        let row = &storage::rows(&rig.db.pool, "poison").await[0];
        ensure!(row.attempts >= 2 && row.state == "ready", "{row:?}");
        Ok(())
    })
    .await
    .unwrap();
    send(&node, &rig, "later").await;
    applied(&rig, SOON, 41).await;
    rig.tenant.script().poison.clear();
    applied(&rig, Duration::from_secs(20), 42).await;
    assert_eq!(rig.tenant.script().applied_ids().last(), Some(&"poison"));
}

#[tokio::test]
async fn what_tenant_leaves_out_of_a_batch_is_tried_again() {
    let (rig, node) = Rig::with_node().await;
    rig.tenant.script().unapplied.insert("r1".to_owned());
    join_all(["r0", "r1", "r2"].map(|id| send(&node, &rig, id))).await;
    applied(&rig, SOON, 2).await;
    eventually(SOON, async || {
        let row = &storage::rows(&rig.db.pool, "r1").await[0];
        ensure!(row.attempts >= 1, "{row:?}");
        Ok(())
    })
    .await
    .unwrap();
    rig.tenant.script().unapplied.clear();
    applied(&rig, SOON, 3).await;
}

#[tokio::test]
async fn a_dead_replicas_receipts_are_applied_by_another_within_5_s() {
    let mut rig = Rig::start().await;
    let doomed = Node::start_apart(rig.options("node-connector-0")).await;
    doomed.ready().await;
    send(&doomed, &rig, "r0").await;
    applied(&rig, SOON, 1).await;
    let survivor = Node::start(rig.options("node-connector-1"), Tuning::default()).await;
    survivor.ready().await;
    // Both have their share of the shards before one dies with receipts that nobody has applied.
    eventually(SOON, async || {
        let holders: i64 = sqlx::query_scalar(
            "select count(distinct holder) from lease where name like 'receipts/%' and expires_at > now()",
        )
        .fetch_one(&rig.db.pool)
        .await?;
        ensure!(holders == 2, "{holders} replicas hold shards");
        Ok(())
    })
    .await
    .unwrap();
    rig.tenant.script().applying = Answer::Never;
    let ids: Vec<String> = (1..40).map(|number| format!("r{number}")).collect();
    join_all(ids.iter().map(|id| send(&doomed, &rig, id))).await;
    rig.tenant.stop().await;
    doomed.crash();
    rig.tenant.script().applying = Answer::AtOnce;
    rig.tenant.restart().await;
    applied(&rig, Duration::from_secs(5), 40).await;
    in_state(&rig, "applied", 40).await;
}

#[tokio::test]
async fn shutdown_applies_what_was_acknowledged() {
    let (rig, node) = Rig::with_node().await;
    send(&node, &rig, "first").await;
    applied(&rig, SOON, 1).await;
    rig.tenant.script().applying = Answer::After(Duration::from_millis(300));
    let ids: Vec<String> = (0..20).map(|number| format!("r{number}")).collect();
    join_all(ids.iter().map(|id| send(&node, &rig, id))).await;
    node.stop().await;
    in_state(&rig, "applied", 21).await;
    let leases: i64 =
        sqlx::query_scalar("select count(*) from lease where name like 'receipts/%' and expires_at > now()")
            .fetch_one(&rig.db.pool)
            .await
            .unwrap();
    assert_eq!(leases, 0, "leases are given back");
}

async fn attempts(rig: &Rig) -> i64 {
    sqlx::query_scalar("select sum(attempts) from receipt_inbox").fetch_one(&rig.db.pool).await.unwrap()
}

/// Tenant was called with receipts `count` times.
async fn called(rig: &Rig, count: usize) {
    eventually(Duration::from_secs(30), async || {
        let batches = rig.tenant.script().batches.clone();
        ensure!(batches.len() >= count, "{batches:?}");
        Ok(())
    })
    .await
    .unwrap();
}

#[rstest]
#[case::one_receipt(1)]
#[case::several(10)]
#[tokio::test]
async fn a_hanging_tenant_defers_nothing(#[case] receipts: usize) {
    let (rig, node) = Rig::with_node().await;
    rig.tenant.script().applying = Answer::Never;
    join_all((0..receipts).map(async |number| send(&node, &rig, &format!("r{number}")).await)).await;
    // A batch, one or two receipts alone, and all of it again.
    called(&rig, 5).await;
    assert_eq!(attempts(&rig).await, 0, "tenant hanging is no receipt's fault");
    rig.tenant.script().applying = Answer::AtOnce;
    applied(&rig, Duration::from_secs(15), receipts).await;
    assert_eq!(attempts(&rig).await, 0);
}

#[tokio::test]
async fn a_receipt_that_alone_takes_too_long_is_deferred_and_blocks_nobody() {
    let (rig, node) = Rig::with_node().await;
    rig.tenant.script().slow.insert("slow".to_owned());
    rig.tenant.script().applying = Answer::Fail(Code::Unavailable);
    join_all(["slow", "r0", "r1"].map(|id| send(&node, &rig, id))).await;
    rig.tenant.script().applying = Answer::AtOnce;
    applied(&rig, Duration::from_secs(20), 2).await;
    // Whoever comes later is the witness, if nobody was before.
    send(&node, &rig, "r2").await;
    applied(&rig, Duration::from_secs(20), 3).await;
    eventually(Duration::from_secs(20), async || {
        let row = &storage::rows(&rig.db.pool, "slow").await[0];
        ensure!(row.attempts >= 2, "{row:?}");
        Ok(())
    })
    .await
    .unwrap();
    for id in ["r0", "r1", "r2"] {
        assert_eq!(storage::rows(&rig.db.pool, id).await[0].attempts, 0, "{id}");
    }
    rig.tenant.script().slow.clear();
    applied(&rig, Duration::from_secs(20), 4).await;
}
