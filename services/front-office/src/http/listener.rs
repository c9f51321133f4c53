//! Plain HTTP/1.1 with a limit on everything: connections, their life, heads. TLS ends in front of it.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service as _;

/// Connections open at once; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 1_024;
/// After an error of the listener itself.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a connection may be idle, or take to send the head of a request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Then a connection ends with its request: whoever reads a page byte by byte does not keep it for ever.
const LIFE: Duration = Duration::from_mins(5);
/// How long pages in work may take after shutdown, or the end of a connection's life, began.
const DRAIN: Duration = Duration::from_secs(10);
/// Longest head of a request, in bytes: hyper takes no smaller buffer.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// The other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// A bound listener.
#[derive(Debug)]
pub(crate) struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
}

type Accepted = (TcpStream, Peer, OwnedSemaphorePermit);

// === impl Listener ===

impl Listener {
    pub(crate) async fn bind(address: SocketAddr) -> io::Result<Self> {
        let tcp = TcpListener::bind(address).await?;
        let address = tcp.local_addr()?;
        Ok(Self { tcp, address })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `token` is cancelled, then lets the pages in work end.
    pub(crate) async fn serve(self, router: Router, token: CancellationToken) {
        let connections = TaskTracker::new();
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        while let Some((stream, peer, slot)) = self.next(&slots, &token).await {
            let (router, token) = (router.clone(), token.clone());
            connections.spawn(async move {
                connection(stream, peer, router, token).await;
                drop(slot);
            });
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
                Ok((stream, from)) => return Some((stream, Peer(from), slot)),
                // Out of file descriptors, or a connection that went away in the queue: neither ends the listener.
                Err(error) => {
                    tracing::warn!(error = %error, "failed to accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn connection(stream: TcpStream, peer: Peer, router: Router, token: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = %error, "failed to set nodelay");
    }
    let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(peer);
        router.clone().call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let over = async {
        tokio::select! {
            () = token.cancelled() => {}
            () = tokio::time::sleep(LIFE) => {}
        }
    };
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = over => {
            connection.as_mut().graceful_shutdown();
            timeout(DRAIN, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = served {
        tracing::debug!(error = %error, "a connection ended early");
    }
}
