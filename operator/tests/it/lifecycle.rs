//! Deletion, adoption, pause: what happens to an institution beside its configuration.

use anyhow::{Context as _, Result, ensure};
use fiorino_crds::{
    PAUSED, RELEASE, Reason,
    condition::{ConditionStatus, ConditionType},
};
use fiorino_test_support::eventually;
use serde_json::json;

use crate::{
    cluster::{Cluster, SOON},
    tenant::Call,
};

async fn gone(cluster: &Cluster) -> Result<()> {
    eventually(SOON, async || {
        let found = cluster.institutions(&cluster.comune).get_opt("roccafiorina").await?;
        ensure!(found.is_none(), "it is still there: {:?}", found.map(|it| it.metadata));
        Ok::<_, anyhow::Error>(())
    })
    .await
}

async fn ready() -> Result<(Cluster, crate::cluster::Running)> {
    let cluster = Cluster::new().await?;
    let operator = cluster.operator()?;
    cluster.platform().await?;
    cluster.municipality().await?;
    cluster.reads(ConditionType::Ready, ConditionStatus::True).await?;
    Ok((cluster, operator))
}

#[tokio::test]
async fn a_deleted_manifest_leaves_the_institution_served_as_unmanaged() -> Result<()> {
    let (cluster, operator) = ready().await?;
    cluster.delete("CreditorInstitution", "roccafiorina").await?;
    gone(&cluster).await?;
    assert_eq!(cluster.tenant.count(Call::Unmanaged), 1);
    let stored = cluster.tenant.stored(&cluster.fiscal_code).context("stored")?;
    assert!(!stored.managed && !stored.children.is_empty());

    // Applied again it is another object, which takes it over.
    cluster.institution(&json!({})).await?;
    cluster.reads(ConditionType::Ready, ConditionStatus::True).await?;
    let adopted = cluster.tenant.stored(&cluster.fiscal_code).context("stored")?;
    assert!(adopted.managed && adopted.uid != stored.uid);
    cluster.finish(operator).await
}

#[tokio::test]
async fn a_deletion_waits_for_tenant() -> Result<()> {
    let (cluster, operator) = ready().await?;
    cluster.stop_tenant().await;
    cluster.delete("CreditorInstitution", "roccafiorina").await?;
    let waits = cluster.reads(ConditionType::Reconciling, ConditionStatus::True).await?;
    assert_eq!(waits.reason, Reason::TenantUnreachable);
    assert!(waits.message.contains(RELEASE), "{}", waits.message);
    assert!(cluster.institutions(&cluster.comune).get_opt("roccafiorina").await?.is_some());
    cluster.start_tenant().await?;
    gone(&cluster).await?;
    assert_eq!(cluster.tenant.count(Call::Unmanaged), 1);
    cluster.finish(operator).await
}

#[tokio::test]
async fn the_annotation_releases_what_tenant_holds() -> Result<()> {
    let (cluster, operator) = ready().await?;
    cluster.stop_tenant().await;
    cluster.delete("CreditorInstitution", "roccafiorina").await?;
    cluster.reads(ConditionType::Reconciling, ConditionStatus::True).await?;
    cluster.annotate(RELEASE, Some("true")).await?;
    gone(&cluster).await?;
    assert_eq!(cluster.tenant.count(Call::Unmanaged), 0);
    eventually(SOON, async || {
        let events = cluster.events(&cluster.comune).await?;
        ensure!(events.iter().any(|note| note.contains("let the manifest go")), "{events:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    cluster.finish(operator).await
}

#[tokio::test]
async fn a_release_tells_tenant_if_it_can() -> Result<()> {
    let (cluster, operator) = ready().await?;
    cluster.annotate(RELEASE, Some("true")).await?;
    cluster.delete("CreditorInstitution", "roccafiorina").await?;
    gone(&cluster).await?;
    assert!(!cluster.tenant.stored(&cluster.fiscal_code).context("stored")?.managed);
    let events = cluster.events(&cluster.comune).await?;
    assert!(!events.iter().any(|note| note.contains("let the manifest go")), "{events:?}");
    cluster.finish(operator).await
}

#[tokio::test]
async fn a_paused_institution_waits_with_its_changes() -> Result<()> {
    let (cluster, operator) = ready().await?;
    cluster.annotate(PAUSED, Some("true")).await?;
    cluster.reads(ConditionType::Paused, ConditionStatus::True).await?;
    let applied = cluster.tenant.count(Call::Apply);
    cluster.institution(&json!({"legalName": "Roccafiorina Terme"})).await?;
    let looked = cluster.tenant.count(Call::Get);
    eventually(SOON, async || {
        ensure!(cluster.tenant.count(Call::Get) > looked, "nobody looked");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    assert_eq!(cluster.tenant.count(Call::Apply), applied);
    assert_eq!(cluster.status().await?.observed_generation, Some(1), "nothing is claimed of the new generation");
    cluster.annotate(PAUSED, None).await?;
    eventually(SOON, async || {
        let stored = cluster.tenant.stored(&cluster.fiscal_code).context("stored")?;
        ensure!(stored.spec.legal_name == "Roccafiorina Terme", "{}", stored.spec.legal_name);
        let status = cluster.status().await?;
        ensure!(status.condition(ConditionType::Paused).is_none(), "still paused");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    cluster.finish(operator).await
}

#[tokio::test]
async fn tenant_back_from_an_outage_is_brought_everything() -> Result<()> {
    let (cluster, operator) = ready().await?;
    cluster.stop_tenant().await;
    cluster.institution(&json!({"legalName": "Roccafiorina Terme"})).await?;
    let unknown = cluster.reads(ConditionType::Ready, ConditionStatus::Unknown).await?;
    assert_eq!(unknown.reason, Reason::TenantUnreachable);
    // It comes back from a backup: an older configuration, and a fence that nobody holds.
    {
        let mut world = cluster.tenant.world();
        world.institutions.clear();
        world.fence += 10;
    }
    cluster.start_tenant().await?;
    cluster.reads(ConditionType::Ready, ConditionStatus::True).await?;
    let stored = cluster.tenant.stored(&cluster.fiscal_code).context("stored")?;
    assert_eq!(stored.spec.legal_name, "Roccafiorina Terme");
    assert_eq!(cluster.tenant.count(Call::Acquire), 2, "the fence was asked for again");
    cluster.finish(operator).await
}
