//! Log lines: a JSON object each, or text for a terminal. Both pass the same net.
//!
//! ```json
//! {"timestamp":"2026-07-14T10:42:00.123456Z","level":"WARN","service":"tenant","target":"fiorino_tenant::grpc",
//!  "message":"failed to apply","institution":"77777777777","trace_id":"4bf9..","span_id":"00f0.."}
//! ```
//! ```text
//! 2026-07-14T10:42:00.123456Z WARN fiorino_tenant::grpc: failed to apply institution=77777777777 trace_id=4bf9.. span_id=00f0..
//! ```
//! Fields are the event's own: spans' fields are looked up by trace id, so that a span never repeats what it carries on every line.

use std::{
    fmt,
    io::{self, Write as _},
    sync::OnceLock,
};

use opentelemetry::trace::TraceContextExt as _;
use serde::ser::{SerializeMap as _, Serializer as _};
use serde_json::Value;
use tracing::{
    Dispatch, Event, Metadata, Subscriber,
    dispatcher::WeakDispatch,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, fmt::MakeWriter, layer::Context, registry::LookupSpan};

use super::scrub::scrub;
use crate::{clock::Clock, error, options::LogFormat};

/// Longest text of one field, in bytes; the rest is cut.
const TEXT_MAX: usize = 4_096;

/// Field of the text of an event.
const MESSAGE: &str = "message";

pub(super) struct LineLayer<W> {
    service: &'static str,
    format: LogFormat,
    writer: W,
    clock: Clock,
    dispatch: OnceLock<WeakDispatch>,
}

/// Scrubbed, and of bounded length.
#[derive(Default)]
struct Fields(Vec<(&'static str, Value)>);

// === impl LineLayer ===

impl<W> LineLayer<W> {
    pub(super) fn new(service: &'static str, format: LogFormat, writer: W) -> Self {
        Self { service, format, writer, clock: Clock::system(), dispatch: OnceLock::new() }
    }

    fn ids<S>(&self, event: &Event<'_>, context: &Context<'_, S>) -> Option<(String, String)>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let span = context.event_span(event)?;
        let dispatch = self.dispatch.get()?.upgrade()?;
        let context = tracing_opentelemetry::get_otel_context(&span.id(), &dispatch)?;
        let span = context.span();
        let span = span.span_context();
        span.is_valid().then(|| (span.trace_id().to_string(), span.span_id().to_string()))
    }

    fn line(&self, event: &Event<'_>, ids: Option<(String, String)>) -> io::Result<Vec<u8>> {
        let mut fields = Fields::default();
        event.record(&mut fields);
        if let Some((trace_id, span_id)) = ids {
            fields.0.extend([("trace_id", Value::from(trace_id)), ("span_id", Value::from(span_id))]);
        }
        let mut line = Vec::with_capacity(256);
        match self.format {
            LogFormat::Json => self.json(event.metadata(), &fields, &mut line)?,
            LogFormat::Text => self.text(event.metadata(), &fields, &mut line)?,
        }
        line.push(b'\n');
        Ok(line)
    }

    fn json(&self, metadata: &Metadata<'_>, fields: &Fields, line: &mut Vec<u8>) -> serde_json::Result<()> {
        let mut json = serde_json::Serializer::new(line);
        let mut map = json.serialize_map(None)?;
        map.serialize_entry("timestamp", &self.clock.now())?;
        map.serialize_entry("level", metadata.level().as_str())?;
        map.serialize_entry("service", self.service)?;
        map.serialize_entry("target", metadata.target())?;
        for (name, value) in &fields.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }

    fn text(&self, metadata: &Metadata<'_>, fields: &Fields, line: &mut Vec<u8>) -> io::Result<()> {
        write!(line, "{} {} {}:", self.clock.now(), metadata.level(), metadata.target())?;
        let is_message = |field: &&(&str, Value)| field.0 == MESSAGE;
        if let Some((_, Value::String(message))) = fields.0.iter().find(is_message) {
            write!(line, " {}", message.replace(char::is_control, " "))?;
        }
        for (name, value) in fields.0.iter().filter(|field| !is_message(field)) {
            match value {
                // What holds no blank needs no quotes to be told from the next field.
                Value::String(text) if !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"') => {
                    write!(line, " {name}={text}")?;
                }
                value => write!(line, " {name}={value}")?,
            }
        }
        Ok(())
    }
}

