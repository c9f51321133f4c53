//! Traces and metrics over OTLP gRPC, metrics at `/metrics`, logs on standard error (ARCHITECTURE.md 6.1).
//!
//! Sampling is parent-based: whoever begins a trace decides by `--trace-ratio`, every later part follows. Everything that waits
//! to be exported is bounded; when the collector is away the oldest spans are kept and newer ones dropped, never the service's work.

mod gate;
mod lines;
mod scrub;

use std::{sync::Arc, time::Duration};

use opentelemetry::{KeyValue, global, metrics::Histogram, trace::TracerProvider as _};
use opentelemetry_otlp::{MetricExporter, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    metrics::{PeriodicReader, SdkMeterProvider},
    propagation::TraceContextPropagator,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider},
};
use prometheus::{Registry, TextEncoder};
use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};
use uuid::Uuid;

pub use self::scrub::{identifier, shows_a_person};
use self::{gate::Gate, lines::LineLayer};
use crate::options::TelemetryOptions;

const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
const METRICS_INTERVAL: Duration = Duration::from_secs(5);
const SPAN_DELAY: Duration = Duration::from_secs(1);
const SPAN_QUEUE: usize = 16_384;
const SPAN_BATCH: usize = 512;

/// Bucket boundaries of durations, in seconds: 1 ms to 10 s, dense where the node's deadline is (1.8 s).
const DURATION_BOUNDARIES: [f64; 14] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.8, 1.8, 3.0, 5.0, 10.0];

