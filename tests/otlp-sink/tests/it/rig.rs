//! A running sink, and OTLP to send to it.

use std::net::SocketAddr;

use fiorino_otlp_sink::{Options, Sink};
use opentelemetry_proto::tonic::{
    collector::{
        metrics::v1::{ExportMetricsServiceRequest, metrics_service_client::MetricsServiceClient},
        trace::v1::{ExportTraceServiceRequest, trace_service_client::TraceServiceClient},
    },
    common::v1::{AnyValue, KeyValue, any_value::Value},
    metrics::v1::ResourceMetrics,
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) struct Running {
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    _stop: DropGuard,
}

pub(crate) fn options() -> Options {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    Options { listen_grpc: any, listen_http: any, forward_zipkin: None, spans_max: 100, metrics_max: 100 }
}

pub(crate) async fn start(options: Options) -> Running {
    let sink = Sink::bind(&options).await.unwrap();
    let (grpc, http) = (sink.grpc_address().unwrap(), sink.http_address().unwrap());
    let token = CancellationToken::new();
    tokio::spawn(sink.serve(token.clone()));
    Running { grpc, http, _stop: token.drop_guard() }
}

pub(crate) fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

pub(crate) fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

pub(crate) fn resource(service: &str) -> Resource {
    Resource { attributes: vec![text("service.name", service)], ..Resource::default() }
}

/// A span of trace `trace` whose times follow from its number.
pub(crate) fn span(trace: u8, id: u8, parent: Option<u8>, name: &str) -> Span {
    Span {
        trace_id: vec![trace; 16],
        span_id: vec![id; 8],
        parent_span_id: parent.map(|parent| vec![parent; 8]).unwrap_or_default(),
        name: name.to_owned(),
        kind: 2,
        start_time_unix_nano: 1_000_000 * u64::from(id),
        end_time_unix_nano: 1_000_000 * u64::from(id) + 2_500,
        ..Span::default()
    }
}

impl Running {
    pub(crate) async fn send(&self, service: &str, spans: Vec<Span>) {
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let resource_spans =
            vec![ResourceSpans { resource: Some(resource(service)), scope_spans, ..ResourceSpans::default() }];
        let mut client = TraceServiceClient::connect(format!("http://{}", self.grpc)).await.unwrap();
        client.export(ExportTraceServiceRequest { resource_spans }).await.unwrap();
    }

    pub(crate) async fn send_metrics(&self, resource_metrics: Vec<ResourceMetrics>) {
        let mut client = MetricsServiceClient::connect(format!("http://{}", self.grpc)).await.unwrap();
        client.export(ExportMetricsServiceRequest { resource_metrics }).await.unwrap();
    }

    pub(crate) async fn request(&self, method: reqwest::Method, path: &str) -> reqwest::Response {
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        client.request(method, format!("http://{}{path}", self.http)).send().await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> serde_json::Value {
        let response = self.request(reqwest::Method::GET, path).await;
        assert_eq!(response.status(), 200, "{path}");
        response.json().await.unwrap()
    }
}
