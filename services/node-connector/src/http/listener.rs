//! The two listeners: mutual TLS for the node, plain HTTP on loopback for development (ARCHITECTURE.md 6.3).
//!
//! HTTP/1.1 with keep-alive: the node's forwarder keeps two connections per route, so an idle one must live for a minute at least.

use std::{io, net::SocketAddr, sync::Arc};

use axum::Router;
use fiorino_kit::http::{Arrival, Progress, Terms};
use rustls_pki_types::CertificateDer;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    client_auth::client_name,
    tls::{self, MtlsFiles, Tls},
};
use crate::metrics::Metrics;

pub use fiorino_kit::http::Bounds;

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
    pub(crate) terms: Terms,
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
        let tls = Arc::new(Tls::load(files, context.terms.clock.clone()).await?);
        let told = Arc::downgrade(&tls);
        context.metrics.expiries(context.terms.clock.clone(), move || {
            told.upgrade().map(|tls| tls.expiring()).unwrap_or_default()
        });
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
        let Context { terms, metrics } = &self.context;
        let serving = terms.serve(&self.tcp, &token, |arrival| {
            let (terms, tls) = (terms.clone(), self.tls.clone());
            Connection { terms, tls, router: router.clone(), token: token.clone() }.run(arrival)
        });
        match &self.tls {
            Some(tls) => tokio::select! {
                () = serving => {}
                () = tls.follow(metrics) => {}
            },
            None => serving.await,
        }
    }
}

/// What a connection that was accepted is served with.
struct Connection {
    terms: Terms,
    tls: Option<Arc<Tls>>,
    router: Router,
    token: CancellationToken,
}

// === impl Connection ===

impl Connection {
    async fn run(self, arrival: Arrival) {
        let Arrival { stream: mut guard, from, progress } = arrival;
        let Some(tls) = self.tls.clone() else {
            guard.arm();
            return self.http(guard, progress, "loopback", std::future::pending()).await;
        };
        let from = from.ip();
        match timeout(self.terms.bounds.handshake_within, tls.acceptor().accept(guard)).await {
            Ok(Ok(mut stream)) => {
                stream.get_mut().0.arm();
                let chain: Vec<CertificateDer<'static>> =
                    stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
                // The verifier lets nobody in without a certificate.
                let name = chain.first().map_or_else(|| "unnamed".to_owned(), client_name);
                self.http(stream, progress, &name, tls.is_refused(&chain)).await;
            }
            Ok(Err(error)) => {
                self.terms.ended_early("handshake refused");
                tracing::warn!(from = %from, error = %error, "refused a tls handshake");
            }
            Err(_) => {
                self.terms.ended_early("handshake too slow");
                tracing::warn!(from = %from, "a tls handshake took too long");
            }
        }
    }

    /// Serves until the peer goes, or until shutdown or `refused` and the call in work has ended.
    async fn http<S>(self, stream: S, progress: Arc<Progress>, name: &str, refused: impl Future<Output = ()>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let caller = Caller { name: Arc::from(name), progress: Arc::clone(&progress) };
        let over = async {
            tokio::select! {
                () = self.token.cancelled() => {}
                () = refused => self.terms.ended_early("certificate no longer accepted"),
            }
        };
        let begin = |extensions: &mut http::Extensions| {
            extensions.insert(caller.clone());
        };
        self.terms.http1(stream, progress, self.router.clone(), begin, over).await;
    }
}
