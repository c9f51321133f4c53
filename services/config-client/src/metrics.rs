//! What an SRE sees of a replica's configuration.

use opentelemetry::{
    global,
    metrics::{Counter, Gauge},
};

use crate::handle::Progress;

/// Instruments of one client.
#[derive(Debug)]
pub(crate) struct Metrics {
    config_seq: Gauge<i64>,
    connected: Gauge<u64>,
    refused: Gauge<u64>,
    reconnects: Counter<u64>,
    save_failures: Counter<u64>,
}

// === impl Metrics ===

impl Metrics {
    pub(crate) fn new() -> Self {
        let meter = global::meter("fiorino.config");
        let metrics = Self {
            config_seq: meter
                .i64_gauge("fiorino.config.seq")
                .with_description("Sequence of the configuration that is in effect at this replica")
                .build(),
            connected: meter
                .u64_gauge("fiorino.config.connected")
                .with_description("1 while tenant answers on the configuration stream")
                .build(),
            refused: meter
                .u64_gauge("fiorino.config.refused_resources")
                .with_description("Resources of the configuration that this replica refuses")
                .build(),
            reconnects: meter
                .u64_counter("fiorino.config.stream_failures")
                .with_description("Configuration streams that could not be opened or broke")
                .build(),
            save_failures: meter
                .u64_counter("fiorino.config.save_failures")
                .with_description("Attempts to save the configuration that failed")
                .build(),
        };
        // 0 from the start: an alert on an increase sees the first one.
        metrics.reconnects.add(0, &[]);
        metrics.save_failures.add(0, &[]);
        metrics
    }

    pub(crate) fn progress(&self, progress: &Progress) {
        self.config_seq.record(progress.config_seq, &[]);
        self.connected.record(u64::from(progress.connected), &[]);
        self.refused.record(progress.refused as u64, &[]);
    }

    pub(crate) fn stream_failed(&self) {
        self.reconnects.add(1, &[]);
    }

    pub(crate) fn save_failed(&self) {
        self.save_failures.add(1, &[]);
    }
}
