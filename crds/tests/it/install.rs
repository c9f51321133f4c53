//! Installed on a real API server: size, defaults, what `kubectl explain` and `kubectl get` show.

use std::{process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use fiorino_crds::{Broker, CreditorInstitution, Iban, PaymentService, ServiceProfile, Station};
use fiorino_test_support::{Parts, eventually};
use kube::api::{Patch, PatchParams};
use rstest::rstest;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    rules::{base, merge},
};

/// Beyond 256 KiB client-side apply fails, for its annotation.
const SIZE_MAX: usize = 200 * 1024;

#[test]
fn every_definition_is_small_enough_for_every_way_to_apply_it() {
    for definition in fiorino_crds::all() {
        let yaml = fiorino_crds::yaml(&definition).unwrap();
        let name = definition.spec.names.kind;
        assert!(yaml.len() < SIZE_MAX, "{name} has {} bytes", yaml.len());
    }
}

#[rstest]
#[case::broker("Broker", json!({}), serde_round_trip::<Broker>)]
#[case::station("Station", json!({}), serde_round_trip::<Station>)]
#[case::profile("ServiceProfile", json!({}), serde_round_trip::<ServiceProfile>)]
#[case::institution("CreditorInstitution", json!({}), serde_round_trip::<CreditorInstitution>)]
#[case::iban("Iban", json!({}), serde_round_trip::<Iban>)]
#[case::service("PaymentService", json!({}), serde_round_trip::<PaymentService>)]
#[case::half_a_broker("Broker", json!({"endpoints": {}}), serde_round_trip::<Broker>)]
#[case::half_a_station("Station", json!({"allowedNamespaces": {}}), serde_round_trip::<Station>)]
#[case::half_an_institution("CreditorInstitution", json!({"lifecycle": {}, "role": {}}), serde_round_trip::<CreditorInstitution>)]
#[case::half_a_service("PaymentService", json!({"dueDate": {}, "amount": {}}), serde_round_trip::<PaymentService>)]
#[tokio::test]
async fn the_servers_defaults_are_rusts(
    #[case] kind: &str,
    #[case] partial: Value,
    #[case] rust: fn(&Value) -> Value,
) -> Result<()> {
    let cluster = Cluster::new().await?;
    let mut minimal = base(kind, "defaults");
    merge(&mut minimal["spec"], &partial);
    let served = cluster.try_create(kind, &minimal).await?;
    assert_eq!(served.data["spec"], rust(&minimal)["spec"]);
    Ok(())
}

fn serde_round_trip<K: Serialize + DeserializeOwned>(manifest: &Value) -> Value {
    let typed: K = serde_json::from_value(manifest.clone()).unwrap();
    serde_json::to_value(typed).unwrap()
}

#[rstest]
#[case("creditorinstitutions.spec.associations.segregationCode", "assigned to the institution with this broker")]
#[case("enti.status.waitingFor.since", "Unit: instant")]
#[case("ibans.spec.numbers", "from then on entries are only withdrawn")]
#[case("psvc", "A service (tipo dovuto)")]
#[case("brokers.spec.subscriptionKeys.primary", "tried first")]
#[case("stations.spec.primitiveVersion", "paGetPaymentV2")]
#[case("serviceprofiles.spec.revision", "Unit: revision number")]
#[tokio::test]
async fn kubectl_explains(#[case] path: &str, #[case] text: &str) -> Result<()> {
    Cluster::new().await?;
    // The OpenAPI document follows the definition by a moment, and kubectl wraps lines.
    eventually(Duration::from_secs(30), async || {
        let shown = kubectl(&["explain", path])?;
        let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(shown.contains(text), "{path} shows {shown}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_category_lists_every_kind() -> Result<()> {
    let cluster = Cluster::new().await?;
    for definition in fiorino_crds::all() {
        let kind = definition.spec.names.kind;
        cluster.create(&kind, &base(&kind, "listed")).await?;
    }
    let since = "2026-11-22T10:42:00Z";
    let waiting =
        json!({"party": "PagoPA", "action": "AssociateStation", "since": since, "textEn": "x", "textIt": "x"});
    let ready = json!({
        "type": "Ready", "status": "Unknown", "reason": "Pending", "message": "", "observedGeneration": 1, "lastTransitionTime": since,
    });
    let status = json!({"status": {"stage": "Tested", "waitingFor": waiting, "conditions": [ready]}});
    let api = cluster.api("CreditorInstitution");
    api.patch_status("listed", &PatchParams::default(), &Patch::Merge(status)).await?;
    eventually(Duration::from_secs(30), async || {
        let shown = kubectl(&["get", "payments", "--namespace", &cluster.namespace])?;
        for definition in fiorino_crds::all() {
            let row = format!("{}.{}/", definition.spec.names.singular.context("a singular")?, fiorino_crds::GROUP);
            ensure!(shown.contains(&row), "{row} is missing in:\n{shown}");
        }
        for column in ["STAGE", "WAITING FOR", "SINCE", "READY", "AGE"] {
            ensure!(shown.contains(column), "{column} is missing in:\n{shown}");
        }
        let institution = shown.lines().find(|line| line.starts_with("creditorinstitution.")).context("no row")?;
        let cells: Vec<&str> = institution.split_whitespace().collect();
        ensure!(cells[1..3] == ["Tested", "PagoPA"] && cells[4] == "Unknown", "{institution}");
        Ok(())
    })
    .await
}

fn kubectl(arguments: &[&str]) -> Result<String> {
    let output = Command::new("kubectl").arg("--kubeconfig").arg(Parts::get().kubeconfig()).args(arguments).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
