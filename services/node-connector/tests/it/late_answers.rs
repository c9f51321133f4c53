//! Receipts whose answer is late: in time it is 503, and what was written all the same is no duplicate (ARCHITECTURE.md 4.4).

use std::time::Duration;

use anyhow::ensure;
use fiorino_test_support::{Stopwatch, eventually};
use fiorino_wire::FaultCode;

use crate::rig::{Names, Node, Reply, Rig, SOON, messages::Receipt, tenant::Answer};

const OTHERS: &str = "99999999990";
const KPI: Duration = Duration::from_secs(2);

async fn send(node: &Node, receipt: &Receipt) -> Reply {
    node.call(&receipt.names.station, receipt.write()).await
}

/// Asking and writing what was told share one deadline: here both are slow.
#[tokio::test]
async fn a_slow_tenant_and_a_slow_database_together_are_503_within_2_s() {
    let (rig, node) = Rig::with_node().await;
    let names = Names { institution: OTHERS.into(), ..rig.names.clone() };
    rig.tenant.script().own(&names);
    rig.tenant.script().resolving = Answer::After(Duration::from_millis(600));
    let receipt = Receipt { names, ..Receipt::new(&rig.names, "r1") };
    let started = Stopwatch::start();
    let blocked = async {
        eventually(SOON, async || {
            ensure!(rig.tenant.script().asked > 0, "nobody asks tenant");
            Ok(())
        })
        .await
        .unwrap();
        let mut tx = fiorino_kit::store::begin(&rig.db.pool).await.unwrap();
        sqlx::query("lock table receipt_inbox in exclusive mode").execute(&mut *tx).await.unwrap();
        tx
    };
    let (reply, tx) = tokio::join!(send(&node, &receipt), blocked);
    reply.assert_fault(503, "again");
    assert!(started.within(KPI), "{:?}", started.elapsed());
    tx.rollback().await.unwrap();
    // It was told to come again: that is no duplicate.
    send(&node, &receipt).await.assert_ok();
    send(&node, &receipt).await.assert_ko(FaultCode::ReceiptDuplicata, OTHERS);
}
