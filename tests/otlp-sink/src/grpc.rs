//! OTLP in.

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::{
    metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse, metrics_service_server::MetricsService},
    trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse, trace_service_server::TraceService},
};
use tonic::{Request, Response, Status};

use crate::{metric, span, store::Store, zipkin::Forwarder};

#[derive(Debug, Clone)]
pub(crate) struct Receiver {
    store: Store,
    forwarder: Option<Forwarder>,
}

// === impl Receiver ===

impl Receiver {
    pub(crate) fn new(store: Store, forwarder: Option<Forwarder>) -> Self {
        Self { store, forwarder }
    }
}

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let spans: Vec<_> = span::spans(request.into_inner().resource_spans).map(Arc::new).collect();
        self.store.add_spans(&spans);
        if let Some(forwarder) = &self.forwarder {
            forwarder.offer(spans);
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.store.add_metrics(metric::points(request.into_inner().resource_metrics));
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}
