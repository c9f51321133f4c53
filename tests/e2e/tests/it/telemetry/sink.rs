//! What the OTLP sink of a world has received.

use anyhow::Result;
use fiorino_otlp_sink::{MetricPoint, Span};

use super::Town;

/// More than a world sends.
const EVERYTHING: usize = 1_000_000;

/// Spans and metrics as they were exported.
pub(super) struct Sink {
    url: String,
}

// === impl Sink ===

impl Sink {
    pub(super) fn of(town: &Town) -> Self {
        Self { url: town.world.addresses().sink_url.clone() }
    }

    /// Every span so far, in the order of arrival.
    pub(super) async fn spans(&self) -> Result<Vec<Span>> {
        Ok(reqwest::get(format!("{}/spans?limit={EVERYTHING}", self.url)).await?.json().await?)
    }

    /// The last value of every series.
    pub(super) async fn metrics(&self) -> Result<Vec<MetricPoint>> {
        Ok(reqwest::get(format!("{}/metrics", self.url)).await?.json().await?)
    }
}
