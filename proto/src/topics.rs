//! What goes through Kafka: topic, key, payload, retention. The one place that names them.
//!
//! Payloads are protobuf; the envelope is CloudEvents in binary mode: headers `ce_id`, `ce_type`, `ce_source`,
//! `ce_specversion`, `ce_time` and, for traces, `traceparent`.

use std::time::Duration;

/// A topic as it is created and used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Topic {
    /// Name without the installation's prefix.
    pub name: &'static str,
    /// CloudEvents type of its messages.
    pub event_type: &'static str,
    /// Partitions at creation.
    pub partitions: i32,
    /// How long messages are kept; personal data must not outlive its row.
    pub retention: Duration,
}

/// [`crate::payments::v1::PaymentRecorded`], keyed by institution and notice number.
pub const PAYMENTS: Topic = Topic {
    name: "fiorino.payments.v1",
    event_type: "dev.fiorino.payments.v1.PaymentRecorded",
    partitions: 16,
    retention: Duration::from_secs(7 * 24 * 3600),
};

/// Every topic, for whoever creates them.
pub const ALL: &[Topic] = &[PAYMENTS];

// === impl Topic ===

impl Topic {
    /// Name with the installation's prefix; an empty prefix changes nothing.
    pub fn full_name(&self, prefix: &str) -> String {
        format!("{prefix}{}", self.name)
    }
}

/// The partitioning key of everything that concerns one notice: keeps the events of a notice in order.
pub fn notice_key(institution: &str, notice_number: &str) -> String {
    format!("{institution}/{notice_number}")
}
