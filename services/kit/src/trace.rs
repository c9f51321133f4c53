//! W3C trace context: from here to wherever the work goes on (HTTP, gRPC, Kafka, a table's column).

mod http;

use opentelemetry::{
    Context,
    propagation::{Extractor, Injector, TextMapPropagator},
    trace::{SpanContext, TraceContextExt as _},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

pub use self::http::{HttpLayer, HttpService, http_layer, public_http_layer};

/// Name of the HTTP, gRPC and Kafka header (<https://www.w3.org/TR/trace-context/>).
pub const TRACEPARENT: &str = "traceparent";

/// A `traceparent` alone, as in a column or a Kafka header.
struct Single<'a>(&'a str);

/// The headers of a request to be sent.
struct HeadersMut<'a>(&'a mut ::http::HeaderMap);

/// The current span as a `traceparent`, to be stored or sent; `None` outside a trace.
pub fn current_traceparent() -> Option<String> {
    traceparent(&Span::current())
}

/// The span as a `traceparent`; `None` when it belongs to no trace.
pub fn traceparent(span: &Span) -> Option<String> {
    let context = span_context(span)?;
    Some(format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags()))
}

/// Makes the current span a child of `traceparent`; must come before the span has children. Nonsense is ignored.
pub fn parent_from(traceparent: &str) {
    set_parent(&Span::current(), traceparent);
}

/// Makes `span` a child of `traceparent`; must come before the span is entered. Nonsense is ignored.
pub fn set_parent(span: &Span, traceparent: &str) {
    adopt(span, extract(&Single(traceparent)));
}

/// Links `span` to `traceparent`: for work done for several traces at once. Nonsense is ignored.
pub fn link(span: &Span, traceparent: &str) {
    let context = extract(&Single(traceparent));
    let linked = context.span().span_context().clone();
    if linked.is_valid() {
        span.add_link(linked);
    }
}

/// Names the span after what it turned out to be, and says so in attributes: `tracing` itself cannot rename a span that has begun.
pub fn rename(span: &Span, name: &'static str, attributes: &[(&'static str, &'static str)]) {
    span.context().span().update_name(name);
    for (key, value) in attributes {
        span.set_attribute(*key, *value);
    }
}

/// The span of work that is done for several traces at once: `work` makes it of the first span of a sampled trace; it and the spans of
/// the other sampled traces are linked to each other, so that every trace leads to the work and the work to every trace. Nobody
/// sampled: no span, the work is no trace of its own.
pub fn shared<'a>(spans: impl IntoIterator<Item = &'a Span>, work: impl FnOnce(&Span) -> Span) -> Span {
    let mut sampled = spans.into_iter().filter_map(|span| {
        let context = span_context(span)?;
        context.is_sampled().then_some((span, context))
    });
    let Some((first, _)) = sampled.next() else { return Span::none() };
    let span = work(first);
    let Some(context) = span_context(&span) else { return span };
    for (other, linked) in sampled {
        span.add_link(linked);
        other.add_link(context.clone());
    }
    span
}

/// Adds the current span's context to the headers of an outgoing request.
pub fn inject(headers: &mut ::http::HeaderMap) {
    inject_span(&Span::current(), headers);
}

/// Adds the span's context to the headers of an outgoing request.
pub(crate) fn inject_span(span: &Span, headers: &mut ::http::HeaderMap) {
    TraceContextPropagator::new().inject_context(&span.context(), &mut HeadersMut(headers));
}

/// Makes `span` a child of the caller, if it told its trace. Its `tracestate` is left: whoever calls can write anything into it, and it
/// would be exported with every span.
pub fn set_parent_from_headers(span: &Span, headers: &::http::HeaderMap) {
    if let Some(traceparent) = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()) {
        set_parent(span, traceparent);
    }
}

/// The span's place in its trace; `None` when it belongs to none.
pub(crate) fn span_context(span: &Span) -> Option<SpanContext> {
    let context = span.context();
    let context = context.span().span_context().clone();
    context.is_valid().then_some(context)
}

fn extract(carrier: &dyn Extractor) -> Context {
    TraceContextPropagator::new().extract_with_context(&Context::new(), carrier)
}

fn adopt(span: &Span, parent: Context) {
    if parent.span().span_context().is_valid()
        && let Err(error) = span.set_parent(parent)
    {
        tracing::debug!(error = %error, "failed to set the parent of a span");
    }
}

// === impl Single ===

impl Extractor for Single<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == TRACEPARENT).then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}

// === impl HeadersMut ===

impl Injector for HeadersMut<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (::http::HeaderName::try_from(key), ::http::HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}
