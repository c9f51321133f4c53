//! `/metrics` of a process, read as Prometheus reads it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};

use super::Town;

/// What a process that is no service answers: the tools of the tests have no metrics of their own.
const TOOLS: [&str; 2] = ["otlp-sink", "simulator"];

/// Everything that one process exposes.
#[derive(Debug, Default)]
pub(super) struct Scrape {
    /// By name.
    pub(super) families: BTreeMap<String, Family>,
    pub(super) samples: Vec<Sample>,
    /// As it came.
    pub(super) text: String,
}

/// Type and help of a metric.
#[derive(Debug, Default, Clone)]
pub(super) struct Family {
    pub(super) kind: String,
    pub(super) help: String,
}

/// A line.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) value: f64,
}

// === impl Scrape ===

impl Scrape {
    /// Scrapes a process by its name.
    pub(super) async fn of(town: &Town, process: &str) -> Result<Self> {
        let url = town.world.addresses().admin_urls.get(process).context("no such process")?;
        let response = reqwest::get(format!("{url}/metrics")).await?.error_for_status()?;
        Self::parse(response.text().await?)
    }

    /// Names of the processes that have metrics.
    pub(super) fn processes(town: &Town) -> Vec<String> {
        town.world.addresses().admin_urls.keys().filter(|name| !TOOLS.contains(&name.as_str())).cloned().collect()
    }

    fn parse(text: String) -> Result<Self> {
        let mut scrape = Self::default();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap_or((rest, ""));
                help.clone_into(&mut scrape.families.entry(name.to_owned()).or_default().help);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').context("a type has a name")?;
                kind.clone_into(&mut scrape.families.entry(name.to_owned()).or_default().kind);
            } else if !line.is_empty() {
                scrape.samples.push(Sample::parse(line)?);
            }
        }
        ensure!(!scrape.samples.is_empty(), "nothing is exposed");
        scrape.text = text;
        Ok(scrape)
    }

    /// The sum of the series of that name that have all these labels.
    pub(super) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.with(name, labels).map(|sample| sample.value).sum()
    }

    /// The series of that name that have all these labels.
    pub(super) fn with(&self, name: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = &Sample> {
        self.samples
            .iter()
            .filter(move |sample| sample.name == name && labels.iter().all(|(key, value)| sample.label(key) == *value))
    }

    /// The labels that the series of a metric have, without those of Prometheus itself.
    pub(super) fn labels(&self, family: &str) -> BTreeSet<&str> {
        let of_family = |sample: &&Sample| {
            let rest = sample.name.strip_prefix(family);
            rest.is_some_and(|rest| ["", "_bucket", "_sum", "_count"].contains(&rest))
        };
        let labels = self.samples.iter().filter(of_family).flat_map(|sample| sample.labels.keys());
        labels.map(String::as_str).filter(|label| *label != "le").collect()
    }
}

// === impl Sample ===

impl Sample {
    fn parse(line: &str) -> Result<Self> {
        let (series, value) = line.rsplit_once(' ').with_context(|| format!("{line:?} has no value"))?;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels = labels.trim_end_matches('}');
        // Values here hold no quotes.
        let pairs = labels.split("\",").filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once("=\"").with_context(|| format!("{pair:?} is no label"))?;
            Ok((key.to_owned(), value.trim_end_matches('"').to_owned()))
        });
        Ok(Self { name: name.to_owned(), labels: pairs.collect::<Result<_>>()?, value: value.parse()? })
    }

    /// A label's value; empty where it is absent, as Prometheus has it.
    pub(super) fn label(&self, key: &str) -> &str {
        self.labels.get(key).map_or("", String::as_str)
    }
}
