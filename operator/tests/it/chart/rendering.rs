//! What helm makes of the charts, without a cluster.

use std::collections::BTreeSet;

use anyhow::Result;
use clap::{CommandFactory as _, Parser as _};
use fiorino_operator::Options;
use fiorino_test_support::workspace_root;
use serde_json::{Value, json};

use super::{LEAST, Rendered, chart, helm, values};
use crate::world::SEAL_KEY;

/// Flags that a pod has no use for.
const NOT_IN_A_POD: [&str; 1] = ["kubeconfig"];

/// Every value that makes a difference to the arguments.
const EVERYTHING: [&str; 13] = [
    "--set=platform=platform",
    "--set=watchNamespaces={comune,altro}",
    "--set=allowedHostnames={example.it,example.org}",
    "--set=tenant.endpoints={https://tenant-0.tenant:7000,https://tenant-1.tenant:7000}",
    "--set=lease=other",
    "--set=concurrency=7",
    "--set=resyncSeconds=86400",
    "--set=admin.address=[::]",
    "--set=admin.port=9191",
    "--set=telemetry.otlpEndpoint=http://collector:4317",
    "--set-json=telemetry.traceRatio=0.5",
    "--set=telemetry.logFormat=text",
    "--set=telemetry.logFilter=debug",
];

#[tokio::test]
async fn lint_finds_nothing() -> Result<()> {
    let example = workspace_root().join("examples/operator-values.yaml").display().to_string();
    for values in [example, values("on"), values("off")] {
        helm(&["lint", "--strict", &chart("fiorino"), "--values", &values]).await?;
    }
    helm(&["lint", "--strict", &chart("fiorino-crds")]).await?;
    Ok(())
}

#[tokio::test]
async fn cluster_mode() -> Result<()> {
    insta::assert_snapshot!(Rendered::new(&[]).await?.text);
    Ok(())
}

#[tokio::test]
async fn namespace_mode() -> Result<()> {
    insta::assert_snapshot!(Rendered::new(&EVERYTHING).await?.text);
    Ok(())
}

#[tokio::test]
async fn everything_on() -> Result<()> {
    insta::assert_snapshot!(Rendered::of("on").await?.text);
    Ok(())
}

#[tokio::test]
async fn everything_off() -> Result<()> {
    insta::assert_snapshot!(Rendered::of("off").await?.text);
    Ok(())
}

#[tokio::test]
async fn metrics_are_for_nobody_when_nobody_is_named() -> Result<()> {
    let rendered = Rendered::new(&["--set-json=networkPolicy.metricsFrom=[]"]).await?;
    let spec = &rendered.one("NetworkPolicy")["spec"];
    assert_eq!((&spec["ingress"], &spec["policyTypes"][0]), (&json!([]), &json!("Ingress")));
    Ok(())
}

