//! From manifests to a configured institution, and nothing more once it is.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fiorino_crds::{
    FINALIZER, Reason,
    condition::{ConditionStatus, ConditionType},
    status::{ServiceState, Stage},
};
use fiorino_operator::metrics::Metric;
use fiorino_proto::config::v1::{ApplyResult, DistributionState, ResourceKind, ServiceSpec};
use fiorino_test_support::{Parts, Stopwatch, eventually};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
};
use prost::Message as _;
use serde_json::json;

use crate::{
    cluster::{Cluster, SOON, account, telemetry},
    tenant::Call,
    world::{IBAN, ODD_IBAN},
};

#[tokio::test]
async fn a_municipality_becomes_ready_and_is_told_so() -> Result<()> {
    let cluster = Cluster::new().await?;
    let operator = cluster.operator()?;
    cluster.platform().await?;
    cluster.municipality().await?;
    let ready = cluster.reads(ConditionType::Ready, ConditionStatus::True).await?;
    assert_eq!(ready.reason, Reason::Acknowledged);
    cluster.reads(ConditionType::Payable, ConditionStatus::True).await?;

    let object = cluster.institutions(&cluster.comune).get("roccafiorina").await?;
    assert_eq!(object.finalizers(), [FINALIZER]);
    let status = object.status.clone().context("a status")?;
    assert_eq!(
        (status.observed_generation, status.stage),
        (object.metadata.generation, Some(Stage::AccountsRegistered))
    );
    let services: Vec<_> = status.services.iter().map(|it| (it.code.as_str(), it.state)).collect();
    assert_eq!(services, [("MENSA", ServiceState::Active), ("TARI", ServiceState::Active)]);

    for (kind, namespace, name) in [
        ("Iban", &cluster.comune, "tesoreria"),
        ("PaymentService", &cluster.comune, "mensa"),
        ("Station", &cluster.platform, "valdarda-01"),
        ("Broker", &cluster.platform, "valdarda"),
        ("ServiceProfile", &cluster.platform, "comune-standard-1"),
    ] {
        assert_eq!(cluster.validated(kind, namespace, name).await?["status"], "True", "{kind}");
    }
    let events = eventually(SOON, async || {
        let events = cluster.events(&cluster.comune).await?;
        ensure!(events.iter().any(|note| note.starts_with("Payable is True")), "{events:?}");
        Ok::<_, anyhow::Error>(events)
    })
    .await?;
    assert!(events.iter().any(|note| note.starts_with("Ready is True")), "{events:?}");

    let metrics = telemetry().metrics_text()?;
    for (metric, suffix) in [
        (Metric::Reconcile, "_total"),
        (Metric::ReconcileDuration, "_seconds_count"),
        (Metric::StatusPatch, "_total"),
        (Metric::ExternalCallDuration, "_seconds_count"),
        (Metric::ReconcileQueueDepth, ""),
        (Metric::WatchLastEventAge, "_seconds"),
        (Metric::IndexSize, ""),
        (Metric::Leader, ""),
    ] {
        let name = format!("{}{suffix}", metric.name());
        let scraped = metrics.lines().any(|line| line.split(['{', ' ']).next() == Some(&name));
        assert!(scraped, "{name} is missing");
    }
    cluster.finish(operator).await
}

