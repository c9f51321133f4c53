//! What is measured, named in one place. Durations and statuses by route are kit's.

use opentelemetry::{KeyValue, metrics::Counter};

/// The instruments of this service; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    lookups: Counter<u64>,
    limited: Counter<u64>,
}

/// What came of a question for a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lookup {
    Found,
    Unknown,
    /// Tenant did not answer: an alarm when it lasts.
    Away,
}

// === impl Metrics ===

impl Metrics {
    pub(crate) fn new() -> Self {
        let meter = opentelemetry::global::meter("fiorino-front-office");
        Self {
            lookups: meter
                .u64_counter("fiorino.front_office.lookups")
                .with_description("Notices that visitors asked for, by outcome")
                .build(),
            limited: meter
                .u64_counter("fiorino.front_office.limited")
                .with_description("Requests refused because one address asked too often")
                .build(),
        }
    }

    pub(crate) fn looked_up(&self, lookup: Lookup) {
        let outcome = match lookup {
            Lookup::Found => "found",
            Lookup::Unknown => "unknown",
            Lookup::Away => "away",
        };
        self.lookups.add(1, &[KeyValue::new("outcome", outcome)]);
    }

    pub(crate) fn limited(&self) {
        self.limited.add(1, &[]);
    }
}
