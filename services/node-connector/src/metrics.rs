//! What is measured, named in one place (pagopa.md 9.3). Prometheus shows counters with `_total`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use fiorino_kit::{clock::Clock, http::EVICTED};
use fiorino_wire::Operation;
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge, Histogram, Meter},
};

use crate::{
    backoffice::contract::{IbansPage, InstitutionsPage, Page as _},
    http::client_auth::Expiring,
    receipts::findings::OTHER,
};

/// Bounds of the durations of calls: 2 ms is what a verify takes, 2 s the node's KPI, 7 and 15 s its timeouts.
const SECONDS: [f64; 12] = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.3, 0.5, 1.0, 2.0, 7.0, 15.0];
/// Classes of work that can be full.
const CLASSES: [&str; 3] = ["notices", "receipts", "bodies"];
/// Why a body is not taken, or not kept.
const NOT_TAKEN: [&str; 5] = ["ambiguous", "too_long", "too_slow", "broken", "no_room"];
/// Names of elements that are counted apart: whatever the node sends, a label has no more values.
const ELEMENTS_MAX: usize = 16;
/// Receipts that have a name before it is a label: pagoPA's new elements are in every receipt, somebody's name in a broken one is not.
const ELEMENT_SEEN_MIN: u32 = 3;
/// Names that are remembered until they are seen often enough.
const ELEMENTS_RARE_MAX: usize = 256;
/// Listings of pagoPA's registry.
const LISTINGS: [&str; 2] = [InstitutionsPage::LISTING, IbansPage::LISTING];

/// Names of unknown elements.
#[derive(Debug, Default)]
struct Elements {
    /// Those that are counted apart.
    known: BTreeSet<String>,
    /// How often the others were seen.
    rare: BTreeMap<String, u32>,
}

/// The instruments of this service; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    meter: Meter,
    requests: Counter<u64>,
    seconds: Histogram<f64>,
    overloads: Counter<u64>,
    refused_answers: Counter<u64>,
    no_account: Counter<u64>,
    addressees: Counter<u64>,
    repetitions: Counter<u64>,
    unreadable: Counter<u64>,
    unknown_elements: Counter<u64>,
    elements: Arc<Mutex<Elements>>,
    not_taken: Counter<u64>,
    inbox_lag: Gauge<f64>,
    waiting: Gauge<u64>,
    deferred: Gauge<u64>,
    applied: Counter<u64>,
    readbacks: Counter<u64>,
    unreadable_lines: Counter<u64>,
    reloads: Counter<u64>,
    /// Of the listeners.
    pub(crate) connections_ended: Counter<u64>,
}

/// What waits in the inbox.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Backlog {
    /// Age of the oldest receipt that is not applied, in seconds.
    pub(crate) lag_seconds: f64,
    /// Receipts whose addressee could not be judged yet.
    pub(crate) waiting: u64,
    /// Receipts that tenant refused alone and that are tried again.
    pub(crate) deferred: u64,
}

// === impl Metrics ===

