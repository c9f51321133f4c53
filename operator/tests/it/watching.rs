//! Which objects are looked at: namespaces, broken ones, other platforms'.

use anyhow::{Context as _, Result, ensure};
use fiorino_crds::{
    Reason,
    condition::{ConditionStatus, ConditionType},
};
use fiorino_test_support::{Parts, eventually};
use kube::{
    ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::{
    cluster::{Cluster, SOON, account},
    world::{IBAN, ODD_IBAN},
};

#[tokio::test]
async fn namespace_mode_sees_only_its_namespaces() -> Result<()> {
    let cluster = Cluster::new().await?;
    let elsewhere = Parts::get().create_namespace(&cluster.client).await?;
    let operator = cluster.operator()?;
    cluster.platform().await?;
    let other = Parts::get().fiscal_code();
    cluster.apply("Iban", &elsewhere, "tesoreria", account(IBAN)).await?;
    cluster.institution_in(&elsewhere, &other, &json!({})).await?;
    cluster.municipality().await?;
    cluster.reads(ConditionType::Ready, ConditionStatus::True).await?;
    let unseen = cluster.institutions(&elsewhere).get("roccafiorina").await?;
    assert!(unseen.status.is_none() && unseen.finalizers().is_empty());
    assert!(cluster.tenant.stored(&other).is_none());
    operator.stop().await?;

    // Without a list it sees every namespace.
    let mut options = cluster.options(&[]);
    options.watch_namespaces.clear();
    let operator = cluster.operator_with(options)?;
    eventually(SOON, async || {
        let seen = cluster.institutions(&elsewhere).get("roccafiorina").await?;
        let status = seen.status.unwrap_or_default();
        let ready = status.condition(ConditionType::Ready).context("no condition Ready")?;
        ensure!(ready.is_true(), "{ready:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    cluster.finish(operator).await
}

#[tokio::test]
async fn an_object_that_cannot_be_read_disturbs_nobody() -> Result<()> {
    let cluster = Cluster::new().await?;
    let broken = Parts::get().create_namespace(&cluster.client).await?;
    cluster.platform().await?;
    cluster.institution_in(&broken, &Parts::get().fiscal_code(), &json!({})).await?;
    // The API server knows one day more than we do.
    let waiting =
        json!({"party": "Broker", "action": "GoLive", "since": "9999-12-31T23:59:59Z", "textEn": "x", "textIt": "x"});
    let patch = Patch::Merge(json!({"status": {"waitingFor": waiting.clone()}}));
    cluster.api("CreditorInstitution", &broken).patch_status("roccafiorina", &PatchParams::default(), &patch).await?;
    assert!(cluster.institutions(&broken).get("roccafiorina").await.is_err(), "it can be read after all");

    let mut options = cluster.options(&[]);
    options.watch_namespaces.push(broken.clone());
    let operator = cluster.operator_with(options)?;
    cluster.municipality().await?;
    cluster.reads(ConditionType::Ready, ConditionStatus::True).await?;
    eventually(SOON, async || {
        let events = cluster.events(&broken).await?;
        ensure!(events.iter().any(|note| note.contains("cannot read this object")), "{events:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    let status = cluster.api("CreditorInstitution", &broken).get("roccafiorina").await?.data["status"].clone();
    let told = |kind: &str| {
        let conditions = status["conditions"].as_array().unwrap();
        conditions.iter().find(|it| it["type"] == kind).unwrap()["status"].clone()
    };
    assert_eq!((told("Validated"), told("Ready")), (json!("False"), json!("Unknown")));
    assert_eq!(status["waitingFor"], waiting, "what it cannot read it leaves alone");
    cluster.finish(operator).await
}

#[tokio::test]
async fn what_no_institution_uses_is_judged_too() -> Result<()> {
    let cluster = Cluster::new().await?;
    let operator = cluster.operator()?;
    cluster.apply("Iban", &cluster.comune, "tesoreria", account(IBAN)).await?;
    cluster.apply("Iban", &cluster.comune, "wrong", account(ODD_IBAN)).await?;
    let service = json!({"code": "MENSA", "amount": {"maximumCents": 900}});
    cluster.apply("PaymentService", &cluster.comune, "mensa", service).await?;
    let station = json!({"id": "91073550427_01", "brokerRef": {"name": "valdarda"}});
    cluster.apply("Station", &cluster.platform, "valdarda-01", station).await?;
    let reads = async |kind: &str, namespace: &str, name: &str, status: &str| {
        eventually(SOON, async || {
            let validated = cluster.validated(kind, namespace, name).await?;
            ensure!(validated["status"] == status, "{kind} {name}: {validated}");
            Ok::<_, anyhow::Error>(())
        })
        .await
    };
    reads("Iban", &cluster.comune, "tesoreria", "True").await?;
    reads("Iban", &cluster.comune, "wrong", "False").await?;
    reads("PaymentService", &cluster.comune, "mensa", "True").await?;
    reads("Station", &cluster.platform, "valdarda-01", "False").await?;
    // What it lacked came.
    cluster.platform().await?;
    for (kind, name) in [("Station", "valdarda-01"), ("Broker", "valdarda"), ("ServiceProfile", "comune-standard-1")] {
        reads(kind, &cluster.platform, name, "True").await?;
    }
    cluster.finish(operator).await
}

#[tokio::test]
async fn a_platform_that_nobody_knows_is_told() -> Result<()> {
    let cluster = Cluster::new().await?;
    let operator = cluster.operator()?;
    cluster.platform().await?;
    let nowhere = Parts::get().namespace();
    let change = json!({"associations": [{"stationRef": {"namespace": nowhere, "name": "valdarda-01"}, "segregationCode": "12"}]});
    cluster.institution(&change).await?;
    let wrong = cluster.reads(ConditionType::Validated, ConditionStatus::False).await?;
    assert_eq!(wrong.reason, Reason::InvalidReference);
    assert!(wrong.message.contains(&format!("no platform is in the namespace {nowhere}")), "{}", wrong.message);
    cluster.reads(ConditionType::Stalled, ConditionStatus::True).await?;
    assert!(cluster.tenant.stored(&cluster.fiscal_code).is_none());
    assert!(cluster.institutions(&cluster.comune).get("roccafiorina").await?.finalizers().is_empty());
    cluster.finish(operator).await
}

#[tokio::test]
async fn a_station_that_comes_later_mends_the_institution() -> Result<()> {
    let cluster = Cluster::new().await?;
    let operator = cluster.operator()?;
    cluster.municipality().await?;
    let wrong = cluster.reads(ConditionType::Validated, ConditionStatus::False).await?;
    assert!(wrong.message.contains("valdarda-01 does not exist"), "{}", wrong.message);
    cluster.platform().await?;
    cluster.reads(ConditionType::Ready, ConditionStatus::True).await?;
    cluster.finish(operator).await
}

#[tokio::test]
async fn two_institutions_in_one_namespace_the_older_keeps_the_children() -> Result<()> {
    let cluster = Cluster::new().await?;
    let operator = cluster.operator()?;
    cluster.platform().await?;
    cluster.municipality().await?;
    cluster.reads(ConditionType::Ready, ConditionStatus::True).await?;
    let mut spec = serde_json::to_value(&cluster.institutions(&cluster.comune).get("roccafiorina").await?.spec)?;
    spec["fiscalCode"] = Parts::get().fiscal_code().into();
    spec["associations"][0]["stationRef"]["name"] = "of-zeta".into();
    cluster.apply("CreditorInstitution", &cluster.comune, "zeta", spec).await?;
    let station = json!({"id": "91073550427_02", "brokerRef": {"name": "nobody"}});
    cluster.apply("Station", &cluster.platform, "of-zeta", station).await?;
    let told =
        eventually(SOON, async || cluster.validated("CreditorInstitution", &cluster.comune, "zeta").await).await?;
    assert!(
        told["message"].as_str().unwrap().contains("CreditorInstitution roccafiorina lives in this namespace"),
        "{told}"
    );
    // Who comes second judges nothing but itself: what it alone names is told of as what nobody uses.
    let lonely = eventually(SOON, async || cluster.validated("Station", &cluster.platform, "of-zeta").await).await?;
    assert_eq!(lonely["status"], "False", "{lonely}");
    cluster.reads(ConditionType::Ready, ConditionStatus::True).await?;
    cluster.finish(operator).await
}