impl<S, W> Layer<S> for LineLayer<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    fn on_register_dispatch(&self, dispatch: &Dispatch) {
        // A second registration of the same layer does not happen: it belongs to one subscriber.
        drop(self.dispatch.set(dispatch.downgrade()));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if let Ok(line) = self.line(event, self.ids(event, &context)) {
            // Nobody is left to be told that standard error is gone.
            drop(self.writer.make_writer_for(event.metadata()).write_all(&line));
        }
    }
}

// === impl Fields ===

impl Fields {
    fn text(&mut self, field: &Field, text: &str) {
        let end = text.floor_char_boundary(TEXT_MAX);
        self.0.push((field.name(), Value::from(scrub(&text[..end]).into_owned())));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.push((field.name(), Value::from(value)));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.push((field.name(), Value::from(value)));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.push((field.name(), Value::from(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.push((field.name(), Value::from(value)));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.text(field, &error::chain(value));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::trace;

    #[derive(Debug, thiserror::Error)]
    #[error("failed to write")]
    struct Wrapped(#[source] io::Error);

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What `log` writes.
    fn written_as(format: LogFormat, log: impl FnOnce()) -> String {
        let (written, provider) = (Written::default(), SdkTracerProvider::builder().build());
        let writer = {
            let written = written.clone();
            move || written.clone()
        };
        let subscriber = tracing_subscriber::registry()
            .with(tracing_opentelemetry::layer().with_tracer(provider.tracer("test")))
            .with(LineLayer::new("tenant", format, writer));
        tracing::subscriber::with_default(subscriber, log);
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    /// What `log` writes, one object per line.
    fn written(log: impl FnOnce()) -> Vec<Value> {
        written_as(LogFormat::Json, log).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_has_its_fields_and_its_place_in_the_trace() {
        let mut traceparent = String::new();
        let lines = written(|| {
            let span = tracing::info_span!("apply", hidden = "of the span");
            traceparent = trace::traceparent(&span).unwrap();
            span.in_scope(|| tracing::warn!(institution = "77777777777", rows = 3, ok = false, "failed to apply"));
            tracing::info!("outside");
        });
        let ids: Vec<_> = traceparent.split('-').collect();
        let line = &lines[0];
        for (field, value) in [
            ("level", "WARN"),
            ("service", "tenant"),
            ("message", "failed to apply"),
            ("institution", "77777777777"),
            ("trace_id", ids[1]),
            ("span_id", ids[2]),
            ("target", "fiorino_kit::telemetry::lines::tests"),
        ] {
            assert_eq!(line[field], value, "{line}");
        }
        assert_eq!((line["rows"].as_i64(), line["ok"].as_bool()), (Some(3), Some(false)));
        assert!(line["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
        assert!(line.get("hidden").is_none());
        assert!(lines[1].get("trace_id").is_none());
    }

    #[test]
    fn nothing_personal_and_nothing_endless_is_written() {
        let lines = written(|| {
            let cause = io::Error::other("key (RSSMRA80A01H501U) exists");
            let error = Wrapped(cause);
            tracing::error!(error = &error as &dyn std::error::Error, iban = "IT60X0542811101000000123456", "no");
            tracing::info!(long = "\u{e8}".repeat(5_000), "debtor RSSMRA80A01H501U");
        });
        assert_eq!(lines[0]["error"], "failed to write: key (***) exists");
        assert_eq!(lines[0]["iban"], "***");
        assert_eq!(lines[1]["message"], "debtor ***");
        assert_eq!(lines[1]["long"].as_str().unwrap().len(), TEXT_MAX);
    }

    #[test]
    fn text_is_one_line_an_event_and_as_clean() {
        let text = written_as(LogFormat::Text, || {
            let error = Wrapped(io::Error::other("key (RSSMRA80A01H501U) exists"));
            let span = tracing::info_span!("apply");
            let error = &error as &dyn std::error::Error;
            span.in_scope(|| tracing::warn!(error, rows = 3, iban = "IT60X0542811101000000123456", "failed to\napply"));
            tracing::info!("debtor RSSMRA80A01H501U");
        });
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        let told = " WARN fiorino_kit::telemetry::lines::tests: failed to apply error=\"failed to write: key (***) exists\" rows=3 iban=*** trace_id=";
        assert!(lines[0].contains(told), "{text}");
        assert!(lines[1].ends_with(" INFO fiorino_kit::telemetry::lines::tests: debtor ***"), "{text}");
    }
}
