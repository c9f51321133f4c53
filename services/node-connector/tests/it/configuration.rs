//! The configuration: from the stream, and saved.

use anyhow::ensure;
use fiorino_node_connector::Tuning;
use fiorino_proto::config::v1::LifecyclePhase;
use fiorino_test_support::{
    eventually,
    proxy::{Line, Proxy},
};

use crate::rig::{
    Names, Node, Rig, SOON,
    messages::{self, NOTICE, Receipt},
    tenant,
};

#[tokio::test]
async fn a_new_institution_is_served_without_asking() {
    let (rig, node) = Rig::with_node().await;
    let names = Names { institution: fiorino_test_support::fiscal_code(), ..rig.names.clone() };
    rig.tenant.script().own(&names);
    rig.tenant.configure([tenant::institution(&names.institution, &names.station, LifecyclePhase::Live)]);
    eventually(SOON, async || {
        let before = rig.tenant.script().asked;
        node.call(&names.station, messages::verify(&names, NOTICE)).await.assert_ok();
        // An answer of tenant is remembered for a second: nothing asked although nothing is remembered.
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
        node.call(&names.station, messages::verify(&names, NOTICE)).await.assert_ok();
        let asked = rig.tenant.script().asked - before;
        ensure!(asked == 0, "tenant was asked {asked} times");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn without_tenant_a_replica_starts_from_what_it_saved() {
    let (mut rig, node) = Rig::with_node().await;
    let saved = async || sqlx::query_scalar::<_, i64>("select count(*) from config_copy").fetch_one(&rig.db.pool).await;
    eventually(SOON, async || {
        let rows = saved().await?;
        ensure!(rows == 3, "{rows} of 3 saved");
        Ok(())
    })
    .await
    .unwrap();
    node.stop().await;
    rig.tenant.stop().await;
    let node = rig.node().await;
    let receipt = Receipt::new(&rig.names, "r1");
    node.call(&rig.names.station, receipt.write()).await.assert_ok();
    rig.tenant.restart().await;
    eventually(SOON, async || {
        ensure!(rig.tenant.script().applied_ids() == ["r1"], "not applied yet");
        let reply = node.call(&rig.names.station, messages::verify(&rig.names, NOTICE)).await;
        ensure!(reply.tag("outcome") == Some("OK"), "{}", reply.body);
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn without_anything_a_replica_is_not_ready() {
    let mut rig = Rig::start().await;
    rig.tenant.stop().await;
    let node = Node::start(rig.options("node-connector-0"), Tuning::default()).await;
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    assert_eq!(node.readiness.missing(), ["configuration"]);
    rig.tenant.restart().await;
    node.ready().await;
}

#[tokio::test]
async fn without_a_database_a_replica_verifies_and_tells_receipts_to_come_again() {
    let rig = Rig::start().await;
    let (proxy, url) = Proxy::before_url(&rig.db.url).await.unwrap();
    proxy.set(Line::Cut);
    let mut options = rig.options("node-connector-0");
    options.database = crate::rig::as_runtime(&url);
    let node = Node::start(options, Tuning::default()).await;
    node.ready().await;
    node.call(&rig.names.station, messages::verify(&rig.names, NOTICE)).await.assert_ok();
    let receipt = Receipt::new(&rig.names, "r1").write();
    node.call(&rig.names.station, receipt.clone()).await.assert_fault(503, "again");
    proxy.set(Line::Open);
    eventually(SOON, async || {
        let reply = node.call(&rig.names.station, receipt.clone()).await;
        ensure!(reply.status == 200, "{}", reply.body);
        Ok(())
    })
    .await
    .unwrap();
}
