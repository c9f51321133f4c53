//! Deletion, adoption, pause: what happens to an institution beside its configuration.

use anyhow::{Context as _, Result, ensure};
use fiorino_crds::{
    PAUSED, RELEASE, Reason,
    condition::{ConditionStatus, ConditionType},
};
use fiorino_operator::institution::absent::is_there;
use fiorino_test_support::{Parts, eventually};
use kube::api::{Patch, PatchParams};
use rstest::rstest;
use serde_json::json;

use crate::{
    cluster::{Cluster, SOON},
    tenant::{Call, Stored},
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

/// A stored institution as it would be of another object: what of it is told of this cluster decides what becomes of it.
fn another(cluster: &Cluster, change: impl FnOnce(&mut Stored)) -> Result<String> {
    let mut stored = cluster.tenant.stored(&cluster.fiscal_code).context("stored")?;
    let code = Parts::get().fiscal_code();
    stored.spec.fiscal_code.clone_from(&code);
    stored.uid = format!("uid-{code}");
    stored.name = format!("comune-{code}");
    change(&mut stored);
    cluster.tenant.world().institutions.insert(code.clone(), stored);
    Ok(code)
}

async fn unmanaged(cluster: &Cluster, fiscal_code: &str) -> Result<()> {
    eventually(SOON, async || {
        let stored = cluster.tenant.stored(fiscal_code).context("stored")?;
        ensure!(!stored.managed, "tenant holds it still");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

#[tokio::test]
async fn what_was_released_is_told_when_tenant_is_back() -> Result<()> {
    let (cluster, operator) = ready().await?;
    cluster.stop_tenant().await;
    cluster.delete("CreditorInstitution", "roccafiorina").await?;
    cluster.reads(ConditionType::Reconciling, ConditionStatus::True).await?;
    cluster.annotate(RELEASE, Some("true")).await?;
    gone(&cluster).await?;
    assert!(cluster.tenant.stored(&cluster.fiscal_code).context("stored")?.managed, "nobody has told it yet");
    cluster.start_tenant().await?;
    unmanaged(&cluster, &cluster.fiscal_code).await?;
    cluster.finish(operator).await
}

#[tokio::test]
async fn a_new_leader_tells_what_went_while_nobody_led() -> Result<()> {
    let (cluster, operator) = ready().await?;
    operator.stop().await?;
    let api = cluster.institutions(&cluster.comune);
    let without = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    api.patch_metadata("roccafiorina", &PatchParams::default(), &without).await?;
    cluster.delete("CreditorInstitution", "roccafiorina").await?;
    gone(&cluster).await?;
    let operator = cluster.operator()?;
    unmanaged(&cluster, &cluster.fiscal_code).await?;
    assert_eq!(cluster.tenant.count(Call::Unmanaged), 1);
    // Whoever applies it, under whatever name, has it then.
    cluster.institution(&json!({})).await?;
    cluster.reads(ConditionType::Ready, ConditionStatus::True).await?;
    assert!(cluster.tenant.stored(&cluster.fiscal_code).context("stored")?.managed);
    cluster.finish(operator).await
}

/// Only what this cluster had, and has no more where the operator can see it, is without a manifest.
#[tokio::test]
async fn what_may_be_elsewhere_is_left_to_whom_it_belongs() -> Result<()> {
    let (cluster, operator) = ready().await?;
    let kept = [
        another(&cluster, |it| it.platform = "another-platform".to_owned())?,
        another(&cluster, |it| it.namespace = "not-watched".to_owned())?,
        // Of the cluster before this one: its manifest may come any moment.
        another(&cluster, |it| it.written_at = jiff::Timestamp::UNIX_EPOCH)?,
        // Made anew under its name: it adopts.
        another(&cluster, |it| it.name = "roccafiorina".to_owned())?,
        // An older tenant does not say whose it is.
        another(&cluster, |it| it.name.clear())?,
    ];
    // Those are told page by page, this one with the last.
    let absent = [another(&cluster, |_| {})?, another(&cluster, |_| {})?];
    let already = another(&cluster, |it| it.managed = false)?;
    cluster.tenant.change(|_| {});
    for code in &absent {
        unmanaged(&cluster, code).await?;
    }
    for code in kept.iter().chain([&cluster.fiscal_code]) {
        assert!(cluster.tenant.stored(code).context("stored")?.managed, "{code}");
    }
    assert!(!cluster.tenant.stored(&already).context("stored")?.managed);
    assert_eq!(cluster.tenant.count(Call::Unmanaged), absent.len(), "nobody else was told of");
    cluster.finish(operator).await
}

/// An answer that is no list says nothing about what is there.
#[rstest]
#[case::nothing_listed(200, r#"{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"1"},"items":[]}"#, Some(false))]
#[case::listed(200, r#"{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"1"},"items":[{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"town","namespace":"comune"}}]}"#, Some(true))]
#[case::the_kind_is_not_served(404, "404 page not found", None)]
#[case::no_right(403, r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"no","reason":"Forbidden","code":403}"#, None)]
#[case::starting(503, r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"starting","reason":"ServiceUnavailable","code":503}"#, None)]
#[tokio::test]
async fn only_a_list_says_that_an_object_is_not_there(
    #[case] status: u16,
    #[case] body: &'static str,
    #[case] expected: Option<bool>,
) -> Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let status = axum::http::StatusCode::from_u16(status)?;
    let answer = move || async move { (status, [("content-type", "application/json")], body) };
    let server = tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(answer)).await });
    let client = kube::Client::try_from(kube::Config::new(url.parse()?))?;
    assert_eq!(is_there(&client, "comune", "town").await.ok(), expected);
    server.abort();
    Ok(())
}

