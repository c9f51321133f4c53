//! Spans and durations of calls, by method and gRPC status, on both sides.

use std::{
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{extract::Request, middleware::Next, response::Response};
use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};
use opentelemetry::{KeyValue, metrics::Histogram};
use tonic::Code;
use tracing::{Instrument as _, Span};

use super::Peer;
use crate::{clock::Clock, telemetry, trace};

const GRPC_STATUS: &str = "grpc-status";

static SERVER_DURATION: LazyLock<Histogram<f64>> =
    LazyLock::new(|| telemetry::duration_histogram("rpc.server.duration", "Time from a call's headers to its status"));
static CLIENT_DURATION: LazyLock<Histogram<f64>> =
    LazyLock::new(|| telemetry::duration_histogram("rpc.client.duration", "Time from a call to its status"));

/// Which side observes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Side {
    Server,
    Client,
}

/// A call in work: its span and its duration end with its status, or with whoever gives it up.
#[derive(Debug)]
pub(super) struct Call {
    side: Side,
    span: Span,
    method: String,
    clock: Clock,
    started: Duration,
    ended: bool,
}

pin_project_lite::pin_project! {
    /// A response's body that ends its [`Call`] with the status in the trailers.
    pub(super) struct Observed<B> {
        #[pin]
        body: B,
        call: Call,
    }
}

/// axum middleware: everything a server does for a call happens inside its span.
pub(super) async fn server(request: Request, next: Next) -> Response {
    let call = Call::start(Side::Server, request.uri().path());
    trace::set_parent_from_headers(&call.span, request.headers());
    if let Some(peer) = request.extensions().get::<Peer>() {
        call.span.record("peer", peer.name.as_str());
    }
    let response = next.run(request).instrument(call.span.clone()).await;
    call.observe(response).map(axum::body::Body::new)
}

// === impl Call ===

impl Call {
    pub(super) fn start(side: Side, path: &str) -> Self {
        let clock = Clock::system();
        let (kind, method) = match side {
            Side::Server => ("server", path),
            Side::Client => ("client", path),
        };
        let method = method.trim_start_matches('/').to_owned();
        let span = tracing::info_span!(
            "rpc",
            otel.name = method,
            otel.kind = kind,
            otel.status_code = tracing::field::Empty,
            rpc.system = "grpc",
            rpc.method = method,
            rpc.grpc.status_code = tracing::field::Empty,
            peer = tracing::field::Empty,
        );
        Self { side, span, method, started: clock.monotonic(), clock, ended: false }
    }

    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    /// Ends the call now when the response tells its status at once, else with its body.
    pub(super) fn observe<B>(mut self, response: http::Response<B>) -> http::Response<Observed<B>> {
        if let Some(code) = status(response.headers()) {
            self.end(code);
        }
        response.map(|body| Observed { body, call: self })
    }

    pub(super) fn end(&mut self, code: Code) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.span.record("rpc.grpc.status_code", i64::from(code as i32));
        if is_fault(self.side, code) {
            self.span.record("otel.status_code", "ERROR");
        }
        let labels = [
            KeyValue::new("rpc.method", self.label(code)),
            KeyValue::new("rpc.grpc.status_code", i64::from(code as i32)),
        ];
        let seconds = self.clock.monotonic().saturating_sub(self.started).as_secs_f64();
        match self.side {
            Side::Server => SERVER_DURATION.record(seconds, &labels),
            Side::Client => CLIENT_DURATION.record(seconds, &labels),
        }
    }

    /// Callers invent methods, which are refused or not there: a label needs a closed set.
    fn label(&self, code: Code) -> String {
        match (self.side, code) {
            (Side::Server, Code::PermissionDenied | Code::Unimplemented) => "refused".to_owned(),
            _ => self.method.clone(),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}

/// On the server only what is its own fault is an error (OpenTelemetry's conventions for gRPC); to a client everything is.
fn is_fault(side: Side, code: Code) -> bool {
    match side {
        Side::Client => code != Code::Ok,
        Side::Server => matches!(
            code,
            Code::Unknown
                | Code::DeadlineExceeded
                | Code::Unimplemented
                | Code::Internal
                | Code::Unavailable
                | Code::DataLoss
        ),
    }
}

/// The status told in headers or trailers.
pub(super) fn status(headers: &HeaderMap) -> Option<Code> {
    headers.get(GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes()))
}

// === impl Observed ===

impl<B> Body for Observed<B>
where
    B: Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(code) = frame.trailers_ref().and_then(status) {
                    this.call.end(code);
                }
            }
            Some(Err(_)) => this.call.end(Code::Unavailable),
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
