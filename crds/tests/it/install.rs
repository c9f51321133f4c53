//! Installed on a real API server: size, defaults, what `kubectl explain` and `kubectl get` show.

use std::{process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use fiorino_crds::{Broker, CreditorInstitution, Iban, PaymentService, ServiceProfile, Station};
use fiorino_test_support::{Parts, eventually};
use rstest::rstest;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{cluster::Cluster, rules::base};

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
#[case::broker("Broker", serde_round_trip::<Broker>)]
#[case::station("Station", serde_round_trip::<Station>)]
#[case::profile("ServiceProfile", serde_round_trip::<ServiceProfile>)]
#[case::institution("CreditorInstitution", serde_round_trip::<CreditorInstitution>)]
#[case::iban("Iban", serde_round_trip::<Iban>)]
#[case::service("PaymentService", serde_round_trip::<PaymentService>)]
#[tokio::test]
async fn the_servers_defaults_are_rusts(#[case] kind: &str, #[case] rust: fn(&Value) -> Value) -> Result<()> {
    let cluster = Cluster::new().await?;
    let minimal = base(kind, "defaults");
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
#[case("ibans.spec.numbers", "never removed or edited")]
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
    eventually(Duration::from_secs(30), async || {
        let shown = kubectl(&["get", "payments", "--namespace", &cluster.namespace])?;
        for definition in fiorino_crds::all() {
            let row = format!("{}.{}/", definition.spec.names.singular.context("a singular")?, fiorino_crds::GROUP);
            ensure!(shown.contains(&row), "{row} is missing in:\n{shown}");
        }
        for column in ["STAGE", "WAITING FOR", "SINCE", "READY", "AGE"] {
            ensure!(shown.contains(column), "{column} is missing in:\n{shown}");
        }
        Ok(())
    })
    .await
}

fn kubectl(arguments: &[&str]) -> Result<String> {
    let output = Command::new("kubectl").arg("--kubeconfig").arg(Parts::get().kubeconfig()).args(arguments).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
