//! Receives OTLP over gRPC (traces, metrics), keeps the newest of it for assertions, forwards traces to a Zipkin viewer.
//!
//! ```text
//!  services -- OTLP gRPC --> grpc -> Store (bounded) <- http <-- tests, people (JSON)
//!                              |
//!                              +--> Forwarder (bounded) -- Zipkin v2 JSON --> viewer
//! ```
//! It is a tool of tests and of the demo: nothing is kept on disk, and nobody is authenticated.

use std::{future::IntoFuture as _, net::SocketAddr};

use anyhow::{Context as _, Result};
use clap::Args;
use opentelemetry_proto::tonic::collector::{
    metrics::v1::metrics_service_server::MetricsServiceServer, trace::v1::trace_service_server::TraceServiceServer,
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;

mod grpc;
mod http;
mod metric;
mod span;
mod store;
mod zipkin;

pub use metric::{MetricPoint, Value};
pub use span::{Event, Link, Span, Status};
pub use store::{MetricQuery, SpanQuery, Store, TraceSummary};

/// Largest OTLP message, in bytes.
const MESSAGE_MAX: usize = 16 << 20;

/// How the sink is run.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Address for OTLP over gRPC
    #[arg(long, default_value = "127.0.0.1:4317", value_name = "ADDRESS")]
    pub listen_grpc: SocketAddr,
    /// Address for queries
    #[arg(long, default_value = "127.0.0.1:4316", value_name = "ADDRESS")]
    pub listen_http: SocketAddr,
    /// Where traces are forwarded to, e.g. `http://127.0.0.1:9411/api/v2/spans`; absent: nowhere
    #[arg(long, value_name = "URL")]
    pub forward_zipkin: Option<reqwest::Url>,
    /// Spans that are kept; the oldest go first
    #[arg(long, default_value_t = 200_000)]
    pub spans_max: usize,
    /// Series of metrics that are kept with their last value; further ones are dropped
    #[arg(long, default_value_t = 20_000)]
    pub metrics_max: usize,
}

/// A sink whose ports are bound.
#[derive(Debug)]
pub struct Sink {
    grpc: TcpListener,
    http: TcpListener,
    store: Store,
    forward: Option<reqwest::Url>,
}

// === impl Sink ===

impl Sink {
    /// Binds both ports; 0 takes a free one.
    ///
    /// # Errors
    /// When an address cannot be bound.
    pub async fn bind(options: &Options) -> Result<Self> {
        let bind = async |address: SocketAddr| {
            TcpListener::bind(address).await.with_context(|| format!("failed to listen on {address}"))
        };
        Ok(Self {
            grpc: bind(options.listen_grpc).await?,
            http: bind(options.listen_http).await?,
            store: Store::new(options.spans_max, options.metrics_max),
            forward: options.forward_zipkin.clone(),
        })
    }

    /// Where OTLP is received.
    ///
    /// # Errors
    /// When the socket is broken.
    pub fn grpc_address(&self) -> Result<SocketAddr> {
        Ok(self.grpc.local_addr()?)
    }

    /// Where queries are answered.
    ///
    /// # Errors
    /// When the socket is broken.
    pub fn http_address(&self) -> Result<SocketAddr> {
        Ok(self.http.local_addr()?)
    }

    /// What was received, for tests that run the sink in their own process.
    pub fn store(&self) -> Store {
        self.store.clone()
    }

    /// Receives and answers until `token` is cancelled.
    ///
    /// # Errors
    /// When a listener breaks or no HTTP client can be made.
    pub async fn serve(self, token: CancellationToken) -> Result<()> {
        let forwarder = self.forward.map(|url| zipkin::Forwarder::start(url, token.child_token())).transpose()?;
        let counts = forwarder.as_ref().map(zipkin::Forwarder::counts);
        let receiver = grpc::Receiver::new(self.store.clone(), forwarder);
        let otlp = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(receiver.clone()).max_decoding_message_size(MESSAGE_MAX))
            .add_service(MetricsServiceServer::new(receiver).max_decoding_message_size(MESSAGE_MAX))
            .serve_with_incoming_shutdown(TcpListenerStream::new(self.grpc), token.clone().cancelled_owned());
        let queries = axum::serve(self.http, http::router(self.store, counts))
            .with_graceful_shutdown(token.cancelled_owned())
            .into_future();
        let (otlp, queries) = tokio::join!(otlp, queries);
        otlp.context("failed to receive OTLP")?;
        queries.context("failed to answer queries")
    }
}
