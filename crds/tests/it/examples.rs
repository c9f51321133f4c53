//! The examples are manifests that the API server takes.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use kube::api::{Patch, PatchParams};
use rstest::rstest;
use serde_json::Value;

use crate::cluster::Cluster;

#[rstest]
#[case("platform.yaml", &["Broker", "Station", "ServiceProfile"])]
#[case("comune.yaml", &["CreditorInstitution", "Iban", "PaymentService"])]
#[tokio::test]
async fn the_api_server_takes_them(#[case] file: &str, #[case] kinds: &[&str]) -> Result<()> {
    let cluster = Cluster::new().await?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(file);
    let mut documents: Vec<Value> = serde_saphyr::from_multiple(&fs::read_to_string(path)?)?;
    documents.retain(|document| document["kind"] != "Namespace");
    let found: Vec<&str> = documents.iter().filter_map(|document| document["kind"].as_str()).collect();
    assert_eq!(found, kinds);
    for mut document in documents {
        document["metadata"]["namespace"] = Value::from(cluster.namespace.clone());
        let kind = document["kind"].as_str().context("a kind")?.to_owned();
        let name = document["metadata"]["name"].as_str().context("a name")?.to_owned();
        let params = PatchParams { dry_run: true, ..PatchParams::apply("examples") }.validation_strict();
        cluster
            .api(&kind)
            .patch(&name, &params, &Patch::Apply(&document))
            .await
            .with_context(|| format!("{kind} {name}"))?;
    }
    Ok(())
}

#[test]
fn the_municipality_is_short_enough_to_be_read_aloud() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/comune.yaml");
    let lines = fs::read_to_string(path).unwrap().lines().count();
    assert!(lines <= 60, "comune.yaml has {lines} lines");
}