/// So that no branch of a template is left that nobody has seen.
#[test]
fn on_says_everything_and_off_makes_nothing() {
    let read = |file: &str| serde_saphyr::from_str(&fs_err::read_to_string(file).unwrap()).unwrap();
    let defaults: Value = read(&format!("{}/values.yaml", chart("fiorino")));
    let (on, off): (Value, Value) = (read(&values("on")), read(&values("off")));
    let mut wrong = Vec::new();
    differences("", &defaults, &on, &off, &mut wrong);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn differences(path: &str, default: &Value, on: &Value, off: &Value, wrong: &mut Vec<String>) {
    match default.as_object().filter(|fields| !fields.is_empty()) {
        Some(fields) => {
            for (name, default) in fields {
                differences(&format!("{path}.{name}"), default, &on[name], &off[name], wrong);
            }
        }
        None if path.ends_with(".create") => {
            let right = (on, off) == (&json!(true), &json!(false));
            wrong.extend((!right).then(|| format!("{path} is {on} and {off}")));
        }
        None if on.is_null() || on == default => wrong.push(format!("{path} is {on} in on, by default {default}")),
        None => {}
    }
}

#[tokio::test]
async fn every_flag_of_the_operator_has_a_value() -> Result<()> {
    let arguments = Rendered::new(&EVERYTHING).await?.arguments();
    let given: BTreeSet<&str> =
        arguments.iter().filter_map(|argument| argument.strip_prefix("--")?.split('=').next()).collect();
    let command = Options::command();
    let flags = command.get_arguments().filter_map(clap::Arg::get_long).filter(|flag| !NOT_IN_A_POD.contains(flag));
    assert_eq!(given, flags.collect());

    let options = Options::try_parse_from([String::from("operator")].iter().chain(&arguments))?;
    assert_eq!(options.namespaces(), ["altro", "comune", "platform"]);
    assert_eq!(options.allowed_hostnames, ["example.it", "example.org"]);
    assert_eq!(options.tenant_endpoints.len(), 2);
    assert_eq!((options.lease.as_str(), options.concurrency, options.resync_seconds), ("other", 7, 86_400));
    assert_eq!(options.admin.admin_listen.to_string(), "[::]:9191");
    Ok(())
}

#[tokio::test]
async fn the_charts_defaults_are_the_operators() -> Result<()> {
    let arguments = Rendered::new(&[]).await?.arguments();
    let options = Options::try_parse_from([String::from("operator")].iter().chain(&arguments))?;
    let command = Options::command();
    // Loopback is no address for a probe.
    for flag in command.get_arguments().filter(|flag| flag.get_id() != "admin_listen") {
        let (Some(name), [default]) = (flag.get_long(), flag.get_default_values()) else { continue };
        let argument = format!("--{name}={}", default.to_string_lossy());
        assert!(arguments.contains(&argument), "{argument} is not in {arguments:?}");
    }
    assert!((options.telemetry.trace_ratio - 0.05).abs() < f64::EPSILON);
    assert!(options.namespaces().is_empty() && options.platform == "fiorino");
    Ok(())
}

#[rstest::rstest]
#[case("--set=environment=uat", "environment")]
#[case("--set=tenant.endpoints={http://tenant:7000}", "tenant/endpoints")]
#[case("--set=tenant.endpoints={https://tenant}", "tenant/endpoints")]
#[case("--set=seal.publicKey=abc", "seal/publicKey")]
#[case("--set=tls.secretName=", "tls/secretName")]
#[case("--set=concurrency=0", "concurrency")]
#[case("--set-json=telemetry.traceRatio=1.01", "telemetry/traceRatio")]
#[case("--set=watchNamespaces={Comune}", "watchNamespaces")]
#[case("--set=subscriptionKeySecrets={''}", "subscriptionKeySecrets")]
#[case("--set=replica=3", "replica")]
#[tokio::test]
async fn a_wrong_value_is_told_by_its_name(#[case] value: &str, #[case] told: &str) {
    let error = format!("{:#}", Rendered::new(&[value]).await.unwrap_err());
    assert!(error.contains("values don't meet the specifications"), "{error}");
    assert!(error.contains(told), "{error}");
}

#[tokio::test]
async fn nothing_is_assumed_that_takes_real_money_or_cannot_work() {
    for (at, _) in LEAST.iter().enumerate().filter(|(_, value)| !value.contains("subscriptionKeySecrets")) {
        let chart = chart("fiorino");
        let key = format!("--set=seal.publicKey={SEAL_KEY}");
        let rest: Vec<&str> = LEAST.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, it)| *it).collect();
        let fixed = ["template", "fiorino", chart.as_str(), key.as_str()];
        helm(&[&fixed[..], &rest].concat()).await.unwrap_err();
    }
}

#[test]
fn every_value_has_a_default_and_a_description() {
    let text = |file: &str| fs_err::read_to_string(workspace_root().join("charts/fiorino").join(file)).unwrap();
    let schema: Value = serde_json::from_str(&text("values.schema.json")).unwrap();
    let values: Value = serde_saphyr::from_str(&text("values.yaml")).unwrap();
    let mut wrong = Vec::new();
    compare("", &schema, &values, &mut wrong);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn compare(path: &str, schema: &Value, values: &Value, wrong: &mut Vec<String>) {
    let Some(properties) = schema["properties"].as_object() else { return };
    for (name, property) in properties.iter().filter(|(name, _)| *name != "global") {
        let path = format!("{path}.{name}");
        if property["description"].as_str().is_none_or(str::is_empty) {
            wrong.push(format!("{path} has no description"));
        }
        match values.get(name) {
            Some(value) => compare(&path, property, value, wrong),
            None => wrong.push(format!("{path} has no default")),
        }
    }
    // The other way round helm itself refuses what the schema does not know.
}
