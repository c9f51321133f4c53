//! A tenant whose store is another one is told when every manifest was looked at.

use anyhow::{Result, ensure};
use fiorino_crds::condition::{ConditionStatus, ConditionType};
use fiorino_test_support::eventually;

use crate::{
    cluster::{Cluster, SOON},
    tenant::{Call, FakeTenant},
};

async fn counts(tenant: &FakeTenant, call: Call, expected: usize) -> Result<()> {
    eventually(SOON, async || {
        let count = tenant.count(call);
        ensure!(count == expected, "{call:?}: {count}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

#[tokio::test]
async fn a_restored_tenant_gets_everything_again_and_is_told_when_that_was_all() -> Result<()> {
    let cluster = Cluster::new().await?;
    cluster.tenant.world().store_id = "first".into();
    let operator = cluster.operator()?;
    cluster.platform().await?;
    cluster.municipality().await?;
    cluster.reads(ConditionType::Ready, ConditionStatus::True).await?;
    counts(&cluster.tenant, Call::Complete, 1).await?;
    let applied = cluster.tenant.count(Call::Apply);
    cluster.tenant.change(|_| {});

    // It went back to before the municipality came, but its sequence has gone far beyond since.
    cluster.tenant.change(|world| {
        world.store_id = "restored".into();
        for stored in world.institutions.values_mut() {
            stored.config_seq += 1_000;
        }
    });
    counts(&cluster.tenant, Call::Complete, 2).await?;
    assert!(cluster.tenant.count(Call::Apply) > applied, "what the store before had answered says nothing");
    cluster.finish(operator).await
}
