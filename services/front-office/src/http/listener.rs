//! Plain HTTP/1.1; TLS ends in front of it. How many connections there are, and how long each may take for what, is kit's.

use std::{io, net::SocketAddr, sync::Arc};

use axum::Router;
use fiorino_kit::http::{Arrival, Terms};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// A bound listener.
#[derive(Debug)]
pub(crate) struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
    terms: Terms,
}

// === impl Listener ===

impl Listener {
    pub(crate) async fn bind(address: SocketAddr, terms: Terms) -> io::Result<Self> {
        let tcp = TcpListener::bind(address).await?;
        let address = tcp.local_addr()?;
        Ok(Self { tcp, address, terms })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `token` is cancelled, then lets the pages in work end.
    pub(crate) async fn serve(self, router: Router, token: CancellationToken) {
        let work = |arrival| connection(arrival, self.terms.clone(), router.clone(), token.clone());
        self.terms.serve(&self.tcp, &token, work).await;
    }
}

async fn connection(arrival: Arrival, terms: Terms, router: Router, token: CancellationToken) {
    let Arrival { mut stream, from, progress } = arrival;
    stream.arm();
    let asked = Arc::clone(&progress);
    let begin = move |extensions: &mut http::Extensions| {
        extensions.insert(Peer(from));
        // Nobody reads a body: with its head a request is whole.
        asked.busy();
    };
    terms.http1(stream, progress, router, begin, token.cancelled()).await;
}
