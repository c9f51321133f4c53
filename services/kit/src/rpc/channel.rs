//! The client side of the mesh.
//!
//! A channel looks its endpoints' names up every few seconds and keeps one connection to each address (a headless Kubernetes service
//! has one per replica). A call goes to the live connection with the fewest calls in work; a connection that broke, hung or refused is
//! avoided, so that the caller's retry lands elsewhere.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderName, HeaderValue, Request, Response, Uri, uri::PathAndQuery};
use rustls_pki_types::ServerName;
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Code, Status, body::Body};
use tower_service::Service;
use tracing::Instrument as _;

use super::{
    ACTOR, ACTOR_MAX, Error, Result,
    balance::{Balancer, Endpoint, Target},
    guard, observe,
};
use crate::{clock::Clock, tls::Identity, trace};

const ENDPOINTS_MAX: usize = 64;

/// Calls of one channel at once; more are refused at once.
const CALLS_MAX: usize = 1_024;

/// Longest wait for a response to begin when the caller sets no deadline.
const TIMEOUT: Duration = Duration::from_secs(35);

/// Longest wait for a live connection; within the caller's deadline.
const CONNECTION_WAIT: Duration = Duration::from_secs(2);

/// Connections that are tried in one call when a request could not even be sent.
const SENDS_MAX: usize = 3;

/// Calls a service of the mesh over whichever of its replicas lives; cheap to clone, made by [`connect`].
#[derive(Debug, Clone)]
pub struct Channel {
    shared: Arc<Shared>,
    actor: HeaderValue,
}

#[derive(Debug)]
struct Shared {
    server_name: String,
    balancer: Arc<Balancer>,
    calls: Semaphore,
    _background: DropGuard,
}

/// A channel to the service `server_name` (its name in the mesh) at `endpoints` (`https://host:port`, 1 to 64).
///
/// Returns at once, inside a Tokio runtime; connections are made in the background and kept alive (probe every 5 s, 2 s to answer). Every
/// call carries the current trace context, and `actor` unless the request has one. A request's deadline (`tonic::Request::set_timeout`)
/// is kept on both sides. Retries are the caller's; only a request of which nothing was sent goes to another replica by itself.
///
/// # Errors
/// An endpoint, server name or actor that cannot be used.
pub fn connect(endpoints: &[String], server_name: &str, identity: &Identity, actor: &str) -> Result<Channel> {
    if !(1..=ENDPOINTS_MAX).contains(&endpoints.len()) {
        return Err(Error::Endpoints { count: endpoints.len() });
    }
    let endpoints = endpoints.iter().map(|endpoint| Endpoint::parse(endpoint)).collect::<Result<Vec<_>>>()?;
    let bad_name = || Error::ServerName { name: server_name.to_owned() };
    let target = Target {
        server_name: ServerName::try_from(server_name.to_owned()).map_err(|_| bad_name())?,
        identity: identity.clone(),
    };
    Uri::builder().scheme("https").authority(server_name).path_and_query("/").build().map_err(|_| bad_name())?;
    let actor = header(actor)?;
    let token = CancellationToken::new();
    let balancer = Balancer::start(endpoints, target, Clock::system(), token.clone());
    let shared = Shared {
        server_name: server_name.to_owned(),
        balancer,
        calls: Semaphore::new(CALLS_MAX),
        _background: token.drop_guard(),
    };
    Ok(Channel { shared: Arc::new(shared), actor })
}

fn header(actor: &str) -> Result<HeaderValue> {
    let header = HeaderValue::from_str(actor).ok().filter(|header| header.len() <= ACTOR_MAX);
    header.ok_or_else(|| Error::Actor { actor: actor.to_owned() })
}

// === impl Channel ===

impl Channel {
    /// The same channel on behalf of another actor.
    ///
    /// # Errors
    /// An actor that is no visible ASCII, or too long.
    pub fn with_actor(&self, actor: &str) -> Result<Self> {
        Ok(Self { shared: Arc::clone(&self.shared), actor: header(actor)? })
    }

    async fn send(self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let mut call = observe::Call::start(observe::Side::Client, request.uri().path());
        let span = call.span().clone();
        match self.send_traced(request, &span).instrument(span.clone()).await {
            Ok(response) => Ok(call.observe(response).map(Body::new)),
            Err(status) => {
                call.end(status.code());
                Err(status)
            }
        }
    }

    async fn send_traced(
        &self,
        mut request: Request<Body>,
        span: &tracing::Span,
    ) -> Result<Response<hyper::body::Incoming>, Status> {
        let _slot = self.shared.calls.try_acquire().map_err(|_| {
            Status::resource_exhausted(format!("{CALLS_MAX} calls to {} wait already", self.shared.server_name))
        })?;
        self.address(&mut request)?;
        trace::inject_span(span, request.headers_mut());
        request.headers_mut().entry(HeaderName::from_static(ACTOR)).or_insert_with(|| self.actor.clone());
        let timeout = guard::deadline(request.headers()).unwrap_or(TIMEOUT);
        match tokio::time::timeout(timeout, self.shared.dispatch(request, timeout.min(CONNECTION_WAIT))).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Status::deadline_exceeded(format!(
                "no answer from {} within {} ms",
                self.shared.server_name,
                timeout.as_millis()
            ))),
        }
    }

    /// tonic leaves scheme and authority to the channel.
    fn address(&self, request: &mut Request<Body>) -> Result<(), Status> {
        let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::builder()
            .scheme("https")
            .authority(self.shared.server_name.as_str())
            .path_and_query(path)
            .build()
            .map_err(|error| Status::internal(format!("failed to address the request: {error}")))?;
        Ok(())
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().send(request))
    }
}

// === impl Shared ===

impl Shared {
    async fn dispatch(
        &self,
        mut request: Request<Body>,
        wait: Duration,
    ) -> Result<Response<hyper::body::Incoming>, Status> {
        for _ in 0..SENDS_MAX {
            let Ok(mut chosen) = tokio::time::timeout(wait, self.balancer.choose()).await else {
                return Err(Status::unavailable(format!(
                    "no live connection to {}: {}",
                    self.server_name,
                    self.balancer.trouble()
                )));
            };
            match chosen.sender().try_send_request(request).await {
                Ok(response) => {
                    match observe::status(response.headers()) {
                        Some(Code::Unavailable | Code::ResourceExhausted) => chosen.avoid(),
                        _ => chosen.settle(),
                    }
                    return Ok(response);
                }
                Err(mut failed) => {
                    chosen.broke();
                    let Some(unsent) = failed.take_message() else {
                        let text = format!("connection to {} broke: {}", self.server_name, failed.error());
                        return Err(Status::unavailable(text));
                    };
                    request = unsent;
                }
            }
        }
        Err(Status::unavailable(format!("{SENDS_MAX} connections to {} broke before the request", self.server_name)))
    }
}
