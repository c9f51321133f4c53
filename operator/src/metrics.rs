//! What is measured, by names that no other file writes.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use fiorino_kit::{clock::Clock, telemetry::duration_histogram};
use opentelemetry::{
    KeyValue, global,
    metrics::{Counter, Histogram},
};

use crate::runtime::queue::Queue;

/// Every metric of the operator. Counters gain `_total` and durations `_seconds` where they are scraped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Reconciles by kind and outcome.
    Reconcile,
    /// Duration of a reconcile, by kind.
    ReconcileDuration,
    /// Institutions that wait for a reconcile.
    ReconcileQueueDepth,
    /// Pauses after failures.
    ReconcileBackoff,
    /// Writes of statuses, by outcome.
    StatusPatch,
    /// Time since a watch brought something, by kind.
    WatchLastEventAge,
    /// Objects known, by kind.
    IndexSize,
    /// Calls to tenant, by method and outcome.
    ExternalCallDuration,
    /// 1 where the process leads.
    Leader,
    /// 1 where tenant obeys another cluster.
    Superseded,
}

/// How a reconcile ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The world is as the manifest says.
    Done,
    /// The manifest is wrong: somebody was told.
    Invalid,
    /// Tenant refuses: nothing more happens until somebody acts.
    Stalled,
    /// Something was away: it is tried again.
    Failed,
    /// The manifest changed meanwhile: it is looked at anew.
    Superseded,
}

/// The instruments; cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    reconciles: Counter<u64>,
    durations: Histogram<f64>,
    backoffs: Histogram<f64>,
    patches: Counter<u64>,
    calls: Histogram<f64>,
    leader: Arc<AtomicBool>,
    superseded: Arc<AtomicBool>,
    watched: Arc<Mutex<BTreeMap<String, Watched>>>,
}

/// What a watch has brought; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Watched {
    last_event_ms: Arc<AtomicU64>,
    size: Arc<AtomicU64>,
}

/// The one label value of kinds that are reconciled.
const KIND: &str = "CreditorInstitution";

// === impl Metric ===

impl Metric {
    /// The name of the instrument.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reconcile => "reconcile",
            Self::ReconcileDuration => "reconcile_duration",
            Self::ReconcileQueueDepth => "reconcile_queue_depth",
            Self::ReconcileBackoff => "reconcile_backoff",
            Self::StatusPatch => "status_patch",
            Self::WatchLastEventAge => "watch_last_event_age",
            Self::IndexSize => "index_size",
            Self::ExternalCallDuration => "external_call_duration",
            Self::Leader => "leader",
            Self::Superseded => "leader_superseded",
        }
    }

    const fn description(self) -> &'static str {
        match self {
            Self::Reconcile => "Reconciles by kind and outcome",
            Self::ReconcileDuration => "Duration of a reconcile",
            Self::ReconcileQueueDepth => "Institutions that wait for a reconcile",
            Self::ReconcileBackoff => "Pauses after failures",
            Self::StatusPatch => "Writes of statuses by outcome",
            Self::WatchLastEventAge => "Time since a watch brought something",
            Self::IndexSize => "Objects known",
            Self::ExternalCallDuration => "Calls to other services",
            Self::Leader => "1 where the process leads",
            Self::Superseded => "1 where the process leads a cluster that another one followed: tenant obeys that one",
        }
    }
}

// === impl Outcome ===

impl Outcome {
    const fn label(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Invalid => "invalid",
            Self::Stalled => "stalled",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
        }
    }
}

// === impl Metrics ===

impl Metrics {
    /// The instruments of the global meter, observing `queue`.
    pub fn new(clock: &Clock, queue: &Queue) -> Self {
        let meter = global::meter("fiorino");
        let counter = |metric: Metric| meter.u64_counter(metric.name()).with_description(metric.description()).build();
        let histogram = |metric: Metric| duration_histogram(metric.name(), metric.description());
        let metrics = Self {
            reconciles: counter(Metric::Reconcile),
            durations: histogram(Metric::ReconcileDuration),
            backoffs: histogram(Metric::ReconcileBackoff),
            patches: counter(Metric::StatusPatch),
            calls: histogram(Metric::ExternalCallDuration),
            leader: Arc::default(),
            superseded: Arc::default(),
            watched: Arc::default(),
        };
        metrics.observe(clock, queue);
        metrics
    }

