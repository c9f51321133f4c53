//! The two listeners: mutual TLS for the node, plain HTTP on loopback for development (ARCHITECTURE.md 6.3).
//!
//! HTTP/1.1 with keep-alive: the node's forwarder keeps two connections per route, so an idle one must live for a minute at least.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service as _;

use super::{
    client_auth::client_name,
    tls::{self, MtlsFiles, Tls},
};

/// Connections open at once per listener; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 1_024;
/// After an error of the listener itself.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may be idle, or take to send the head of a request: the forwarder keeps idle ones for a minute.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// How long calls in work may go on after shutdown began.
const DRAIN: Duration = Duration::from_secs(10);
/// Longest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;

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
}

/// A bound listener.
pub(crate) struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
    tls: Option<Tls>,
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
    pub(crate) async fn plain(address: SocketAddr) -> Result<Self, Error> {
        if !address.ip().is_loopback() {
            return Err(Error::NotLoopback { address });
        }
        Self::bind(address, None).await
    }

    /// Mutual TLS 1.2 and 1.3.
    pub(crate) async fn mtls(address: SocketAddr, files: &MtlsFiles) -> Result<Self, Error> {
        Self::bind(address, Some(Tls::load(files).await?)).await
    }

    async fn bind(address: SocketAddr, tls: Option<Tls>) -> Result<Self, Error> {
        let failed = |source| Error::Bind { address, source };
        let tcp = TcpListener::bind(address).await.map_err(failed)?;
        let address = tcp.local_addr().map_err(failed)?;
        Ok(Self { tcp, address, tls })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `token` is cancelled, then lets the calls in work end.
    pub(crate) async fn serve(self, router: Router, token: CancellationToken) {
        let connections = TaskTracker::new();
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let accept = async {
            while let Some((stream, from, slot)) = self.next(&slots, &token).await {
                let tls = self.tls.as_ref().map(Tls::acceptor);
                let (router, token) = (router.clone(), token.clone());
                connections.spawn(async move {
                    connection(stream, from.ip(), tls, router, token).await;
                    drop(slot);
                });
            }
        };
        match &self.tls {
            Some(tls) => tokio::select! {
                () = accept => {}
                () = tls.follow() => {}
            },
            None => accept.await,
        }
        connections.close();
        if timeout(DRAIN, connections.wait()).await.is_err() {
            tracing::warn!(open = connections.len(), "connections were still open when draining ended");
        }
    }

    /// The next connection, once there is room for it; `None` when serving ends.
    async fn next(&self, slots: &Arc<Semaphore>, token: &CancellationToken) -> Option<Accepted> {
        let slot = token.run_until_cancelled(Arc::clone(slots).acquire_owned()).await?.ok()?;
        loop {
            match token.run_until_cancelled(self.tcp.accept()).await? {
                Ok((stream, from)) => return Some((stream, from, slot)),
                // Out of file descriptors, or a connection that went away in the queue: neither ends the listener.
                Err(error) => {
                    tracing::warn!(error = %error, "failed to accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

type Accepted = (TcpStream, SocketAddr, OwnedSemaphorePermit);

async fn connection(
    stream: TcpStream,
    from: IpAddr,
    tls: Option<TlsAcceptor>,
    router: Router,
    token: CancellationToken,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = %error, "failed to set nodelay");
    }
    let Some(tls) = tls else {
        return http(stream, Caller { name: Arc::from("loopback") }, router, token).await;
    };
    match timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
        Ok(Ok(stream)) => {
            let name = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).map(client_name);
            // The verifier lets nobody in without a certificate.
            let caller = Caller { name: name.unwrap_or_else(|| "unnamed".to_owned()).into() };
            http(stream, caller, router, token).await;
        }
        Ok(Err(error)) => tracing::warn!(from = %from, error = %error, "refused a tls handshake"),
        Err(_) => tracing::warn!(from = %from, "a tls handshake took too long"),
    }
}

async fn http<S>(stream: S, caller: Caller, router: Router, token: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(caller.clone());
        router.clone().call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .keep_alive(true)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = token.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(error = %error, "a connection ended early");
    }
}