async fn raw_is_gone(cluster: &Cluster) -> Result<()> {
    eventually(SOON, async || {
        let found = cluster.api("CreditorInstitution", &cluster.comune).get_opt("roccafiorina").await?;
        ensure!(found.is_none(), "it is still there: {:?}", found.map(|it| it.metadata));
        Ok::<_, anyhow::Error>(())
    })
    .await
}

#[tokio::test]
async fn an_institution_that_cannot_be_read_goes_when_tenant_knows() -> Result<()> {
    let (cluster, operator) = ready().await?;
    operator.stop().await?;
    cluster.make_unreadable().await?;
    cluster.delete("CreditorInstitution", "roccafiorina").await?;
    let operator = cluster.operator()?;
    raw_is_gone(&cluster).await?;
    assert_eq!(cluster.tenant.count(Call::Unmanaged), 1);
    assert!(!cluster.tenant.stored(&cluster.fiscal_code).context("stored")?.managed);
    cluster.finish(operator).await
}

#[tokio::test]
async fn an_institution_that_cannot_be_read_waits_for_tenant_or_is_released() -> Result<()> {
    let (cluster, operator) = ready().await?;
    operator.stop().await?;
    cluster.make_unreadable().await?;
    cluster.stop_tenant().await;
    cluster.delete("CreditorInstitution", "roccafiorina").await?;
    let operator = cluster.operator()?;
    eventually(SOON, async || {
        let events = cluster.events(&cluster.comune).await?;
        let told = |note: &String| note.contains("cannot read this object") && note.contains(RELEASE);
        ensure!(events.iter().any(told), "{events:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    assert!(cluster.api("CreditorInstitution", &cluster.comune).get_opt("roccafiorina").await?.is_some());
    cluster.annotate(RELEASE, Some("true")).await?;
    raw_is_gone(&cluster).await?;
    assert_eq!(cluster.tenant.count(Call::Unmanaged), 0);
    // Back, tenant is told what it missed.
    cluster.start_tenant().await?;
    unmanaged(&cluster, &cluster.fiscal_code).await?;
    cluster.finish(operator).await
}