impl Metrics {
    pub(crate) fn new() -> Self {
        let meter = opentelemetry::global::meter("fiorino-node-connector");
        let counter = |name, text| meter.u64_counter(name).with_description(text).build();
        let gauge = |name, text| meter.u64_gauge(name).with_description(text).build();
        let metrics = Self {
            requests: counter("pa_requests", "Calls of the node, by operation, outcome and fault"),
            seconds: meter
                .f64_histogram("pa_request_duration")
                .with_unit("s")
                .with_description("Time from the request's head to its answer, by operation")
                .with_boundaries(SECONDS.to_vec())
                .build(),
            overloads: counter("pa_overloads", "Calls answered at once because their class was full"),
            refused_answers: counter("pa_answers_refused", "Answers that the writer refused: alarm"),
            no_account: counter(
                "pa_notices_without_account",
                "Calls for notices of which an account has no number today, answered PAA_SYSTEM_ERROR: alarm",
            ),
            addressees: counter("addressees_asked", "Addressees that were asked of tenant, by result"),
            repetitions: counter("receipts_retry_observed", "Equal repetitions of a receipt"),
            unreadable: counter("receipts_unreadable", "Bodies in which no receipt was found: alarm"),
            unknown_elements: counter(
                "receipts_unknown_elements",
                "Elements of receipts that the official schema does not know, by name: alarm",
            ),
            elements: Arc::default(),
            not_taken: counter(
                "receipts_not_taken",
                "Bodies that may be receipts, and did not come whole or were not kept, by reason: alarm",
            ),
            inbox_lag: meter
                .f64_gauge("receipts_inbox_lag")
                .with_unit("s")
                .with_description("Age of the oldest receipt that is not applied")
                .build(),
            waiting: gauge("receipts_waiting", "Receipts whose addressee could not be judged yet"),
            deferred: gauge("receipts_deferred", "Receipts that tenant refused alone and that are tried again: alarm"),
            applied: counter("receipts_applied", "Receipts that tenant took, by outcome"),
            readbacks: counter("registry_readbacks", "Readings of pagoPA's registry, by broker and outcome"),
            unreadable_lines: counter(
                "registry_lines_unreadable",
                "Lines of pagoPA's registry that were left out: alarm",
            ),
            reloads: counter(
                "node_certificate_reloads",
                "Changes of the certificates of the listener for the node, by outcome; failed: alarm",
            ),
            connections_ended: counter("node_connections_ended", "Connections that ended early, by reason"),
            meter,
        };
        metrics.begin();
        metrics
    }

    /// What is an alarm, or rare, is 0 from the start: an alert on an increase sees the first one.
    fn begin(&self) {
        for class in CLASSES {
            self.overloads.add(0, &[KeyValue::new("class", class)]);
        }
        for op in Operation::ALL {
            self.refused_answers.add(0, &[KeyValue::new("op", op.name())]);
            if !op.is_receipt() && op != Operation::Demand {
                self.no_account.add(0, &[KeyValue::new("op", op.name())]);
            }
        }
        self.repetitions.add(0, &[]);
        self.unreadable.add(0, &[]);
        self.unknown_elements.add(0, &[KeyValue::new("element", OTHER)]);
        for reason in NOT_TAKEN {
            self.not_taken.add(0, &[KeyValue::new("reason", reason)]);
        }
        for listing in LISTINGS {
            self.unreadable_lines.add(0, &[KeyValue::new("listing", listing)]);
        }
        for outcome in ["reloaded", "failed"] {
            self.reloads.add(0, &[KeyValue::new("outcome", outcome)]);
        }
        self.connections_ended.add(0, &[KeyValue::new("reason", EVICTED)]);
    }

    pub(crate) fn request(&self, op: &'static str, outcome: &'static str, fault: &'static str, took: Duration) {
        let op = KeyValue::new("op", op);
        self.seconds.record(took.as_secs_f64(), std::slice::from_ref(&op));
        self.requests.add(1, &[op, KeyValue::new("outcome", outcome), KeyValue::new("fault", fault)]);
    }

    pub(crate) fn overload(&self, class: &'static str) {
        self.overloads.add(1, &[KeyValue::new("class", class)]);
    }

    pub(crate) fn answer_refused(&self, op: &'static str) {
        self.refused_answers.add(1, &[KeyValue::new("op", op)]);
    }

    pub(crate) fn no_account(&self, op: &'static str) {
        self.no_account.add(1, &[KeyValue::new("op", op)]);
    }

    pub(crate) fn addressee(&self, result: &'static str) {
        self.addressees.add(1, &[KeyValue::new("result", result)]);
    }

    pub(crate) fn repetition(&self) {
        self.repetitions.add(1, &[]);
    }

    pub(crate) fn unreadable(&self) {
        self.unreadable.add(1, &[]);
    }

