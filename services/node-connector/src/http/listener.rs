//! The two listeners: mutual TLS for the node, plain HTTP on loopback for development (ARCHITECTURE.md 6.3).
//!
//! HTTP/1.1 with keep-alive: the node's forwarder keeps two connections per route, so an idle one must live for a minute at least.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use fiorino_kit::clock::Clock;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls_pki_types::CertificateDer;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service as _;

use super::{
    client_auth::client_name,
    connections::{Connections, Progress, Slot},
    guard::Guard,
    tls::{self, MtlsFiles, Tls},
};
use crate::metrics::Metrics;

pub use super::connections::Bounds;

/// After an error of the listener itself.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long calls in work may go on after shutdown began.
const DRAIN: Duration = Duration::from_secs(10);
/// Longest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Header fields of a request.
const HEADERS_MAX: usize = 64;

/// Why a listener cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Plain HTTP authenticates nobody.
    #[error("--plain-listen {address} is not loopback: use 127.0.0.1 or [::1], or --listen-mtls for other addresses")]
    NotLoopback {
        /// What was given.
        address: SocketAddr,
    },
    /// The address cannot be bound.
    #[error("failed to listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The files of mutual TLS.
    #[error(transparent)]
    Tls(#[from] tls::Error),
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// Name in the verified client certificate, or `loopback`.
    pub(crate) name: Arc<str>,
    /// Of its connection.
    pub(crate) progress: Arc<Progress>,
}

/// A bound listener.
pub(crate) struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<Tls>>,
    context: Context,
}

/// What every listener works with.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) bounds: Bounds,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
}

// === impl Listener ===

impl std::fmt::Debug for Listener {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Listener")
            .field("address", &self.address)
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}

impl Listener {
    /// Plain HTTP, for development.
    pub(crate) async fn plain(address: SocketAddr, context: Context) -> Result<Self, Error> {
        if !address.ip().is_loopback() {
            return Err(Error::NotLoopback { address });
        }
        Self::bind(address, None, context).await
    }

    /// Mutual TLS 1.2 and 1.3.
    pub(crate) async fn mtls(address: SocketAddr, files: &MtlsFiles, context: Context) -> Result<Self, Error> {
        let tls = Arc::new(Tls::load(files, context.clock.clone()).await?);
        let told = Arc::downgrade(&tls);
        context
            .metrics
            .expiries(context.clock.clone(), move || told.upgrade().map(|tls| tls.expiring()).unwrap_or_default());
        Self::bind(address, Some(tls), context).await
    }

    async fn bind(address: SocketAddr, tls: Option<Arc<Tls>>, context: Context) -> Result<Self, Error> {
        let failed = |source| Error::Bind { address, source };
        let tcp = TcpListener::bind(address).await.map_err(failed)?;
        let address = tcp.local_addr().map_err(failed)?;
        Ok(Self { tcp, address, tls, context })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `token` is cancelled, then lets the calls in work end.
    pub(crate) async fn serve(self, router: Router, token: CancellationToken) {
        let Context { bounds, clock, metrics } = &self.context;
        let tracker = TaskTracker::new();
        let connections = Connections::new(bounds, clock.clone());
        let accept = async {
            while let Some((stream, from, slot)) = self.next(&connections, &token).await {
                let connection = Connection {
                    from,
                    bounds: *bounds,
                    progress: Arc::clone(&slot.progress),
                    tls: self.tls.clone(),
                    router: router.clone(),
                    token: token.clone(),
                    metrics: metrics.clone(),
                };
                tracker.spawn(async move {
                    tokio::select! {
                        () = slot.progress.evicted() => {}
                        () = connection.run(stream) => {}
                    }
                    drop(slot);
                });
            }
        };
        match &self.tls {
            Some(tls) => tokio::select! {
                () = accept => {}
                () = tls.follow(metrics) => {}
            },
            None => accept.await,
        }
        tracker.close();
        if timeout(DRAIN, tracker.wait()).await.is_err() {
            tracing::warn!(open = tracker.len(), "connections were still open when draining ended");
        }
    }

    /// The next connection, with room for it; `None` when serving ends.
    async fn next(
        &self,
        connections: &Connections,
        token: &CancellationToken,
    ) -> Option<(TcpStream, SocketAddr, Slot)> {
        loop {
            match token.run_until_cancelled(self.tcp.accept()).await? {
                Ok((stream, from)) => {
                    let (slot, evicted) = token.run_until_cancelled(connections.admit()).await?;
                    if evicted {
                        self.context.metrics.connection_ended("evicted");
                    }
                    return Some((stream, from, slot));
                }
                // Out of file descriptors, or a connection that went away in the queue: neither ends the listener.
                Err(error) => {
                    tracing::warn!(error = %error, "failed to accept a connection");
                    connections.evict();
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// A connection that was accepted.
struct Connection {
    from: SocketAddr,
    bounds: Bounds,
    progress: Arc<Progress>,
    tls: Option<Arc<Tls>>,
    router: Router,
    token: CancellationToken,
    metrics: Metrics,
}

// === impl Connection ===

impl Connection {
    async fn run(self, stream: TcpStream) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(error = %error, "failed to set nodelay");
        }
        let mut guard = Guard::new(stream, self.bounds, Arc::clone(&self.progress));
        let Some(tls) = self.tls.clone() else {
            guard.arm();
            return self.http(guard, "loopback", std::future::pending()).await;
        };
        let from = self.from.ip();
        match timeout(self.bounds.handshake_within, tls.acceptor().accept(guard)).await {
            Ok(Ok(mut stream)) => {
                stream.get_mut().0.arm();
                let chain: Vec<CertificateDer<'static>> =
                    stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
                // The verifier lets nobody in without a certificate.
                let name = chain.first().map_or_else(|| "unnamed".to_owned(), client_name);
                self.http(stream, &name, tls.is_refused(&chain)).await;
            }
            Ok(Err(error)) => {
                self.metrics.connection_ended("handshake refused");
                tracing::warn!(from = %from, error = %error, "refused a tls handshake");
            }
            Err(_) => {
                self.metrics.connection_ended("handshake too slow");
                tracing::warn!(from = %from, "a tls handshake took too long");
            }
        }
    }

    /// Serves until the peer goes, or until shutdown or `refused` and the call in work has ended.
    async fn http<S>(&self, stream: S, name: &str, refused: impl Future<Output = ()>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let caller = Caller { name: Arc::from(name), progress: Arc::clone(&self.progress) };
        let router = self.router.clone();
        let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            let (progress, mut router) = (Arc::clone(&caller.progress), router.clone());
            progress.head_is_whole();
            request.extensions_mut().insert(caller.clone());
            async move {
                let answer = router.call(request).await;
                progress.answered();
                answer
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.bounds.idle)
            .max_buf_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .keep_alive(true)
            // Who ends its sending side is answered all the same: what was asked goes on, a receipt above all.
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let served = tokio::select! {
            served = connection.as_mut() => served,
            () = self.token.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            () = refused => {
                self.metrics.connection_ended("certificate no longer accepted");
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = served {
            self.metrics.connection_ended(why(&error));
            tracing::debug!(error = %error, "a connection ended early");
        }
    }
}

/// Why HTTP ended a connection: a closed list.
fn why(error: &hyper::Error) -> &'static str {
    let slow = std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<io::Error>())
        .is_some_and(|source| source.kind() == io::ErrorKind::TimedOut);
    match () {
        () if slow || error.is_timeout() => "too slow",
        () if error.is_parse() => "malformed",
        () => "broken off",
    }
}
