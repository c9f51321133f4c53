//! Which spans and log lines exist at all: one filter for the whole process.
//!
//! Not a filter per layer: with those, a question that no span follows (`enabled!`, as sqlx asks it before each statement) leaves its
//! answer in the thread, and the next span of that thread is lost with its whole trace.

use tracing::{
    Level, Metadata, Subscriber,
    span::{Attributes, Id, Record},
    subscriber::Interest,
};
use tracing_subscriber::{
    EnvFilter, Layer,
    layer::{Context, Filter},
    registry::LookupSpan,
};

/// Libraries whose spans tell nothing about Fiorino.
const UNTRACED: [&str; 7] = ["h2", "hyper", "hyper_util", "tonic", "tower", "opentelemetry", "rustls"];

/// Lets pass the spans of [`is_traced`], and the log lines of the configured filter.
#[derive(Debug)]
pub(super) struct Gate {
    lines: EnvFilter,
}

/// A span that is worth exporting.
fn is_traced(metadata: &Metadata<'_>) -> bool {
    let library = metadata.target().split("::").next().unwrap_or_default();
    *metadata.level() <= Level::INFO && !UNTRACED.contains(&library)
}

// === impl Gate ===

impl Gate {
    pub(super) const fn new(lines: EnvFilter) -> Self {
        Self { lines }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Gate {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        match (metadata.is_span(), is_traced(metadata)) {
            (true, true) => Interest::always(),
            (true, false) => Interest::never(),
            (false, _) => Filter::<S>::callsite_enabled(&self.lines, metadata),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, ctx: Context<'_, S>) -> bool {
        if metadata.is_span() { is_traced(metadata) } else { Filter::<S>::enabled(&self.lines, metadata, &ctx) }
    }

    // Directives for spans, as in `[span{field=value}]=debug`, follow the spans.
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        Filter::<S>::on_new_span(&self.lines, attributes, id, ctx);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, ctx: Context<'_, S>) {
        Filter::<S>::on_record(&self.lines, id, values, ctx);
    }

    fn on_enter(&self, id: &Id, ctx: Context<'_, S>) {
        Filter::<S>::on_enter(&self.lines, id, ctx);
    }

    fn on_exit(&self, id: &Id, ctx: Context<'_, S>) {
        Filter::<S>::on_exit(&self.lines, id, ctx);
    }

    fn on_close(&self, id: Id, ctx: Context<'_, S>) {
        Filter::<S>::on_close(&self.lines, id, ctx);
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::{Registry, layer::SubscriberExt as _};

    use super::*;

    fn with_gate(directives: &str, work: impl FnOnce()) {
        let gate = Gate::new(EnvFilter::new(directives));
        tracing::subscriber::with_default(Registry::default().with(gate), work);
    }

    #[test]
    fn a_span_exists_whatever_was_asked_before_it() {
        with_gate("warn", || {
            for _ in 0..3 {
                let asked = tracing::enabled!(target: "sqlx::query", Level::DEBUG);
                let span = tracing::info_span!("verify notices");
                assert!(!asked && !span.is_disabled());
            }
        });
    }

    #[test]
    fn lines_follow_the_filter_and_spans_do_not() {
        with_gate("error", || {
            assert!(!tracing::enabled!(Level::WARN));
            assert!(!tracing::info_span!("http").is_disabled());
            assert!(tracing::debug_span!("detail").is_disabled());
            assert!(tracing::info_span!(target: "h2::client", "frame").is_disabled());
        });
    }
}