    /// An element of a receipt that the schema does not know; a name that comes often enough to be pagoPA's is logged, once.
    pub(crate) fn unknown_element(&self, name: &str) {
        let (name, new) = self.elements.lock().unwrap_or_else(PoisonError::into_inner).seen(name);
        if new {
            tracing::warn!(element = name, "receipts have an element that the schema of this version does not know");
        }
        self.unknown_elements.add(1, &[KeyValue::new("element", name.to_owned())]);
    }

    pub(crate) fn not_taken(&self, reason: &'static str) {
        self.not_taken.add(1, &[KeyValue::new("reason", reason)]);
    }

    pub(crate) fn backlog(&self, backlog: Backlog) {
        self.inbox_lag.record(backlog.lag_seconds, &[]);
        self.waiting.record(backlog.waiting, &[]);
        self.deferred.record(backlog.deferred, &[]);
    }

    pub(crate) fn applied(&self, outcome: &'static str, count: u64) {
        self.applied.add(count, &[KeyValue::new("outcome", outcome)]);
    }

    pub(crate) fn readback(&self, broker: &str, outcome: &'static str) {
        self.readbacks.add(1, &[KeyValue::new("broker", broker.to_owned()), KeyValue::new("outcome", outcome)]);
    }

    pub(crate) fn unreadable_lines(&self, listing: &'static str, count: u64) {
        self.unreadable_lines.add(count, &[KeyValue::new("listing", listing)]);
    }

    pub(crate) fn reloaded(&self, outcome: &'static str) {
        self.reloads.add(1, &[KeyValue::new("outcome", outcome)]);
    }

    /// Shows how long certificates are still accepted, whenever it is asked for.
    pub(crate) fn expiries(&self, clock: Clock, expiring: impl Fn() -> Vec<Expiring> + Send + Sync + 'static) {
        self.meter
            .f64_observable_gauge("node_certificate_expiry")
            .with_unit("s")
            .with_description(
                "Time until the server's certificate, a pin or an authority of the node's ends: alarm 60, 30 and 7 days before",
            )
            .with_callback(move |observer| {
                let now = clock.now();
                for Expiring { of, name, sha256, until } in expiring() {
                    let labels =
                        [KeyValue::new("of", of), KeyValue::new("name", name), KeyValue::new("sha256", sha256)];
                    observer.observe(until.duration_since(now).as_secs_f64(), &labels);
                }
            })
            .build();
    }
}

// === impl Elements ===

impl Elements {
    /// The name under which an element is counted, and whether it is counted so for the first time.
    fn seen<'a>(&mut self, name: &'a str) -> (&'a str, bool) {
        if self.known.contains(name) {
            return (name, false);
        }
        if name == OTHER || self.known.len() >= ELEMENTS_MAX {
            return (OTHER, false);
        }
        if self.rare.len() >= ELEMENTS_RARE_MAX && !self.rare.contains_key(name) {
            self.rare.clear();
        }
        let seen = self.rare.entry(name.to_owned()).or_default();
        *seen += 1;
        if *seen < ELEMENT_SEEN_MIN {
            return (OTHER, false);
        }
        self.rare.remove(name);
        self.known.insert(name.to_owned());
        (name, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_elements_are_bounded() {
        let mut elements = Elements::default();
        // Seen once it may be anything, also a person's name.
        assert_eq!([elements.seen("a0"), elements.seen("a0")], [(OTHER, false); 2]);
        assert_eq!([elements.seen("a0"), elements.seen("a0")], [("a0", true), ("a0", false)]);
        for _ in 0..ELEMENT_SEEN_MIN {
            for number in 1..100 {
                elements.seen(&format!("a{number}"));
            }
        }
        assert_eq!(elements.known.len(), ELEMENTS_MAX);
        assert_eq!((elements.seen("b"), elements.seen(OTHER)), ((OTHER, false), (OTHER, false)));
        let mut elements = Elements::default();
        for number in 0..10_000 {
            elements.seen(&format!("a{number}"));
        }
        assert!(elements.rare.len() <= ELEMENTS_RARE_MAX && elements.known.is_empty());
    }
}
