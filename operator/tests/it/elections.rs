//! One leads; the next takes over; a deposed one stops.

use anyhow::{Context as _, Result, ensure};
use fiorino_crds::condition::{ConditionStatus, ConditionType};
use fiorino_kit::clock::Clock;
use fiorino_operator::{Error, runtime::lease::Election};
use fiorino_test_support::{eventually, within};
use k8s_openapi::api::{coordination::v1::Lease, events::v1::Event};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::{Cluster, SOON},
    tenant::Call,
};

fn leases(cluster: &Cluster) -> Api<Lease> {
    Api::namespaced(cluster.client.clone(), &cluster.platform)
}

async fn holder(cluster: &Cluster) -> Result<Option<String>> {
    let lease = leases(cluster).get_opt("fiorino-operator").await?;
    Ok(lease.and_then(|lease| lease.spec).and_then(|spec| spec.holder_identity))
}

#[tokio::test]
async fn the_second_takes_over_when_the_first_ends() -> Result<()> {
    let cluster = Cluster::new().await?;
    let first = cluster.operator()?;
    cluster.platform().await?;
    cluster.municipality().await?;
    cluster.reads(ConditionType::Ready, ConditionStatus::True).await?;
    let leader = holder(&cluster).await?;
    let second = cluster.operator()?;
    cluster.institution(&json!({"legalName": "Roccafiorina Terme"})).await?;
    eventually(SOON, async || {
        let stored = cluster.tenant.stored(&cluster.fiscal_code).map(|it| it.spec.legal_name);
        ensure!(stored.as_deref() == Some("Roccafiorina Terme"), "{stored:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    assert_eq!(cluster.tenant.count(Call::Acquire), 1, "one leads");
    assert_eq!(holder(&cluster).await?, leader);

    first.stop().await?;
    cluster.institution(&json!({"legalName": "Roccafiorina Bagni"})).await?;
    eventually(SOON, async || {
        let stored = cluster.tenant.stored(&cluster.fiscal_code).map(|it| it.spec.legal_name);
        ensure!(stored.as_deref() == Some("Roccafiorina Bagni"), "{stored:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    assert_eq!(cluster.tenant.count(Call::Acquire), 2, "the next has a fence of its own");
    assert_ne!(holder(&cluster).await?, leader);
    cluster.finish(second).await
}

#[tokio::test]
async fn a_lease_that_nobody_renews_is_taken_after_its_time() -> Result<()> {
    let cluster = Cluster::new().await?;
    let ghost = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "fiorino-operator"},
        "spec": {"holderIdentity": "ghost", "leaseDurationSeconds": 3, "leaseTransitions": 41},
    });
    leases(&cluster).create(&PostParams::default(), &serde_json::from_value(ghost)?).await?;
    let (token, clock) = (CancellationToken::new(), Clock::system());
    let election =
        Election::new(cluster.client.clone(), &cluster.platform, "fiorino-operator", "heir".to_owned(), clock.clone());
    let started = clock.monotonic();
    let held = election.acquire(&token).await.unwrap();
    let waited = clock.monotonic().saturating_sub(started);
    assert!(waited.as_secs() >= 3, "taken after {waited:?}");
    assert_eq!(held.transitions, 42);
    token.cancel();
    election.hold(&held, &token).await?;
    assert_eq!(holder(&cluster).await?, None, "given free");
    Ok(())
}

#[tokio::test]
async fn who_lost_the_lease_stops() -> Result<()> {
    let cluster = Cluster::new().await?;
    let operator = cluster.operator()?;
    eventually(SOON, async || {
        ensure!(holder(&cluster).await?.is_some(), "nobody leads");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    let usurped = Patch::Merge(json!({"spec": {"holderIdentity": "usurper"}}));
    leases(&cluster).patch("fiorino-operator", &PatchParams::default(), &usurped).await?;
    let ended = within(SOON, operator.ended).await??;
    assert!(matches!(ended, Err(Error::Lease(_))), "{ended:?}");
    assert_eq!(holder(&cluster).await?.as_deref(), Some("usurper"));
    Ok(())
}

#[tokio::test]
async fn a_deposed_leader_tells_nothing_and_writes_nothing() -> Result<()> {
    let cluster = Cluster::new().await?;
    let operator = cluster.operator()?;
    cluster.platform().await?;
    cluster.municipality().await?;
    cluster.reads(ConditionType::Ready, ConditionStatus::True).await?;
    let stored = cluster.tenant.stored(&cluster.fiscal_code).map(|it| it.config_seq);
    cluster.tenant.depose();
    cluster.institution(&json!({"legalName": "Roccafiorina Terme"})).await?;
    let (changed, refused) = (cluster.versions().await?, cluster.tenant.count(Call::Acquire));
    eventually(SOON, async || {
        let asked = cluster.tenant.count(Call::Acquire);
        ensure!(asked >= refused + 3, "it tried {asked} times");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    assert_eq!(cluster.versions().await?, changed, "what it would tell of tenant is not true");
    assert_eq!(cluster.tenant.stored(&cluster.fiscal_code).map(|it| it.config_seq), stored);
    cluster.finish(operator).await
}

/// A cluster that another one followed says so, and neither writes nor asks in a loop.
#[tokio::test]
async fn a_cluster_that_was_followed_says_so_and_stops() -> Result<()> {
    let cluster = Cluster::new().await?;
    cluster.tenant.world().superseded = true;
    let operator = cluster.operator()?;
    cluster.platform().await?;
    cluster.municipality().await?;
    eventually(SOON, async || {
        let distributed = cluster.status().await?.condition(ConditionType::Distributed).cloned();
        ensure!(distributed.is_some_and(|it| it.message.contains("tenant obeys another cluster")), "not told");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    let told = async |reason: &str| -> Result<String> {
        let events: Api<Event> = Api::namespaced(cluster.client.clone(), &cluster.platform);
        let of_lease = events.list(&ListParams::default()).await?.into_iter().find(|event| {
            event.reason.as_deref() == Some(reason)
                && event.regarding.as_ref().is_some_and(|it| it.kind.as_deref() == Some("Lease"))
        });
        of_lease.and_then(|event| event.note).with_context(|| format!("no event {reason}"))
    };
    let uid = leases(&cluster).get("fiorino-operator").await?.metadata.uid.unwrap();
    let note = eventually(SOON, async || told("Superseded").await).await?;
    assert!(note.contains(&format!("fiorino-tenant fence allow {uid}")), "{note}");
    // A changed manifest is looked at, and nobody is asked again for it.
    cluster.institution(&json!({"legalName": "Roccafiorina Terme"})).await?;
    eventually(SOON, async || {
        let observed = cluster.status().await?.observed_generation;
        let generation = cluster.institutions(&cluster.comune).get("roccafiorina").await?.metadata.generation;
        ensure!(observed == generation, "{observed:?} of {generation:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    assert_eq!((cluster.tenant.count(Call::Acquire), cluster.tenant.count(Call::Apply)), (1, 0));
    operator.stop().await?;

    // Somebody allowed it, and the next leader says so.
    {
        let mut world = cluster.tenant.world();
        world.superseded = false;
        world.allowed_at = "2026-12-01T10:00:00Z".to_owned();
    }
    let operator = cluster.operator()?;
    cluster.reads(ConditionType::Ready, ConditionStatus::True).await?;
    let note = eventually(SOON, async || told("LeadsAgain").await).await?;
    assert!(note.contains("2026-12-01T10:00:00Z"), "{note}");
    cluster.finish(operator).await
}
