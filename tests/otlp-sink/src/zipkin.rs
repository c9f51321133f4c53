//! Traces on to a Zipkin viewer (`POST /api/v2/spans`, <https://zipkin.io/zipkin-api/>).
//!
//! The viewer may start later than the sink or be away for a while: what waits is sent again until it is taken. What waits is bounded;
//! what does not fit is dropped and counted, the sink's own store has it still.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use reqwest::{StatusCode, Url};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::span::{Span, Status, as_text};

/// Export requests that wait.
const QUEUE: usize = 1_024;
/// Export requests that are sent together.
const TOGETHER: usize = 64;
const TIMEOUT: Duration = Duration::from_secs(5);
const DELAY_MIN: Duration = Duration::from_millis(100);
const DELAY_MAX: Duration = Duration::from_secs(2);

type Batch = Vec<Arc<Span>>;

/// Takes spans and sends them in the background; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Forwarder {
    queue: mpsc::Sender<Batch>,
    counts: Counts,
}

/// Spans so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    sent: Arc<AtomicU64>,
    dropped: Arc<AtomicU64>,
}

struct Sender {
    client: reqwest::Client,
    url: Url,
    counts: Counts,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ZipkinSpan<'a> {
    trace_id: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_id: Option<&'a str>,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    /// Microseconds since 1970.
    timestamp: u64,
    /// Microseconds, at least 1.
    duration: u64,
    local_endpoint: Endpoint<'a>,
    annotations: Vec<Annotation<'a>>,
    tags: BTreeMap<&'a str, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint<'a> {
    service_name: &'a str,
}

#[derive(Debug, Serialize)]
struct Annotation<'a> {
    /// Microseconds since 1970.
    timestamp: u64,
    value: &'a str,
}

// === impl Forwarder ===

impl Forwarder {
    pub(crate) fn start(url: Url, token: CancellationToken) -> Result<Self> {
        // An error says that a provider is there already, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client =
            reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build().context("failed to make an HTTP client")?;
        let (queue, waiting) = mpsc::channel(QUEUE);
        let counts = Counts::default();
        let sender = Sender { client, url, counts: counts.clone() };
        tokio::spawn(async move { token.run_until_cancelled(sender.run(waiting)).await });
        Ok(Self { queue, counts })
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts.clone()
    }

    pub(crate) fn offer(&self, spans: Batch) {
        let count = spans.len();
        if self.queue.try_send(spans).is_err() {
            Counts::add(&self.counts.dropped, count);
        }
    }
}

// === impl Counts ===

impl Counts {
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn add(to: &AtomicU64, count: usize) {
        to.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

// === impl Sender ===

impl Sender {
    async fn run(self, mut waiting: mpsc::Receiver<Batch>) {
        let mut batches = Vec::with_capacity(TOGETHER);
        while waiting.recv_many(&mut batches, TOGETHER).await > 0 {
            let spans: Vec<_> = batches.drain(..).flatten().collect();
            self.deliver(&spans).await;
        }
    }

    /// Until the viewer has them, or says that it never will.
    async fn deliver(&self, spans: &[Arc<Span>]) {
        let body: Vec<_> = spans.iter().map(|span| ZipkinSpan::from(span.as_ref())).collect();
        let mut delay = DELAY_MIN;
        loop {
            match self.client.post(self.url.clone()).json(&body).send().await.map(|response| response.status()) {
                Ok(status) if status.is_success() => return Counts::add(&self.counts.sent, spans.len()),
                Ok(status) if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
                    tracing::warn!(status = %status, spans = spans.len(), "viewer refused spans");
                    return Counts::add(&self.counts.dropped, spans.len());
                }
                Ok(status) => tracing::debug!(status = %status, "viewer is not ready"),
                Err(error) => tracing::debug!(error = %error, "viewer is away"),
            }
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(DELAY_MAX);
        }
    }
}

// === impl ZipkinSpan ===

impl<'a> From<&'a Span> for ZipkinSpan<'a> {
    fn from(span: &'a Span) -> Self {
        Self {
            trace_id: &span.trace_id,
            id: &span.span_id,
            parent_id: span.parent_span_id.as_deref(),
            name: &span.name,
            kind: (!matches!(span.kind.as_str(), "internal" | "unspecified")).then(|| span.kind.to_uppercase()),
            timestamp: span.start_unix_ns / 1_000,
            duration: (span.duration_ns / 1_000).max(1),
            local_endpoint: Endpoint { service_name: &span.service },
            annotations: annotations(span),
            tags: tags(span),
        }
    }
}

fn annotations(span: &Span) -> Vec<Annotation<'_>> {
    span.events.iter().map(|event| Annotation { timestamp: event.unix_ns / 1_000, value: &event.name }).collect()
}

/// Zipkin's tags are text, and `error` marks a span red.
fn tags(span: &Span) -> BTreeMap<&str, String> {
    let attributes = span.attributes.iter().map(|(key, value)| (key.as_str(), as_text(value).into_owned()));
    let mut tags: BTreeMap<_, _> = attributes.collect();
    if span.status == Status::Error {
        tags.insert("error", span.status_message.clone());
    }
    if !span.links.is_empty() {
        let links: Vec<_> = span.links.iter().map(|link| format!("{}/{}", link.trace_id, link.span_id)).collect();
        tags.insert("links", links.join(" "));
    }
    tags
}
