//! The charts: what helm makes of them, whether the API server takes it, and what it lets the operator's account do.

mod conforming;
mod documented;
mod installed;
mod rendering;
mod rights;

use std::{ffi::OsStr, path::PathBuf, process::Stdio};

use anyhow::{Context as _, Result, ensure};
use fiorino_test_support::{helm_bin, workspace_root};
use serde_json::Value;
use tokio::process::Command;

use crate::world::SEAL_KEY;

/// Values that the chart cannot do without, where a test does not look at them.
const LEAST: [&str; 4] = [
    "--set=environment=Uat",
    "--set=tenant.endpoints={https://tenant.fiorino.svc:7000}",
    "--set=tls.secretName=operator-tls",
    "--set=subscriptionKeySecrets={pagopa}",
];

/// What a chart makes of its values.
#[derive(Debug)]
struct Rendered {
    text: String,
    documents: Vec<Value>,
}

// === impl Rendered ===

impl Rendered {
    /// The release `fiorino` in the namespace `fiorino`, with the least values and more.
    async fn new(more: &[&str]) -> Result<Self> {
        let key = format!("--set=seal.publicKey={SEAL_KEY}");
        Self::with(&[&[key.as_str()], &LEAST[..], more].concat()).await
    }

    /// The same with the values of a file alone.
    async fn of(file: &str) -> Result<Self> {
        Self::with(&["--values", &values(file)]).await
    }

    async fn with(flags: &[&str]) -> Result<Self> {
        let chart = chart("fiorino");
        let fixed = ["template", "fiorino", chart.as_str(), "--namespace=fiorino"];
        let text = helm(&[&fixed, flags].concat()).await?;
        let documents = serde_saphyr::from_multiple(&text)?;
        Ok(Self { text, documents })
    }

    fn one(&self, kind: &str) -> &Value {
        self.documents.iter().find(|document| document["kind"] == kind).unwrap()
    }

    /// What the container is started with.
    fn arguments(&self) -> Vec<String> {
        arguments(self.one("Deployment"))
    }
}

/// Arguments of the operator's container.
fn arguments(deployment: &Value) -> Vec<String> {
    let arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap();
    arguments.iter().map(|argument| argument.as_str().unwrap().to_owned()).collect()
}

/// Values in which everything is `on`, or `off`.
fn values(name: &str) -> String {
    workspace_root().join(format!("operator/tests/it/chart/values/{name}.yaml")).display().to_string()
}

fn chart(name: &str) -> String {
    workspace_root().join("charts").join(name).display().to_string()
}

/// Runs helm; what it complains about is the error.
async fn helm(args: &[&str]) -> Result<String> {
    // What it keeps between runs would be another test's.
    let home = tempfile::tempdir()?;
    let homes = ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"];
    run(helm_bin()?.join("helm"), args, homes.map(|name| (name, home.path().as_os_str()))).await
}

async fn run<'a>(
    program: PathBuf,
    args: &[&str],
    environment: impl IntoIterator<Item = (&'a str, &'a OsStr)>,
) -> Result<String> {
    let name = program.display().to_string();
    let child = Command::new(program).args(args).envs(environment).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = child.await.with_context(|| format!("failed to start {name}"))?;
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{name} {} failed: {complained}{said}", args.join(" "));
    Ok(said.into_owned())
}