/// Why telemetry could not be started or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `--log-filter` is no list of `tracing` directives.
    #[error("failed to parse the log filter {filter:?}: expected directives such as info,fiorino_kit=debug")]
    Filter {
        /// What was given.
        filter: String,
        /// What the parser says.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The OTLP exporter could not be built.
    #[error("failed to build the OTLP exporter for {endpoint}")]
    Exporter {
        /// The endpoint.
        endpoint: String,
        /// What the exporter says.
        source: opentelemetry_otlp::ExporterBuildError,
    },
    /// The Prometheus exporter could not be built.
    #[error("failed to build the Prometheus exporter")]
    Prometheus(#[source] opentelemetry_sdk::error::OTelSdkError),
    /// The metrics could not be written as text.
    #[error("failed to encode the metrics")]
    Encode(#[source] prometheus::Error),
    /// Telemetry was started twice in one process.
    #[error("failed to install the subscriber: telemetry was started already")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// `Result` of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The process's telemetry, cheap to clone; ended by [`Telemetry::shutdown`].
#[derive(Debug, Clone)]
pub struct Telemetry {
    registry: Registry,
    exporters: Option<Arc<Exporters>>,
}

#[derive(Debug)]
struct Exporters {
    traces: SdkTracerProvider,
    metrics: SdkMeterProvider,
}

/// Starts traces, metrics and logs for `service` (e.g. `tenant`); once per process, inside the Tokio runtime, before anything is
/// traced. Meters come from `opentelemetry::global::meter` afterwards.
///
/// # Errors
/// A filter or endpoint that cannot be used, or a second start.
pub fn init(service: &'static str, options: &TelemetryOptions) -> Result<Telemetry> {
    let filter = EnvFilter::try_new(&options.log_filter)
        .map_err(|source| Error::Filter { filter: options.log_filter.clone(), source })?;
    let resource = Resource::builder()
        .with_service_name(service)
        .with_attributes([
            KeyValue::new("service.namespace", "fiorino"),
            KeyValue::new("service.instance.id", Uuid::new_v4().to_string()),
        ])
        .build();
    let registry = Registry::new();
    let traces = tracer_provider(options, resource.clone())?;
    let metrics = meter_provider(options, resource, registry.clone())?;

    let spans = tracing_opentelemetry::layer()
        .with_tracer(traces.tracer("fiorino"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        // Nothing here asks for OpenTelemetry's own current context; without it an entered span can still be given its parent.
        .with_context_activation(false)
        // What a log line says of an error stays in the log, where it is masked.
        .with_error_events_to_status(false)
        .with_error_events_to_exceptions(false)
        .with_error_fields_to_exceptions(false)
        .with_error_records_to_exceptions(false);
    let logs = LineLayer::new(service, options.log_format, std::io::stderr);
    tracing_subscriber::registry().with(Gate::new(filter)).with(spans).with(logs).try_init()?;

    global::set_text_map_propagator(TraceContextPropagator::new());
    global::set_tracer_provider(traces.clone());
    global::set_meter_provider(metrics.clone());
    Ok(Telemetry { registry, exporters: Some(Arc::new(Exporters { traces, metrics })) })
}

/// A histogram of seconds with the boundaries that every duration has, from the global meter.
pub fn duration_histogram(name: &'static str, description: &'static str) -> Histogram<f64> {
    global::meter("fiorino")
        .f64_histogram(name)
        .with_unit("s")
        .with_description(description)
        .with_boundaries(DURATION_BOUNDARIES.to_vec())
        .build()
}

fn tracer_provider(options: &TelemetryOptions, resource: Resource) -> Result<SdkTracerProvider> {
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(options.trace_ratio)));
    let mut provider = SdkTracerProvider::builder()
        .with_sampler(sampler)
        .with_resource(resource)
        // Log lines are found by their trace id: a copy within the span would go past the masking of the logs.
        .with_max_events_per_span(0);
    if let Some(endpoint) = &options.otlp_endpoint {
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .with_timeout(EXPORT_TIMEOUT)
            .build()
            .map_err(|source| Error::Exporter { endpoint: endpoint.clone(), source })?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(SPAN_QUEUE)
            .with_max_export_batch_size(SPAN_BATCH)
            .with_scheduled_delay(SPAN_DELAY)
            .build();
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
        provider = provider.with_span_processor(processor);
    }
    Ok(provider.build())
}

fn meter_provider(options: &TelemetryOptions, resource: Resource, registry: Registry) -> Result<SdkMeterProvider> {
    let scraped = opentelemetry_prometheus::exporter()
        .with_registry(registry)
        .scope_info_enabled(false)
        .build()
        .map_err(Error::Prometheus)?;
    let mut provider = SdkMeterProvider::builder().with_resource(resource).with_reader(scraped);
    if let Some(endpoint) = &options.otlp_endpoint {
        let exporter = MetricExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .with_timeout(EXPORT_TIMEOUT)
            .build()
            .map_err(|source| Error::Exporter { endpoint: endpoint.clone(), source })?;
        provider = provider.with_reader(PeriodicReader::builder(exporter).with_interval(METRICS_INTERVAL).build());
    }
    Ok(provider.build())
}

// === impl Telemetry ===

impl Telemetry {
    /// Exports nothing and installs nothing: for tests of what needs a `Telemetry`.
    pub fn none() -> Self {
        Self { registry: Registry::new(), exporters: None }
    }

    /// Every metric in Prometheus text.
    ///
    /// # Errors
    /// [`Error::Encode`] when a metric cannot be written.
    pub fn metrics_text(&self) -> Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather()).map_err(Error::Encode)
    }

    /// Sends what is still buffered, for at most 5 s, and ends the exporters. The last thing that `main` does.
    pub async fn shutdown(&self) {
        let Some(exporters) = self.exporters.clone() else { return };
        // The exporters' threads are waited for with blocking calls while their connections live on this runtime.
        let ended = tokio::task::spawn_blocking(move || {
            let traces = exporters.traces.shutdown_with_timeout(SHUTDOWN_TIMEOUT);
            let metrics = exporters.metrics.shutdown_with_timeout(SHUTDOWN_TIMEOUT);
            traces.and(metrics)
        });
        match tokio::time::timeout(SHUTDOWN_TIMEOUT, ended).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::warn!(error = %error, "failed to send the last telemetry"),
            Ok(Err(error)) => tracing::warn!(error = %error, "failed to send the last telemetry"),
            Err(_) => tracing::warn!("failed to send the last telemetry in time"),
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::{
        Context,
        trace::{SpanContext, TraceContextExt as _, TraceFlags, Tracer as _},
    };

    use super::*;
    use crate::clock::Clock;

    #[rstest::rstest]
    #[case(0.0, None, false)]
    #[case(1.0, None, true)]
    #[case(0.0, Some(TraceFlags::SAMPLED), true)]
    #[case(1.0, Some(TraceFlags::NOT_SAMPLED), false)]
    fn whoever_begins_a_trace_decides(#[case] ratio: f64, #[case] caller: Option<TraceFlags>, #[case] sampled: bool) {
        let options = TelemetryOptions { trace_ratio: ratio, ..TelemetryOptions::quiet() };
        let tracer = tracer_provider(&options, Resource::builder_empty().build()).unwrap().tracer("test");
        let parent = caller.map_or_else(Context::new, |flags| {
            let caller = SpanContext::new(7.into(), 8.into(), flags, true, opentelemetry::trace::TraceState::default());
            Context::new().with_remote_span_context(caller)
        });
        let span = tracer.start_with_context("call", &parent);
        let span = Context::new().with_span(span);
        assert_eq!(span.span().span_context().is_sampled(), sampled);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_collector_that_is_away_holds_nothing_up() {
        let clock = Clock::system();
        let options =
            TelemetryOptions { otlp_endpoint: Some("http://127.0.0.1:1".to_owned()), ..TelemetryOptions::quiet() };
        let provider = tracer_provider(&options, Resource::builder_empty().build()).unwrap();
        let tracer = provider.tracer("test");
        let begin = clock.monotonic();
        for _ in 0..2 * SPAN_QUEUE {
            drop(tracer.start("call"));
        }
        assert!(clock.monotonic().saturating_sub(begin) < Duration::from_secs(5));
        let exporters = Exporters { traces: provider, metrics: SdkMeterProvider::default() };
        let telemetry = Telemetry { registry: Registry::new(), exporters: Some(Arc::new(exporters)) };
        let begin = clock.monotonic();
        telemetry.shutdown().await;
        assert!(clock.monotonic().saturating_sub(begin) < SHUTDOWN_TIMEOUT + Duration::from_secs(1));
    }

    #[test]
    fn a_filter_that_is_none_is_refused_by_name() {
        let options = TelemetryOptions { log_filter: "info,,=".to_owned(), ..TelemetryOptions::quiet() };
        assert!(init("test", &options).unwrap_err().to_string().contains("info,,="));
    }
}
