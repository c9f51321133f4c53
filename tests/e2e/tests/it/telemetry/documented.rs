//! docs/telemetry.md says what the processes expose, no less and no more.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use fiorino_rig::workspace_root;
use fiorino_test_support::eventually;
use serde_json::Value;

use super::{PATIENCE, Town, messages, scrape::Scrape, sink::Sink, visitors};

const DOCUMENT: &str = "docs/telemetry.md";

/// What the library adds to every process.
const TARGET: &str = "target_info";

/// A metric as it is exposed, or documented.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Metric {
    kind: String,
    labels: BTreeSet<String>,
    services: BTreeSet<String>,
}

/// By name.
type Metrics = BTreeMap<String, Metric>;

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_documented_and_every_documented_one_is_there() {
    let mut town = Town::payable().await;
    let notice = town.create_debt("documented").await;
    town.simulator("psp/pay", &town.notice(&notice)).await.unwrap();
    town.reported(&notice).await;
    let stranger = fiorino_e2e::town::Names { fiscal_code: "99999999990".to_owned(), ..town.names.clone() };
    messages::send(&town, &town.names.station, messages::verify(&stranger, &notice)).await.unwrap();

    assert_eq!(visitors::visit(&town, "/").await.unwrap(), 200);

    let mut exposed = Metrics::new();
    gather(&town, &mut exposed).await.unwrap();
    exported_by_the_same_names(&town).await.unwrap();
    // A pause of the operator is there once it had a reason for one.
    town.world.process("tenant").unwrap().stop().unwrap();
    town.apply(&town.names.town_manifest(town.platform(), "Comune di Roccafiorina Terme")).await.unwrap();
    eventually(PATIENCE, async || {
        let backoffs = Scrape::of(&town, "operator").await?.sum("reconcile_backoff_seconds_count", &[]);
        ensure!(backoffs > 0.0, "the operator has not noticed yet");
        Ok(())
    })
    .await
    .unwrap();
    town.world.restart("tenant").await.unwrap();
    gather(&town, &mut exposed).await.unwrap();
    assert_eq!(difference(&exposed, &documented()), Vec::<String>::new(), "{DOCUMENT} against the processes");
}

/// Adds what the processes expose now.
async fn gather(town: &Town, metrics: &mut Metrics) -> Result<()> {
    for process in Scrape::processes(town) {
        let scrape = Scrape::of(town, &process).await?;
        for (name, family) in scrape.families.iter().filter(|(name, _)| *name != TARGET) {
            ensure!(
                family.help.starts_with(|first: char| first.is_ascii_uppercase() || first == '1'),
                "{name}: {family:?}"
            );
            let metric = metrics.entry(name.clone()).or_default();
            metric.kind.clone_from(&family.kind);
            metric.labels.extend(scrape.labels(name).into_iter().map(str::to_owned));
            metric.services.insert(process.trim_end_matches(['-', '1', '2']).to_owned());
        }
    }
    for (name, metric) in &*metrics {
        let suffix = match metric.kind.as_str() {
            "counter" => "_total",
            "histogram" => "_seconds",
            _ => "",
        };
        ensure!(name.ends_with(suffix), "{name} is a {} and does not end in {suffix}", metric.kind);
    }
    Ok(())
}

/// Both ways out have the same metrics: a name of OTLP with the suffixes of Prometheus is a name at `/metrics`.
async fn exported_by_the_same_names(town: &Town) -> Result<()> {
    let sink = Sink::of(town);
    eventually(PATIENCE, async || {
        let mut exposed = Metrics::new();
        gather(town, &mut exposed).await?;
        let mut names = BTreeSet::new();
        for point in sink.metrics().await? {
            ensure!(["", "s"].contains(&point.unit.as_str()), "{}: unit {}", point.name, point.unit);
            let seconds = if point.unit == "s" { "_seconds" } else { "" };
            let name = format!("{}{seconds}", point.name.replace('.', "_"));
            let found = [name.clone(), format!("{name}_total")].into_iter().find(|name| exposed.contains_key(name));
            names.insert(found.unwrap_or(name));
        }
        let exposed: BTreeSet<_> = exposed.keys().cloned().collect();
        ensure!(names == exposed, "{:?}", names.symmetric_difference(&exposed).collect::<Vec<_>>());
        Ok(())
    })
    .await
}

