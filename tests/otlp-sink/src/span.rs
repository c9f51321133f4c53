//! A span as it is kept and shown.

use std::{borrow::Cow, collections::BTreeMap};

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value},
    trace::v1 as otlp,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Attributes by name.
pub(crate) type Attributes = BTreeMap<String, Value>;

/// A finished span.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// 16 hexadecimal digits.
    pub span_id: String,
    /// 16 hexadecimal digits; absent at the root.
    pub parent_span_id: Option<String>,
    /// As `tracestate` has it; empty: nobody told one.
    pub trace_state: String,
    /// `service.name` of the resource.
    pub service: String,
    /// `service.instance.id` of the resource: tells replicas apart.
    pub instance: String,
    /// Every attribute of the resource.
    pub resource: Attributes,
    /// Name of the operation.
    pub name: String,
    /// `internal`, `server`, `client`, `producer`, `consumer` or `unspecified`.
    pub kind: String,
    /// Begin, in nanoseconds since 1970.
    pub start_unix_ns: u64,
    /// Duration in nanoseconds.
    pub duration_ns: u64,
    /// Outcome.
    pub status: Status,
    /// Text of an error.
    pub status_message: String,
    /// Attributes by name.
    pub attributes: Attributes,
    /// What happened within.
    pub events: Vec<Event>,
    /// Other spans that this one belongs to.
    pub links: Vec<Link>,
}

/// Outcome of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nothing was said.
    Unset,
    /// Well.
    Ok,
    /// Not well.
    Error,
}

/// Something that happened within a span.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When, in nanoseconds since 1970.
    pub unix_ns: u64,
    /// What.
    pub name: String,
    /// Attributes by name.
    pub attributes: Attributes,
}

/// Another span that a span belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// 16 hexadecimal digits.
    pub span_id: String,
    /// Attributes by name.
    pub attributes: Attributes,
}

/// Every span of an export request.
pub(crate) fn spans(resources: Vec<otlp::ResourceSpans>) -> impl Iterator<Item = Span> {
    resources.into_iter().flat_map(|resource| {
        let of = attributes(resource.resource.map(|resource| resource.attributes).unwrap_or_default());
        resource.scope_spans.into_iter().flat_map(|scope| scope.spans).map(move |span| Span::new(&of, span))
    })
}

/// Attributes as JSON.
pub(crate) fn attributes(pairs: Vec<KeyValue>) -> Attributes {
    pairs.into_iter().map(|pair| (pair.key, pair.value.map_or(Value::Null, json))).collect()
}

/// An attribute of a resource as text.
pub(crate) fn text(attributes: &Attributes, key: &str) -> String {
    attributes.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// An attribute's value as text, without the quotes of JSON.
pub(crate) fn as_text(value: &Value) -> Cow<'_, str> {
    value.as_str().map_or_else(|| Cow::Owned(value.to_string()), Cow::Borrowed)
}

fn json(value: AnyValue) -> Value {
    match value.value {
        Some(any_value::Value::StringValue(text)) => Value::from(text),
        Some(any_value::Value::BoolValue(flag)) => Value::from(flag),
        Some(any_value::Value::IntValue(number)) => Value::from(number),
        Some(any_value::Value::DoubleValue(number)) => Value::from(number),
        Some(any_value::Value::ArrayValue(array)) => array.values.into_iter().map(json).collect(),
        Some(any_value::Value::KvlistValue(list)) => attributes(list.values).into_iter().collect(),
        Some(any_value::Value::BytesValue(bytes)) => Value::from(hex(&bytes)),
        Some(any_value::Value::StringValueStrindex(_)) | None => Value::Null,
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn kind(kind: otlp::span::SpanKind) -> &'static str {
    match kind {
        otlp::span::SpanKind::Unspecified => "unspecified",
        otlp::span::SpanKind::Internal => "internal",
        otlp::span::SpanKind::Server => "server",
        otlp::span::SpanKind::Client => "client",
        otlp::span::SpanKind::Producer => "producer",
        otlp::span::SpanKind::Consumer => "consumer",
    }
}

// === impl Span ===

impl Span {
    fn new(resource: &Attributes, span: otlp::Span) -> Self {
        let kind = kind(span.kind());
        let status = span.status.unwrap_or_default();
        Self {
            trace_id: hex(&span.trace_id),
            span_id: hex(&span.span_id),
            parent_span_id: (!span.parent_span_id.is_empty()).then(|| hex(&span.parent_span_id)),
            trace_state: span.trace_state,
            service: text(resource, "service.name"),
            instance: text(resource, "service.instance.id"),
            resource: resource.clone(),
            name: span.name,
            kind: kind.to_owned(),
            start_unix_ns: span.start_time_unix_nano,
            duration_ns: span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano),
            status: match status.code() {
                otlp::status::StatusCode::Unset => Status::Unset,
                otlp::status::StatusCode::Ok => Status::Ok,
                otlp::status::StatusCode::Error => Status::Error,
            },
            status_message: status.message,
            attributes: attributes(span.attributes),
            events: span.events.into_iter().map(Event::from).collect(),
            links: span.links.into_iter().map(Link::from).collect(),
        }
    }
}

// === impl Event ===

impl From<otlp::span::Event> for Event {
    fn from(event: otlp::span::Event) -> Self {
        Self { unix_ns: event.time_unix_nano, name: event.name, attributes: attributes(event.attributes) }
    }
}

// === impl Link ===

impl From<otlp::span::Link> for Link {
    fn from(link: otlp::span::Link) -> Self {
        Self { trace_id: hex(&link.trace_id), span_id: hex(&link.span_id), attributes: attributes(link.attributes) }
    }
}
