//! What the node-connector's database keeps for tenant's, and what it sends again (ARCHITECTURE.md 4.2).

use anyhow::{Result, ensure};
use fiorino_proto::restore::v1::{Block, Store};
use fiorino_test_support::eventually;

use crate::rig::{Names, Node, Rig, SOON, messages::Receipt};

fn block(institution: &str, end: u64, key: u8) -> Block {
    Block {
        institution: institution.to_owned(),
        aux_digit: 3,
        code: "12".into(),
        prefix: String::new(),
        end,
        key: vec![key; 32].into(),
    }
}

async fn soon<T>(found: impl AsyncFn() -> Result<T>) -> T {
    eventually(SOON, found).await.unwrap()
}

async fn follows(rig: &Rig, streams: usize) {
    soon(async || {
        let opened = rig.tenant.script().openings.len();
        ensure!(opened >= streams, "{opened} streams were opened");
        Ok(())
    })
    .await;
}

/// The latest opening, as tenant compares it.
fn stated(rig: &Rig) -> Vec<(String, u64, Vec<u8>)> {
    let script = rig.tenant.script();
    let kept = &script.openings.last().unwrap().kept;
    kept.iter().map(|block| (block.institution.clone(), block.end, block.key.to_vec())).collect()
}

#[tokio::test]
async fn an_end_is_committed_before_it_is_acknowledged_and_stated_at_the_next_opening() {
    let (rig, node) = Rig::with_node().await;
    let institution = rig.names.institution.clone();
    follows(&rig, 1).await;
    assert_eq!(stated(&rig), []);
    rig.tenant.script().reserved.extend([block(&institution, 2_000, 1), block(&institution, 1_000, 1)]);
    soon(async || {
        ensure!(!rig.tenant.script().kept.is_empty(), "nothing is acknowledged");
        Ok(())
    })
    .await;
    let kept: i64 = sqlx::query_scalar("select ending from number_witness").fetch_one(&rig.db.pool).await.unwrap();
    assert_eq!(kept, 2_000, "the highest end is kept");
    assert!(rig.tenant.script().kept.iter().any(|kept| kept.end == 2_000));

    node.stop().await;
    rig.tenant.script().reserved.clear();
    let _node = rig.node().await;
    follows(&rig, 2).await;
    assert_eq!(stated(&rig), [(institution, 2_000, vec![1; 32])]);
}

/// A tenant that went back announces a block that was given out: it hears what is kept, and knows.
#[tokio::test]
async fn a_lower_end_is_answered_with_the_one_that_is_kept() {
    let (rig, _node) = Rig::with_node().await;
    let institution = rig.names.institution.clone();
    rig.tenant.script().reserved.push(block(&institution, 5_000, 1));
    soon(async || {
        ensure!(!rig.tenant.script().kept.is_empty(), "nothing is acknowledged");
        Ok(())
    })
    .await;
    rig.tenant.script().reserved.push(block(&institution, 1_000, 1));
    soon(async || {
        let ends: Vec<_> = rig.tenant.script().kept.iter().map(|kept| kept.end).collect();
        ensure!(ends == [5_000, 5_000], "{ends:?}");
        Ok(())
    })
    .await;
}

async fn applied(rig: &Rig, node: &Node, receipt_id: &str) {
    node.call(&rig.names.station, Receipt::new(&rig.names, receipt_id).write()).await.assert_ok();
    soon(async || {
        let applied: bool =
            sqlx::query_scalar("select exists (select from receipt_inbox where receipt_id = $1 and state = 'applied')")
                .bind(receipt_id)
                .fetch_one(&rig.db.pool)
                .await?;
        ensure!(applied, "{receipt_id} is not applied");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn what_was_applied_is_sent_again_to_another_store() {
    let (rig, node) = Rig::with_node().await;
    for receipt_id in ["old", "lost"] {
        applied(&rig, &node, receipt_id).await;
    }
    sqlx::query("update receipt_inbox set applied_at = now() - interval '1 hour' where receipt_id = 'old'")
        .execute(&rig.db.pool)
        .await
        .unwrap();
    {
        let mut script = rig.tenant.script();
        script.applied.clear();
        script.batches.clear();
        let since = fiorino_kit::clock::Clock::system().now().to_string();
        script.store = Store { store_id: "restored".into(), send_again_since: since };
    }
    soon(async || {
        let script = rig.tenant.script();
        let last = script.sent_again.iter().rfind(|sent| sent.store_id == "restored");
        ensure!(last.is_some_and(|sent| sent.remaining == 0), "{last:?}");
        Ok(())
    })
    .await;
    assert_eq!(rig.tenant.script().applied_ids(), ["lost"], "tenant has what is older");
    // Once for each store, whatever breaks.
    let batches = rig.tenant.script().batches.len();
    let opened = rig.tenant.script().openings.len();
    node.stop().await;
    let node = rig.node().await;
    follows(&rig, opened + 1).await;
    applied(&rig, &node, "next").await;
    assert_eq!(rig.tenant.script().applied_ids(), ["lost", "next"]);
    assert_eq!(rig.tenant.script().batches.len(), batches + 1, "nothing was sent a third time");
}

/// What this replica's view lacks, and tenant has forgotten: kept, not refused, and taken in when it is known.
#[tokio::test]
async fn a_receipt_of_an_institution_that_is_not_applied_yet_is_503_and_taken_in_later() {
    let (rig, node) = Rig::with_node().await;
    let forgotten = Names { institution: fiorino_test_support::fiscal_code(), ..rig.names.clone() };
    rig.tenant.script().restored = true;
    let reply = node.call(&rig.names.station, Receipt::new(&forgotten, "r1").write()).await;
    assert_eq!(reply.status, 503, "{}", reply.body);
    rig.tenant.script().own(&forgotten);
    soon(async || {
        ensure!(rig.tenant.script().applied_ids() == ["r1"], "not taken in");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_database_of_another_server_says_since_when_it_lacks_messages() {
    let (rig, node) = Rig::with_node().await;
    follows(&rig, 1).await;
    assert_eq!(rig.tenant.script().openings[0].lost_from, "");
    node.stop().await;
    sqlx::query("update witness_head set system_identifier = '1', alive_at = '2026-11-30T10:00:00Z'")
        .execute(&rig.db.pool)
        .await
        .unwrap();
    let node = rig.node().await;
    follows(&rig, 2).await;
    assert_eq!(rig.tenant.script().openings[1].lost_from, "2026-11-30T10:00:00Z");
    soon(async || {
        let told: bool =
            sqlx::query_scalar("select lost_from is null from witness_head").fetch_one(&rig.db.pool).await?;
        ensure!(told, "tenant has its case, and that was not noted");
        Ok(())
    })
    .await;
    node.stop().await;
    let _node = rig.node().await;
    follows(&rig, 3).await;
    assert_eq!(rig.tenant.script().openings[2].lost_from, "", "it is told once");
}