fn difference(exposed: &Metrics, documented: &Metrics) -> Vec<String> {
    let names: BTreeSet<_> = exposed.keys().chain(documented.keys()).collect();
    let differs = names.into_iter().filter(|name| exposed.get(*name) != documented.get(*name));
    differs.map(|name| format!("{name}: {:?}, documented {:?}", exposed.get(name), documented.get(name))).collect()
}

/// The rows of the tables of metrics: `name`, kind, labels, services, meaning.
fn documented() -> Metrics {
    let row = |line: &str| {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [name, kind, labels, services, _] = cells.as_slice() else { return None };
        let name = name.strip_prefix('`')?.strip_suffix('`')?.to_owned();
        let labels = labels.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        let services = services.split(", ").map(str::to_owned).collect();
        Some((name, Metric { kind: (*kind).to_owned(), labels, services }))
    };
    section("Metrics").lines().filter_map(row).collect()
}

/// A section of the document.
fn section(title: &str) -> String {
    let text = fs_err::read_to_string(workspace_root().join(DOCUMENT)).unwrap();
    let sections = text.split("\n## ").find_map(|section| section.strip_prefix(title).map(str::to_owned));
    sections.unwrap_or_else(|| panic!("{DOCUMENT} has no section {title}"))
}

/// Expression, how long it holds, name, severity, meaning.
type Alert = [String; 5];

/// The rules that the chart brings.
fn rules() -> Vec<Alert> {
    let text = fs_err::read_to_string(workspace_root().join("charts/fiorino/alerts.yaml")).unwrap();
    let file: Value = serde_saphyr::from_str(&text).unwrap();
    let groups = file["groups"].as_array().unwrap();
    let rules = groups.iter().flat_map(|group| group["rules"].as_array().unwrap());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    rules
        .map(|rule| {
            let told = [&rule["expr"], &rule["for"], &rule["alert"], &rule["labels"]["severity"]];
            let [expression, lasts, name, severity] = told.map(text);
            [expression, lasts, name, severity, text(&rule["annotations"]["summary"])]
        })
        .collect()
}

#[test]
fn the_charts_rules_are_the_documented_ones() {
    let alerts = section("Alerts");
    let rows = alerts.lines().filter(|line| line.starts_with("| `"));
    let documented: Vec<Alert> = rows
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            let [expression, lasts, name, severity, means] = cells.as_slice() else { panic!("{line}") };
            [expression.trim_matches('`'), &lasts.replace(' ', ""), name, severity, means].map(str::to_owned)
        })
        .collect();
    assert_eq!(rules(), documented);
}

#[test]
fn alerts_ask_for_metrics_that_exist() {
    const FUNCTIONS: [&str; 1] = ["histogram_quantile"];
    let documented = documented();
    let labels: BTreeSet<_> = documented.values().flat_map(|metric| &metric.labels).collect();
    let rules = rules();
    assert!(rules.len() > 20, "{rules:?}");
    for [expression, ..] in &rules {
        let names = names(expression);
        assert!(!names.is_empty(), "{expression}");
        for name in names.into_iter().filter(|name| !FUNCTIONS.contains(&name.as_str()) && !labels.contains(name)) {
            let base = ["_bucket", "_count", "_sum"].iter().find_map(|suffix| name.strip_suffix(suffix));
            let known = documented.contains_key(&name) || base.is_some_and(|base| documented.contains_key(base));
            assert!(known, "{expression}: {name} is no metric");
        }
    }
}

/// The names of metrics in an expression: words with an underscore (and the one that has none), outside of the braces and brackets behind them.
fn names(expression: &str) -> Vec<String> {
    let outside = expression.split(['{', '[']).enumerate().map(|(at, part)| match at {
        0 => part,
        _ => part.split_once(['}', ']']).map_or("", |(_, rest)| rest),
    });
    let words = outside.flat_map(|part| part.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'));
    words.filter(|word| word.contains('_') || *word == "leader").map(str::to_owned).collect()
}