    fn observe(&self, clock: &Clock, queue: &Queue) {
        let meter = global::meter("fiorino");
        let gauge = |metric: Metric| meter.u64_observable_gauge(metric.name()).with_description(metric.description());
        let leader = Arc::clone(&self.leader);
        gauge(Metric::Leader).with_callback(move |it| it.observe(leader.load(Ordering::Relaxed).into(), &[])).build();
        let superseded = Arc::clone(&self.superseded);
        gauge(Metric::Superseded)
            .with_callback(move |it| it.observe(superseded.load(Ordering::Relaxed).into(), &[]))
            .build();
        let queue = queue.clone();
        gauge(Metric::ReconcileQueueDepth)
            .with_callback(move |it| it.observe(u64::try_from(queue.depth()).unwrap_or(u64::MAX), &[]))
            .build();
        let watched = Arc::clone(&self.watched);
        let sizes = Arc::clone(&self.watched);
        gauge(Metric::IndexSize)
            .with_callback(move |it| {
                for (kind, watched) in &*sizes.lock().unwrap_or_else(PoisonError::into_inner) {
                    it.observe(watched.size.load(Ordering::Relaxed), &[KeyValue::new("kind", kind.clone())]);
                }
            })
            .build();
        let clock = clock.clone();
        meter
            .f64_observable_gauge(Metric::WatchLastEventAge.name())
            .with_unit("s")
            .with_description(Metric::WatchLastEventAge.description())
            .with_callback(move |it| {
                let now = clock.monotonic();
                for (kind, watched) in &*watched.lock().unwrap_or_else(PoisonError::into_inner) {
                    let last = Duration::from_millis(watched.last_event_ms.load(Ordering::Relaxed));
                    it.observe(now.saturating_sub(last).as_secs_f64(), &[KeyValue::new("kind", kind.clone())]);
                }
            })
            .build();
    }

    /// Counts a reconcile.
    pub fn reconciled(&self, outcome: Outcome, took: Duration) {
        let kind = KeyValue::new("kind", KIND);
        self.reconciles.add(1, &[kind.clone(), KeyValue::new("outcome", outcome.label())]);
        self.durations.record(took.as_secs_f64(), &[kind]);
    }

    /// Notes a pause after a failure.
    pub fn backed_off(&self, delay: Duration) {
        self.backoffs.record(delay.as_secs_f64(), &[]);
    }

    /// Counts a write of a status.
    pub fn patched(&self, worked: bool) {
        self.patches.add(1, &[KeyValue::new("outcome", if worked { "ok" } else { "error" })]);
    }

    /// Notes a call to tenant.
    pub fn called(&self, method: &'static str, code: tonic::Code, took: Duration) {
        let labels = [
            KeyValue::new("service", "tenant"),
            KeyValue::new("method", method),
            KeyValue::new("outcome", format!("{code:?}")),
        ];
        self.calls.record(took.as_secs_f64(), &labels);
    }

    /// Says whether the process leads.
    pub fn leading(&self, leads: bool) {
        self.leader.store(leads, Ordering::Relaxed);
    }

    /// Says whether tenant obeys another cluster.
    pub fn superseded(&self, superseded: bool) {
        self.superseded.store(superseded, Ordering::Relaxed);
    }

    /// Where the watch of a kind notes what it brings.
    pub fn watched(&self, kind: &str) -> Watched {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).entry(kind.to_owned()).or_default().clone()
    }
}

// === impl Watched ===

impl Watched {
    /// Something came at `now` (monotonic), and `size` objects are known.
    pub fn seen(&self, now: Duration, size: usize) {
        self.last_event_ms.store(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.size.store(u64::try_from(size).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}
