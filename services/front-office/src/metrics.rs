//! What is measured, named in one place. Durations and statuses by route are kit's.

use fiorino_kit::http::EVICTED;
use opentelemetry::{KeyValue, metrics::Counter};

/// The instruments of this service; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    lookups: Counter<u64>,
    limited: Counter<u64>,
    forwarded_ignored: Counter<u64>,
    /// Of the listener.
    pub(crate) connections_ended: Counter<u64>,
}

/// What came of a question for a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lookup {
    Found,
    Unknown,
    /// Tenant did not answer: an alarm when it lasts.
    Away,
}

// === impl Lookup ===

impl Lookup {
    const fn name(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Unknown => "unknown",
            Self::Away => "away",
        }
    }
}

// === impl Metrics ===

impl Metrics {
    pub(crate) fn new() -> Self {
        let meter = opentelemetry::global::meter("fiorino-front-office");
        let metrics = Self {
            lookups: meter
                .u64_counter("fiorino.front_office.lookups")
                .with_description("Notices that visitors asked for, by outcome")
                .build(),
            limited: meter
                .u64_counter("fiorino.front_office.limited")
                .with_description("Requests refused because one address asked too often")
                .build(),
            forwarded_ignored: meter
                .u64_counter("fiorino.front_office.forwarded_ignored")
                .with_description(
                    "Requests whose X-Forwarded-For was not believed: a proxy that is not trusted, or a visitor",
                )
                .build(),
            connections_ended: meter
                .u64_counter("fiorino.front_office.connections_ended")
                .with_description("Connections that ended early, by reason")
                .build(),
        };
        metrics.begin();
        metrics
    }

    /// 0 from the start: an alert on an increase sees the first one.
    fn begin(&self) {
        for lookup in [Lookup::Found, Lookup::Unknown, Lookup::Away] {
            self.lookups.add(0, &[KeyValue::new("outcome", lookup.name())]);
        }
        self.limited.add(0, &[]);
        self.forwarded_ignored.add(0, &[]);
        self.connections_ended.add(0, &[KeyValue::new("reason", EVICTED)]);
    }

    pub(crate) fn looked_up(&self, lookup: Lookup) {
        self.lookups.add(1, &[KeyValue::new("outcome", lookup.name())]);
    }

    pub(crate) fn forwarded_ignored(&self) {
        self.forwarded_ignored.add(1, &[]);
    }

    pub(crate) fn limited(&self) {
        self.limited.add(1, &[]);
    }
}
