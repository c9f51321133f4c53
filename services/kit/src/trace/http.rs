//! Server spans and request metrics for axum routers.

use std::{
    future::Future,
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll},
    time::Duration,
};

use axum::extract::MatchedPath;
use http::{Request, Response};
use opentelemetry::{KeyValue, metrics::Histogram};
use tracing::{Instrument as _, Span};

use crate::{clock::Clock, telemetry};

/// axum layer: a server span per request as a child of the caller's context, and request durations by listener, method, route and
/// status. Goes onto the router after its routes: `router.layer(trace::http_layer("node"))`. Paths and queries are not recorded, they
/// may be personal: the matched route is.
pub fn http_layer(listener: &'static str) -> HttpLayer {
    HttpLayer { listener, rooted: false, clock: Clock::system() }
}

/// As [`http_layer`], for callers that nobody knows: each request begins a trace of its own, whatever its headers tell. A stranger
/// neither joins a trace nor decides what is recorded.
pub fn public_http_layer(listener: &'static str) -> HttpLayer {
    HttpLayer { rooted: true, ..http_layer(listener) }
}

/// See [`http_layer`].
#[derive(Debug, Clone)]
pub struct HttpLayer {
    listener: &'static str,
    /// No caller's context is taken over.
    rooted: bool,
    clock: Clock,
}

/// See [`http_layer`].
#[derive(Debug, Clone)]
pub struct HttpService<S> {
    inner: S,
    layer: HttpLayer,
}

static DURATION: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    telemetry::duration_histogram(
        "http.server.request.duration",
        "Time from a request's headers to its response's headers",
    )
});

/// What is recorded of one request.
struct Call {
    listener: &'static str,
    method: &'static str,
    route: String,
    started: Duration,
    clock: Clock,
}

// === impl HttpLayer ===

impl<S> tower_layer::Layer<S> for HttpLayer {
    type Service = HttpService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        HttpService { inner, layer: self.clone() }
    }
}

// === impl HttpService ===

impl<S, B, R> tower_service::Service<Request<B>> for HttpService<S>
where
    S: tower_service::Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let call = Call::new(&self.layer, &request);
        let span = call.span();
        if !self.layer.rooted {
            super::set_parent_from_headers(&span, request.headers());
        }
        // The service may do work in `call` itself, so it is called inside the span too.
        let response = span.in_scope(|| self.inner.call(request));
        let traced = span.clone();
        Box::pin(
            async move {
                let response = response.await;
                if let Ok(response) = &response {
                    call.finish(&traced, response.status());
                }
                response
            }
            .instrument(span),
        )
    }
}

// === impl Call ===

impl Call {
    fn new<B>(layer: &HttpLayer, request: &Request<B>) -> Self {
        let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str);
        Self {
            listener: layer.listener,
            method: method_label(request.method()),
            route: route.to_owned(),
            started: layer.clock.monotonic(),
            clock: layer.clock.clone(),
        }
    }

    fn span(&self) -> Span {
        tracing::info_span!(
            "http",
            otel.name = format!("{} {}", self.method, self.route),
            otel.kind = "server",
            otel.status_code = tracing::field::Empty,
            listener = self.listener,
            http.request.method = self.method,
            http.route = %self.route,
            http.response.status_code = tracing::field::Empty,
        )
    }

    fn finish(&self, span: &Span, status: http::StatusCode) {
        span.record("http.response.status_code", i64::from(status.as_u16()));
        if status.is_server_error() {
            span.record("otel.status_code", "ERROR");
        }
        let taken = self.clock.monotonic().saturating_sub(self.started);
        DURATION.record(
            taken.as_secs_f64(),
            &[
                KeyValue::new("listener", self.listener),
                KeyValue::new("http.request.method", self.method),
                KeyValue::new("http.route", self.route.clone()),
                KeyValue::new("http.response.status_code", i64::from(status.as_u16())),
            ],
        );
    }
}

/// Callers invent methods, and may put anything into them: labels and names of spans need a closed set.
fn method_label(method: &http::Method) -> &'static str {
    match *method {
        http::Method::GET => "GET",
        http::Method::HEAD => "HEAD",
        http::Method::POST => "POST",
        http::Method::PUT => "PUT",
        http::Method::PATCH => "PATCH",
        http::Method::DELETE => "DELETE",
        http::Method::OPTIONS => "OPTIONS",
        _ => "_OTHER",
    }
}
