//! Every object of the charts and of the examples is what the API server expects, field by field.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context as _, Result};
use fiorino_test_support::{Parts, eventually, helm_bin, workspace_root};
use http::Request;
use kube::Client;
use serde_json::{Map, Value, json};

use super::{Rendered, chart, helm, run};
use crate::cluster::{Cluster, SOON};

/// Kinds of the Prometheus operator, which has its own schemas: the API server of the tests knows none of them.
const FOREIGN: [&str; 2] = ["PrometheusRule", "ServiceMonitor"];
/// What refers to a schema beside it.
const COMPONENTS: &str = "#/components/schemas/";

#[tokio::test]
async fn everything_conforms_to_the_api_servers_schemas() -> Result<()> {
    // It installs our kinds: the examples are of them.
    Cluster::new().await?;
    let client = Parts::get().kube_client().await?;
    let dir = tempfile::tempdir()?;
    let root = workspace_root();
    let example = |name: &str| fs_err::read_to_string(root.join("examples").join(name));
    let texts = [
        ("cluster", Rendered::new(&[]).await?.text),
        ("namespaces", Rendered::new(&["--set=watchNamespaces={comune}"]).await?.text),
        ("unread", Rendered::new(&["--set-json=networkPolicy.metricsFrom=[]"]).await?.text),
        ("on", Rendered::of("on").await?.text),
        ("off", Rendered::of("off").await?.text),
        ("definitions", helm(&["template", "fiorino-crds", &chart("fiorino-crds")]).await?),
        ("platform", example("platform.yaml")?),
        ("comune", example("comune.yaml")?),
    ];
    let mut kinds = BTreeSet::new();
    let mut files = Vec::new();
    for (name, text) in &texts {
        for document in serde_saphyr::from_multiple::<Value>(text)? {
            let (version, kind) = (document["apiVersion"].as_str(), document["kind"].as_str());
            kinds.insert((version.context("apiVersion")?.to_owned(), kind.context("kind")?.to_owned()));
        }
        let file = dir.path().join(format!("{name}.yaml"));
        fs_err::write(&file, text)?;
        files.push(file.display().to_string());
    }
    for (version, kind) in kinds.iter().filter(|(_, kind)| !FOREIGN.contains(&kind.as_str())) {
        // A kind that was just defined is described a moment later.
        let schema = eventually(SOON, async || schema(&client, version, kind).await).await;
        let schema = schema.with_context(|| format!("{version} {kind}"))?;
        let file = dir.path().join(file_name(version, kind));
        fs_err::write(file, serde_json::to_vec(&schema)?)?;
    }
    assert!(kinds.len() > 12, "{kinds:?}");
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let said = kubeconform(dir.path(), &files).await?;
    assert!(said.contains("Invalid: 0, Errors: 0, Skipped: 2"), "{said}");

    // It bites: a field that nobody knows, in a chart as in an example.
    for (name, from, to) in [("cluster", "replicas:", "replica:"), ("comune", "fiscalCode:", "taxCode:")] {
        let (_, text) = texts.iter().find(|(it, _)| *it == name).context("a text")?;
        let file = dir.path().join("wrong.yaml");
        fs_err::write(&file, text.replace(from, to))?;
        let error = kubeconform(dir.path(), &[&file.display().to_string()]).await.unwrap_err().to_string();
        assert!(error.contains(to.trim_end_matches(':')), "{error}");
    }
    Ok(())
}

async fn kubeconform(schemas: &Path, files: &[&str]) -> Result<String> {
    let location = schemas.join("{{.Group}}-{{.ResourceAPIVersion}}-{{.ResourceKind}}.json").display().to_string();
    let skip = FOREIGN.join(",");
    let fixed = ["-strict", "-summary", "-verbose", "-skip", &skip, "-schema-location", &location];
    run(helm_bin()?.join("kubeconform"), &[&fixed, files].concat(), []).await
}

/// As kubeconform asks for it: the core group goes by the name of its version.
fn file_name(version: &str, kind: &str) -> String {
    let (group, version) = version.split_once('/').unwrap_or((version, version));
    format!("{group}-{version}-{}.json", kind.to_lowercase())
}

/// The schema of a kind, out of the API server's own description of itself.
async fn schema(client: &Client, api_version: &str, kind: &str) -> Result<Value> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let path = if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") };
    let request = Request::get(format!("/openapi/v3/{path}")).body(Vec::new())?;
    let mut document: Value = client.request(request).await?;
    let schemas = document["components"]["schemas"].as_object_mut().context("no schemas")?;
    let wanted = json!({"group": group, "version": version, "kind": kind});
    let is_wanted = |schema: &Value| {
        schema["x-kubernetes-group-version-kind"].as_array().is_some_and(|kinds| kinds.contains(&wanted))
    };
    let name = schemas.iter().find(|(_, schema)| is_wanted(schema)).context("no such kind")?.0.clone();
    let mut definitions = std::mem::take(schemas);
    definitions.values_mut().for_each(close);
    let reference = format!("#/definitions/{name}");
    Ok(json!({"$schema": "http://json-schema.org/draft-07/schema#", "$ref": reference, "definitions": definitions}))
}

/// The API server would drop a field that it does not know: here it is an error.
fn close(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(close),
        Value::Object(node) => {
            node.values_mut().for_each(close);
            if let Some(Value::String(reference)) = node.get_mut("$ref") {
                *reference = reference.replace(COMPONENTS, "#/definitions/");
            }
            if is_closed(node) {
                node.insert("additionalProperties".to_owned(), false.into());
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// An object that lists its fields and takes no others.
fn is_closed(node: &Map<String, Value>) -> bool {
    let open =
        ["additionalProperties", "x-kubernetes-preserve-unknown-fields"].iter().any(|key| node.contains_key(*key));
    node.get("type").is_some_and(|kind| kind == "object") && node.contains_key("properties") && !open
}
