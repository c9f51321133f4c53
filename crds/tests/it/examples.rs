//! The examples are manifests that the API server takes.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use fiorino_test_support::{Parts, eventually};
use kube::api::{Patch, PatchParams};
use rstest::rstest;
use serde_json::{Value, json};

use crate::{cluster::Cluster, rules::base};

#[rstest]
#[case("platform.yaml", &["Broker", "Station", "ServiceProfile"])]
#[case("comune.yaml", &["CreditorInstitution", "Iban", "PaymentService"])]
#[case("provincia.yaml", &["CreditorInstitution", "Iban"])]
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

/// Flux runs kustomize over every directory, and Argo CD over many: what is applied as it is must be applied through it too.
#[rstest]
#[case("platform.yaml")]
#[case("comune.yaml")]
#[tokio::test]
async fn kustomize_leaves_them_fit_to_be_applied(#[case] file: &str) -> Result<()> {
    let cluster = Cluster::new().await?;
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(file))?;
    let documents: Vec<&str> = text.split("\n---\n").filter(|document| !document.contains("kind: Namespace")).collect();
    let directory = tempfile::tempdir()?;
    fs::write(directory.path().join(file), documents.join("\n---\n"))?;
    let labels = "labels: [{pairs: {app.kubernetes.io/part-of: fiorino}}]";
    let kustomization = format!("namespace: {}\nresources: [{file}]\n{labels}\n", cluster.namespace);
    fs::write(directory.path().join("kustomization.yaml"), kustomization)?;
    let built = kubectl(&["kustomize", &directory.path().to_string_lossy()])?;
    let through = directory.path().join("built.yaml");
    fs::write(&through, &built)?;
    let through = through.to_string_lossy();
    for way in [&["--server-side"][..], &[]] {
        let arguments = [&["apply", "--dry-run=server", "-f", through.as_ref()], way].concat();
        let shown = kubectl(&arguments)?;
        assert_eq!(shown.lines().count(), documents.len(), "{shown}");
    }
    Ok(())
}

/// A check digit that does not fit is a warning at apply: the object is taken, and whoever applies it reads it.
#[rstest]
#[case::right("80041780356", &[])]
#[case::wrong("80041780357", &["fiscalCode 80041780357: the check digit does not fit"])]
#[tokio::test]
async fn a_doubtful_fiscal_code_is_a_warning_at_apply(#[case] code: &str, #[case] warnings: &[&str]) -> Result<()> {
    let cluster = Cluster::new().await?;
    let mut institution = base("CreditorInstitution", "doubtful");
    institution["spec"]["fiscalCode"] = Value::from(code);
    institution["metadata"]["namespace"] = Value::from(cluster.namespace.clone());
    let mut service = base("PaymentService", "doubtful");
    service["metadata"]["namespace"] = Value::from(cluster.namespace.clone());
    service["spec"]["beneficiaries"] = json!([{"fiscalCode": code, "account": "tefa", "shareBasisPoints": 100}]);
    for manifest in [institution, service] {
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), manifest.to_string())?;
        // A policy is in effect some moments after it was installed.
        eventually(Duration::from_secs(30), async || {
            let output = Command::new("kubectl")
                .arg("--kubeconfig")
                .arg(Parts::get().kubeconfig())
                .args(["apply", "--server-side", "--dry-run=server", "-f"])
                .arg(file.path())
                .output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "{said}");
            for warning in warnings {
                ensure!(said.contains(warning), "{said:?} lacks {warning}");
            }
            ensure!(!warnings.is_empty() || !said.contains("check digit"), "{said}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

fn kubectl(arguments: &[&str]) -> Result<String> {
    let output = Command::new("kubectl").arg("--kubeconfig").arg(Parts::get().kubeconfig()).args(arguments).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn the_municipality_is_short_enough_to_be_read_aloud() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/comune.yaml");
    let lines = fs::read_to_string(path).unwrap().lines().count();
    assert!(lines <= 60, "comune.yaml has {lines} lines");
}