#[tokio::test]
async fn a_second_look_at_an_unchanged_institution_writes_nothing() -> Result<()> {
    let cluster = Cluster::new().await?;
    let operator = cluster.operator()?;
    cluster.platform().await?;
    cluster.municipality().await?;
    cluster.reads(ConditionType::Payable, ConditionStatus::True).await?;
    quiet(&cluster).await?;
    let before = (cluster.versions().await?, cluster.events(&cluster.comune).await?, cluster.tenant.count(Call::Apply));
    let seq = cluster.tenant.stored(&cluster.fiscal_code).context("stored")?.config_seq;
    for _ in 0..3 {
        look_again(&cluster).await?;
    }
    assert_eq!(cluster.versions().await?, before.0);
    assert_eq!(cluster.events(&cluster.comune).await?, before.1);
    assert_eq!(cluster.tenant.count(Call::Apply), before.2);

    operator.stop().await?;
    let restarted = cluster.operator()?;
    eventually(SOON, async || {
        ensure!(cluster.tenant.count(Call::Apply) > before.2, "a new process brings the bundle once");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    look_again(&cluster).await?;
    assert_eq!(cluster.versions().await?, before.0, "and it changes nothing");
    assert_eq!(cluster.tenant.stored(&cluster.fiscal_code).context("stored")?.config_seq, seq);
    cluster.finish(restarted).await
}

/// Waits until nothing was asked for a while.
async fn quiet(cluster: &Cluster) -> Result<()> {
    eventually(SOON, async || {
        let before = cluster.tenant.world().calls.len();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let after = cluster.tenant.world().calls.len();
        ensure!(before == after, "{} calls", after - before);
        Ok::<_, anyhow::Error>(())
    })
    .await
}

/// Makes the operator look at everything, and waits until it has.
async fn look_again(cluster: &Cluster) -> Result<()> {
    let before = cluster.tenant.count(Call::Get);
    cluster.tenant.change(|_| {});
    eventually(SOON, async || {
        ensure!(cluster.tenant.count(Call::Get) > before, "nobody looked");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    quiet(cluster).await
}

#[tokio::test]
async fn changes_that_keep_coming_postpone_nothing() -> Result<()> {
    let cluster = Cluster::new().await?;
    let operator = cluster.operator()?;
    cluster.platform().await?;
    cluster.municipality().await?;
    cluster.reads(ConditionType::Ready, ConditionStatus::True).await?;
    quiet(&cluster).await?;
    let applied = cluster.tenant.count(Call::Apply);
    let started = Stopwatch::start();
    let mut cents = 1_000;
    while cluster.tenant.count(Call::Apply) < applied + 3 {
        ensure!(started.within(SOON), "nothing was brought to tenant while changes kept coming");
        cents += 1;
        let spec = json!({"code": "MENSA", "amount": {"maximumCents": cents}});
        cluster.apply("PaymentService", &cluster.comune, "mensa", spec).await?;
    }
    cluster.finish(operator).await
}

/// The first status and the finalizer do not get into each other's way: tenant has the bundle after one look.
#[tokio::test]
async fn a_new_institution_with_a_wrong_child_is_brought_at_the_first_try() -> Result<()> {
    let cluster = Cluster::new().await?;
    cluster.platform().await?;
    cluster.apply("Iban", &cluster.comune, "wrong", account(ODD_IBAN)).await?;
    cluster.municipality().await?;
    let operator = cluster.operator()?;
    let ready = cluster.reads(ConditionType::Ready, ConditionStatus::False).await?;
    assert_eq!(ready.reason, Reason::InvalidChild);
    let mut calls = cluster.tenant.world().calls.clone();
    calls.retain(|call| *call != Call::List); // of the look for what went meanwhile
    assert_eq!(calls[..3], [Call::Get, Call::Acquire, Call::Apply]);
    let object = cluster.institutions(&cluster.comune).get("roccafiorina").await?;
    assert_eq!(object.finalizers(), [FINALIZER]);
    cluster.finish(operator).await
}

#[tokio::test]
async fn a_finalizer_of_somebody_else_stays() -> Result<()> {
    let cluster = Cluster::new().await?;
    let operator = cluster.operator()?;
    cluster.institution(&json!({})).await?;
    let others = "example.org/keeps";
    let patch = Patch::Merge(json!({"metadata": {"finalizers": [others]}}));
    cluster.api("CreditorInstitution", &cluster.comune).patch("roccafiorina", &PatchParams::default(), &patch).await?;
    cluster.reads(ConditionType::Validated, ConditionStatus::False).await?;
    cluster.platform().await?;
    cluster.municipality().await?;
    cluster.reads(ConditionType::Ready, ConditionStatus::True).await?;
    let object = cluster.institutions(&cluster.comune).get("roccafiorina").await?;
    assert_eq!(object.finalizers(), [others, FINALIZER]);
    cluster.delete("CreditorInstitution", "roccafiorina").await?;
    eventually(SOON, async || {
        let object = cluster.institutions(&cluster.comune).get("roccafiorina").await?;
        ensure!(object.finalizers() == [others], "{:?}", object.finalizers());
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    cluster.api("CreditorInstitution", &cluster.comune).patch("roccafiorina", &PatchParams::default(), &patch).await?;
    cluster.finish(operator).await
}

#[tokio::test]
async fn ready_follows_the_watermarks() -> Result<()> {
    let cluster = Cluster::new().await?;
    cluster.tenant.world().distribution = DistributionState::Pending;
    let operator = cluster.operator()?;
    cluster.platform().await?;
    cluster.municipality().await?;
    assert_eq!(cluster.reads(ConditionType::Ready, ConditionStatus::Unknown).await?.reason, Reason::Pending);
    cluster.reads(ConditionType::Reconciling, ConditionStatus::True).await?;
    cluster.tenant.change(|world| world.distribution = DistributionState::Acknowledged);
    cluster.reads(ConditionType::Ready, ConditionStatus::True).await?;
    cluster.tenant.change(|world| world.distribution = DistributionState::NoReplica);
    let unknown = cluster.reads(ConditionType::Ready, ConditionStatus::Unknown).await?;
    assert_eq!(unknown.reason, Reason::NoReplica);
    assert!(unknown.message.contains("node-connector"), "{}", unknown.message);
    cluster.tenant.change(|world| world.distribution = DistributionState::Acknowledged);
    cluster.reads(ConditionType::Ready, ConditionStatus::True).await?;
    cluster.tenant.change(|world| world.registered = false);
    assert_eq!(cluster.reads(ConditionType::Payable, ConditionStatus::False).await?.reason, Reason::NotAssociated);
    cluster.finish(operator).await
}

#[tokio::test]
async fn a_conflict_stalls_until_it_is_resolved() -> Result<()> {
    let cluster = Cluster::new().await?;
    let words = "CreditorInstitution altro/vecchio has this fiscal code: delete one of them".to_owned();
    let code = cluster.fiscal_code.clone();
    cluster.tenant.world().verdicts.insert(code.clone(), (ApplyResult::Conflict, words.clone()));
    let operator = cluster.operator()?;
    cluster.platform().await?;
    cluster.municipality().await?;
    let stalled = cluster.reads(ConditionType::Stalled, ConditionStatus::True).await?;
    assert_eq!((stalled.reason, stalled.message), (Reason::Conflict, words));
    assert_eq!(cluster.reads(ConditionType::Ready, ConditionStatus::False).await?.reason, Reason::Conflict);
    cluster.tenant.change(|world| world.verdicts.clear());
    cluster.reads(ConditionType::Ready, ConditionStatus::True).await?;
    assert!(cluster.status().await?.condition(ConditionType::Stalled).is_none());
    cluster.finish(operator).await
}

#[tokio::test]
async fn children_come_change_and_go() -> Result<()> {
    let cluster = Cluster::new().await?;
    let operator = cluster.operator()?;
    cluster.platform().await?;
    cluster.municipality().await?;
    cluster.reads(ConditionType::Ready, ConditionStatus::True).await?;
    let mensa = async |expected: &str, maximum: i64| {
        eventually(SOON, async || {
            let stored = cluster.tenant.stored(&cluster.fiscal_code).context("stored")?;
            let services = stored.children.values().filter(|child| child.kind() == ResourceKind::Service);
            let mut services = services.map(|child| (child.uid.clone(), ServiceSpec::decode(&child.spec[..]).unwrap()));
            let (uid, spec) = services.find(|(_, spec)| spec.code == "MENSA").context("no MENSA")?;
            ensure!(uid.contains(expected) && spec.maximum_cents == maximum, "{uid}: {spec:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await
    };
    mensa("", 0).await?;
    cluster
        .apply("PaymentService", &cluster.comune, "mensa", json!({"code": "MENSA", "amount": {"maximumCents": 900}}))
        .await?;
    mensa("", 900).await?;
    cluster.delete("PaymentService", "mensa").await?;
    // What the profile brings is back in its place.
    mensa("/MENSA", 0).await?;
    cluster.delete("Iban", "tesoreria").await?;
    let wrong = cluster.reads(ConditionType::Validated, ConditionStatus::False).await?;
    assert!(wrong.message.contains("Iban tesoreria does not exist"), "{}", wrong.message);
    cluster.finish(operator).await
}

#[tokio::test]
async fn a_secret_that_comes_later_is_taken() -> Result<()> {
    let cluster = Cluster::new().await?;
    cluster.platform().await?;
    let secrets: Api<Secret> = Api::namespaced(cluster.client.clone(), &cluster.platform);
    secrets.delete("pagopa", &DeleteParams::default()).await?;
    // From here on: one that read the Secret before would believe it for a while.
    let operator = cluster.operator()?;
    cluster.municipality().await?;
    let wrong = cluster.reads(ConditionType::Validated, ConditionStatus::False).await?;
    assert_eq!(wrong.reason, Reason::InvalidReference);
    let text = format!("Secret {}/pagopa does not exist: create it with the key backoffice", cluster.platform);
    assert!(wrong.message.contains(&text), "{}", wrong.message);
    assert_eq!(cluster.validated("Broker", &cluster.platform, "valdarda").await?["reason"], "InvalidReference");
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pagopa"}, "stringData": {"backoffice": "0123456789abcdef\n"}});
    secrets.patch("pagopa", &PatchParams::apply("test"), &Patch::Apply(secret)).await?;
    cluster.reads(ConditionType::Validated, ConditionStatus::True).await?;
    cluster.reads(ConditionType::Ready, ConditionStatus::True).await?;
    let stored = cluster.tenant.stored(&cluster.fiscal_code).context("stored")?;
    assert!(stored.shared.values().any(|resource| resource.kind() == ResourceKind::Broker));
    cluster.finish(operator).await
}

#[tokio::test]
async fn a_published_account_of_another_institution_gets_its_share() -> Result<()> {
    let cluster = Cluster::new().await?;
    let province = Parts::get().create_namespace(&cluster.client).await?;
    let watched = format!("--watch-namespaces={},{province}", cluster.comune);
    let mut options = cluster.options(&[]);
    options.watch_namespaces =
        watched.trim_start_matches("--watch-namespaces=").split(',').map(str::to_owned).collect();
    let operator = cluster.operator_with(options)?;
    cluster.platform().await?;
    let code = Parts::get().fiscal_code();
    let role = json!({
        "role": {"kind": "BeneficiaryOnly"}, "associations": null, "profiles": null, "portal": null,
        "platformRef": {"namespace": cluster.platform}, "legalName": "Provincia di Valdarda",
    });
    cluster.institution_in(&province, &code, &role).await?;
    cluster.apply("Iban", &province, "tefa", account(IBAN)).await?;
    let share = json!({"fiscalCode": code, "account": "tefa", "shareBasisPoints": 500});
    let tari = json!({"code": "TARI", "beneficiaries": [share]});
    cluster.apply("PaymentService", &cluster.comune, "tari", tari).await?;
    cluster.municipality().await?;
    let wrong = cluster.reads(ConditionType::Validated, ConditionStatus::False).await?;
    assert!(wrong.message.contains("has not published its Iban tefa"), "{}", wrong.message);

    let mut published = account(IBAN);
    published["published"] = true.into();
    cluster.apply("Iban", &province, "tefa", published).await?;
    cluster.reads(ConditionType::Ready, ConditionStatus::True).await?;
    let stored = cluster.tenant.stored(&cluster.fiscal_code).context("stored")?;
    let services = stored.children.values().filter(|child| child.kind() == ResourceKind::Service);
    let mut services = services.map(|child| ServiceSpec::decode(&child.spec[..]).unwrap());
    let tari = services.find(|spec| spec.code == "TARI").context("no TARI")?;
    assert_eq!(
        (tari.beneficiaries[0].legal_name.as_str(), tari.beneficiaries[0].account.as_str()),
        ("Provincia di Valdarda", "tefa")
    );
    cluster.finish(operator).await
}

/// Several manifests claim the province: its name and account are those of the one that tenant says holds it, though others are older.
#[tokio::test]
async fn a_rival_gives_a_beneficiary_neither_name_nor_invalidity() -> Result<()> {
    let cluster = Cluster::new().await?;
    let mut options = cluster.options(&[]);
    let mut namespaces = Vec::new();
    for _ in 0..4 {
        namespaces.push(Parts::get().create_namespace(&cluster.client).await?);
    }
    options.watch_namespaces.extend(namespaces.iter().cloned());
    cluster.platform().await?;
    let code = Parts::get().fiscal_code();
    let claims = |name: &str| {
        json!({
            "role": {"kind": "BeneficiaryOnly"}, "associations": null, "profiles": null, "portal": null,
            "platformRef": {"namespace": cluster.platform}, "legalName": name,
        })
    };
    // The third of four holds it. Rivals have no account of that name.
    for (index, namespace) in namespaces.iter().enumerate() {
        cluster.institution_in(namespace, &code, &claims(&format!("Provincia {index}"))).await?;
    }
    let mut published = account(IBAN);
    published["published"] = true.into();
    cluster.apply("Iban", &namespaces[2], "tefa", published).await?;
    let holder = cluster.institutions(&namespaces[2]).get("roccafiorina").await?.uid().context("a uid")?;
    let share = json!({"fiscalCode": code, "account": "tefa", "shareBasisPoints": 500});
    let tari = json!({"code": "TARI", "beneficiaries": [share]});
    cluster.apply("PaymentService", &cluster.comune, "tari", tari).await?;
    cluster.tenant.world().holders.insert(code.clone(), holder);
    let operator = cluster.operator_with(options)?;
    cluster.municipality().await?;
    // Until tenant has taken one nobody holds it, and the oldest counts: the others look again once it is known.
    eventually(SOON, async || {
        let stored = cluster.tenant.stored(&cluster.fiscal_code).context("stored")?;
        let services = stored.children.values().filter(|child| child.kind() == ResourceKind::Service);
        let mut services = services.map(|child| ServiceSpec::decode(&child.spec[..]).unwrap());
        let tari = services.find(|spec| spec.code == "TARI").context("no TARI")?;
        let shown = tari.beneficiaries.first().map(|it| it.legal_name.clone());
        ensure!(shown.as_deref() == Some("Provincia 2"), "{shown:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    cluster.reads(ConditionType::Ready, ConditionStatus::True).await?;
    // A reconcile later it is the same, also while tenant is away.
    cluster.stop_tenant().await;
    cluster.institution(&json!({"officeName": "Ufficio tributi"})).await?;
    cluster.reads(ConditionType::Ready, ConditionStatus::Unknown).await?;
    cluster.reads(ConditionType::Validated, ConditionStatus::True).await?;
    cluster.finish(operator).await
}
