//! The databases have no space left.

use anyhow::ensure;
use fiorino_chaos::compare;
use fiorino_chaos::debts::Debts;
use fiorino_chaos::node::Told;
use fiorino_chaos::stage::{Own, Stage};
use fiorino_e2e::town::PATIENCE;
use fiorino_rig::eventually;

const OWN: Own = Own { postgres: true, volume_mb: Some(256), kafka: false, kubernetes: false };
/// More than what fits into the pages that the tables have left.
const RECEIPTS_MAX: usize = 2_000;

#[tokio::test(flavor = "multi_thread")]
async fn without_space_receipts_are_503_and_those_that_were_ok_are_not_lost() {
    let stage = Box::pin(Stage::new(OWN)).await.unwrap();
    let debts = Debts::of(&stage.town).unwrap();
    let notice = debts.create(stage.node.institution(), &["full".to_owned()]).await.unwrap().remove(0);
    let payment = stage.node.activate(&notice).await.unwrap();
    let volume = stage.servers.volume.as_ref().unwrap();
    volume.fill().unwrap();
    // What is free inside the tables' pages is used first.
    let mut refused = None;
    for _ in 0..RECEIPTS_MAX {
        let receipt = stage.node.receipt(&notice, &payment);
        match stage.node.send(0, &receipt).await {
            Told::Ok(_) => {}
            Told::Later => {
                refused = Some(receipt);
                break;
            }
            told => panic!("{told:?}"),
        }
    }
    let refused = refused.expect("the disk is full, and everything was taken");
    assert!(matches!(stage.node.verify(1, &notice).await, Told::Ok(_) | Told::Ko(_)), "who only reads needs no space");
    volume.free().unwrap();
    stage.node.deliver(&refused).await;
    eventually(PATIENCE, async || {
        let told = stage.node.verify(0, &notice).await;
        ensure!(matches!(&told, Told::Ko(code) if code == "PAA_PAGAMENTO_DUPLICATO"), "{told:?}");
        Ok(())
    })
    .await
    .unwrap();
    compare::equal(&stage).await.unwrap();
}
