//! HTTP/1.1 for callers whom nobody vouches for: every step of a connection is bounded in time, their number too, and a full listener
//! makes room.
//!
//! ```text
//!  TcpListener -> serve: Connections (room, who goes) -> Guard (time of heads and answers) -> [TLS] -> http1 -> axum's Router
//! ```

mod connections;
mod guard;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use ::http::{Extensions, HeaderMap, Request, Version, header::HOST};
use axum::Router;
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::rt::{TokioIo, TokioTimer};
use opentelemetry::{KeyValue, metrics::Counter};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_service::Service as _;

use self::connections::{Connections, Slot};
pub use self::{
    connections::{Bounds, Progress},
    guard::Guard,
};
use crate::clock::Clock;

/// After an error of the listener itself.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long requests in work may go on after shutdown began.
const DRAIN: Duration = Duration::from_secs(10);
/// Longest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Header fields of a request.
const HEADERS_MAX: usize = 64;

/// What connections are held to.
#[derive(Debug, Clone)]
pub struct Terms {
    /// How many, and how long for each step.
    pub bounds: Bounds,
    /// For who has waited the longest.
    pub clock: Clock,
    /// Counts connections that ended early, by `reason`: see [`EVICTED`] and [`Terms::http1`].
    pub ended: Counter<u64>,
}

/// Reason of [`Terms::ended`]: another connection needed the room.
pub const EVICTED: &str = "evicted";

/// A connection that was let in.
#[derive(Debug)]
pub struct Arrival {
    /// Its bytes; to be armed when requests begin.
    pub stream: Guard<TcpStream>,
    /// The other end.
    pub from: SocketAddr,
    /// How far it is.
    pub progress: Arc<Progress>,
}

/// Whether a request names the host that it is for, and names one: else two readers of it could think of different hosts (RFC 9112, 3.2).
pub fn names_one_host(version: Version, headers: &HeaderMap) -> bool {
    match headers.get_all(HOST).iter().count() {
        0 => version < Version::HTTP_11,
        count => count == 1,
    }
}

// === impl Terms ===

impl Terms {
    /// Gives every connection of a listener to `work`, until `token` is cancelled; then lets those in work end, for 10 s at most.
    pub async fn serve<W>(&self, tcp: &TcpListener, token: &CancellationToken, work: impl Fn(Arrival) -> W)
    where
        W: Future<Output = ()> + Send + 'static,
    {
        let connections = Connections::new(&self.bounds, self.clock.clone());
        let tracker = TaskTracker::new();
        while let Some((stream, from, slot)) = self.next(tcp, &connections, token).await {
            let progress = Arc::clone(&slot.progress);
            let stream = Guard::new(stream, self.bounds, Arc::clone(&progress));
            let working = work(Arrival { stream, from, progress });
            tracker.spawn(async move {
                tokio::select! {
                    () = slot.progress.evicted() => {}
                    () = working => {}
                }
                drop(slot);
            });
        }
        tracker.close();
        if timeout(DRAIN, tracker.wait()).await.is_err() {
            tracing::warn!(open = tracker.len(), "connections were still open when draining ended");
        }
    }

    /// The next connection, with room for it; `None` when serving ends.
    async fn next(
        &self,
        tcp: &TcpListener,
        connections: &Connections,
        token: &CancellationToken,
    ) -> Option<(TcpStream, SocketAddr, Slot)> {
        loop {
            match token.run_until_cancelled(tcp.accept()).await? {
                Ok((stream, from)) => {
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(error = %error, "failed to set nodelay");
                    }
                    let (slot, evicted) = token.run_until_cancelled(connections.admit()).await?;
                    if evicted {
                        self.ended_early(EVICTED);
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

    /// Serves HTTP/1.1 with keep-alive until the peer goes, or until `over` and the request in work has ended. Each request is given to
    /// `begin` before the routes. Reasons of an early end: `too slow`, `malformed`, `broken off`.
    pub async fn http1<S>(
        &self,
        stream: S,
        progress: Arc<Progress>,
        router: Router,
        begin: impl Fn(&mut Extensions),
        over: impl Future<Output = ()>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            let (progress, mut router) = (Arc::clone(&progress), router.clone());
            progress.head_is_whole();
            begin(request.extensions_mut());
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
            // Who ends its sending side is answered all the same: what was asked goes on.
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let served = tokio::select! {
            served = connection.as_mut() => served,
            () = over => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = served {
            self.ended_early(why(&error));
            tracing::debug!(error = %error, "a connection ended early");
        }
    }

    /// Counts a connection that ended early; `reason` is of a closed list.
    pub fn ended_early(&self, reason: &'static str) {
        self.ended.add(1, &[KeyValue::new("reason", reason)]);
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

#[cfg(test)]
mod tests {
    use ::http::HeaderValue;

    use super::*;

    #[rstest::rstest]
    #[case(Version::HTTP_11, &["a"], true)]
    #[case(Version::HTTP_11, &[], false)]
    #[case(Version::HTTP_11, &["a", "a"], false)]
    #[case(Version::HTTP_10, &[], true)]
    #[case(Version::HTTP_10, &["a", "b"], false)]
    fn a_request_is_for_one_host(#[case] version: Version, #[case] hosts: &[&'static str], #[case] clear: bool) {
        let hosts = hosts.iter().map(|host| (HOST, HeaderValue::from_static(host)));
        assert_eq!(names_one_host(version, &hosts.collect()), clear);
    }
}
