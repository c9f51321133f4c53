//! The newest of what was received.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

use crate::{
    metric::MetricPoint,
    span::{Span, as_text},
};

/// Spans and metrics, bounded; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Mutex<Inner>>,
}

/// Which spans; what is absent selects everything.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpanQuery {
    /// Its trace: 32 hexadecimal digits.
    pub trace_id: Option<String>,
    /// Its whole name.
    pub name: Option<String>,
    /// Its `service.name`.
    pub service: Option<String>,
    /// An attribute as `name=value`, the value as text.
    pub attribute: Option<String>,
    /// At most so many, the newest; default 1,000.
    pub limit: Option<usize>,
}

/// Which series; what is absent selects everything.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricQuery {
    /// Name of the instrument.
    pub name: Option<String>,
    /// Its `service.name`.
    pub service: Option<String>,
}

/// A trace in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TraceSummary {
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// Name of the span without parent; absent while it has not arrived.
    pub root: Option<String>,
    /// Who took part.
    pub services: BTreeSet<String>,
    /// Spans so far.
    pub spans: usize,
    /// Begin of the first span, in nanoseconds since 1970.
    pub start_unix_ns: u64,
    /// From the begin of the first to the end of the last span, in nanoseconds.
    pub duration_ns: u64,
}

/// A series: service, instance, instrument, attributes as JSON.
type Series = (String, String, String, String);

#[derive(Debug)]
struct Inner {
    spans_max: usize,
    spans: VecDeque<Arc<Span>>,
    traces: HashMap<String, VecDeque<Arc<Span>>>,
    metrics_max: usize,
    metrics: BTreeMap<Series, MetricPoint>,
}

const LIMIT: usize = 1_000;

// === impl Store ===

impl Store {
    /// An empty store for at most so many spans and series.
    pub fn new(spans_max: usize, metrics_max: usize) -> Self {
        let inner = Inner {
            spans_max: spans_max.max(1),
            spans: VecDeque::new(),
            traces: HashMap::new(),
            metrics_max: metrics_max.max(1),
            metrics: BTreeMap::new(),
        };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// Spans that match, in the order of arrival.
    pub fn spans(&self, query: &SpanQuery) -> Vec<Arc<Span>> {
        let inner = self.lock();
        let of_trace = query.trace_id.as_ref().map(|trace_id| inner.traces.get(trace_id));
        let candidates = match of_trace {
            Some(None) => return Vec::new(),
            Some(Some(spans)) => spans,
            None => &inner.spans,
        };
        let newest = candidates.iter().rev().filter(|span| query.matches(span));
        let mut found: Vec<_> = newest.take(query.limit.unwrap_or(LIMIT)).cloned().collect();
        found.reverse();
        found
    }

    /// The newest traces, newest first.
    pub fn traces(&self, limit: usize) -> Vec<TraceSummary> {
        let inner = self.lock();
        let mut traces: Vec<_> = inner.traces.iter().map(|(id, spans)| TraceSummary::new(id, spans)).collect();
        traces.sort_by(|a, b| b.start_unix_ns.cmp(&a.start_unix_ns).then_with(|| a.trace_id.cmp(&b.trace_id)));
        traces.truncate(limit);
        traces
    }

    /// Last values of the series that match.
    pub fn metrics(&self, query: &MetricQuery) -> Vec<MetricPoint> {
        let inner = self.lock();
        inner.metrics.values().filter(|point| query.matches(point)).cloned().collect()
    }

    /// Forgets everything.
    pub fn clear(&self) {
        let mut inner = self.lock();
        inner.spans.clear();
        inner.traces.clear();
        inner.metrics.clear();
    }

    pub(crate) fn add_spans(&self, spans: &[Arc<Span>]) {
        let mut inner = self.lock();
        for span in spans {
            inner.add(span);
        }
    }

    pub(crate) fn add_metrics(&self, points: impl Iterator<Item = MetricPoint>) {
        let mut inner = self.lock();
        for point in points {
            let attributes = serde_json::Value::from_iter(point.attributes.clone()).to_string();
            let series = (point.service.clone(), point.instance.clone(), point.name.clone(), attributes);
            if inner.metrics.contains_key(&series) || inner.metrics.len() < inner.metrics_max {
                inner.metrics.insert(series, point);
            }
        }
    }

    /// Each change is whole, so a panic elsewhere does not spoil the content.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Inner ===

impl Inner {
    fn add(&mut self, span: &Arc<Span>) {
        if self.spans.len() == self.spans_max {
            self.drop_oldest();
        }
        self.spans.push_back(Arc::clone(span));
        self.traces.entry(span.trace_id.clone()).or_default().push_back(Arc::clone(span));
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.spans.pop_front() else { return };
        if let Some(trace) = self.traces.get_mut(&oldest.trace_id) {
            // Both queues have the order of arrival: the oldest of all is the oldest of its trace.
            trace.pop_front();
            if trace.is_empty() {
                self.traces.remove(&oldest.trace_id);
            }
        }
    }
}

// === impl SpanQuery ===

impl SpanQuery {
    fn matches(&self, span: &Span) -> bool {
        self.name.as_ref().is_none_or(|name| *name == span.name)
            && self.service.as_ref().is_none_or(|service| *service == span.service)
            && self.attribute.as_ref().is_none_or(|wanted| has_attribute(span, wanted))
    }
}

fn has_attribute(span: &Span, wanted: &str) -> bool {
    let (name, value) = wanted.split_once('=').unwrap_or((wanted, ""));
    span.attributes.get(name).is_some_and(|found| as_text(found) == value)
}

// === impl MetricQuery ===

impl MetricQuery {
    fn matches(&self, point: &MetricPoint) -> bool {
        self.name.as_ref().is_none_or(|name| *name == point.name)
            && self.service.as_ref().is_none_or(|service| *service == point.service)
    }
}

// === impl TraceSummary ===

impl TraceSummary {
    fn new(trace_id: &str, spans: &VecDeque<Arc<Span>>) -> Self {
        let start = spans.iter().map(|span| span.start_unix_ns).min().unwrap_or_default();
        let end = spans.iter().map(|span| span.start_unix_ns.saturating_add(span.duration_ns)).max();
        Self {
            trace_id: trace_id.to_owned(),
            root: spans.iter().find(|span| span.parent_span_id.is_none()).map(|span| span.name.clone()),
            services: spans.iter().map(|span| span.service.clone()).collect(),
            spans: spans.len(),
            start_unix_ns: start,
            duration_ns: end.unwrap_or_default().saturating_sub(start),
        }
    }
}
