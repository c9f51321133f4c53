//! What an SRE sees of the consumer.

use std::time::Duration;

use fiorino_kit::telemetry;
use fiorino_proto::topics::PAYMENTS;
use jiff::SignedDuration;
use opentelemetry::{
    KeyValue, global,
    metrics::{Counter, Histogram},
};

use crate::store::{self, Changes};

/// Instruments of the consumer.
#[derive(Debug)]
pub(crate) struct Metrics {
    messages: Counter<u64>,
    expired: Counter<u64>,
    delay: Histogram<f64>,
    process: Histogram<f64>,
}

// === impl Metrics ===

impl Metrics {
    pub(crate) fn new() -> Self {
        let messages = global::meter("fiorino.reporting")
            .u64_counter("fiorino.reporting.messages")
            .with_description("Messages taken in, by outcome: recorded, repeated, parked (alarm)")
            .build();
        let expired = global::meter("fiorino.reporting")
            .u64_counter("fiorino.reporting.messages.expired")
            .with_description("Messages that Kafka kept no longer when they were to be read: alarm")
            .build();
        let delay = telemetry::duration_histogram(
            "fiorino.reporting.delay",
            "Time from the event in tenant to its commit in reporting",
        );
        for outcome in ["recorded", "repeated", "parked"] {
            messages.add(0, &[KeyValue::new("outcome", outcome)]);
        }
        let process = telemetry::duration_histogram(
            "messaging.process.duration",
            "Time for a batch of messages to be recorded, by what made it fail",
        );
        expired.add(0, &[]);
        Self { messages, expired, delay, process }
    }

    /// A batch was recorded, or was not.
    pub(crate) fn processed(&self, error: Option<&store::Error>, took: Duration) {
        let error = match error {
            None => "",
            Some(store::Error::Overtaken) => "overtaken",
            Some(store::Error::Database(_)) => "database",
        };
        let labels = [KeyValue::new("messaging.destination.name", PAYMENTS.name), KeyValue::new("error.type", error)];
        self.process.record(took.as_secs_f64(), &labels);
    }

    pub(crate) fn recorded(&self, changes: &Changes, written: u64, delays: impl Iterator<Item = SignedDuration>) {
        let repeated = (changes.payments.len() as u64).saturating_sub(written);
        for (outcome, count) in [("recorded", written), ("repeated", repeated), ("parked", changes.parked.len() as u64)]
        {
            self.messages.add(count, &[KeyValue::new("outcome", outcome)]);
        }
        let expired = changes.expired.iter().map(|gap| u64::try_from(gap.to - gap.from).unwrap_or_default()).sum();
        self.expired.add(expired, &[]);
        delays.for_each(|delay| self.delay.record(delay.as_secs_f64(), &[]));
    }
}
