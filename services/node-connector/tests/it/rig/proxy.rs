//! A TCP proxy that can be cut: what stands behind it is away, or hangs without a word.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// What the proxy does with connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    Open,
    /// Connections break at once.
    Cut,
    /// Connections stay, nothing passes.
    Silent,
    /// What is connected hangs for ever, new connections pass: as after a failover to another machine.
    FailedOver,
}

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    line: Arc<watch::Sender<Line>>,
}

// === impl Proxy ===

impl Proxy {
    pub(crate) async fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind(super::loopback()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let line = Arc::new(watch::Sender::new(Line::Open));
        let told = Arc::clone(&line);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(pass(stream, target, told.subscribe()));
            }
        });
        Self { address, line }
    }

    /// A database's URL by way of a new proxy.
    pub(crate) async fn before_database(url: &str) -> (Self, String) {
        let (_, server) = url.split_once('@').unwrap();
        let (server, _) = server.split_once('/').unwrap();
        let proxy = Self::before(server.parse().unwrap()).await;
        let by_proxy = url.replace(server, &proxy.address.to_string());
        (proxy, by_proxy)
    }

    pub(crate) fn set(&self, line: Line) {
        self.line.send_replace(line);
    }
}

async fn pass(mut from: TcpStream, target: SocketAddr, mut line: watch::Receiver<Line>) {
    let born = *line.borrow();
    if born == Line::Cut {
        return;
    }
    let mut to = TcpStream::connect(target).await.unwrap();
    loop {
        let now = *line.borrow_and_update();
        tokio::select! {
            _ = copy_bidirectional(&mut from, &mut to), if now == Line::Open || (now, born) == (Line::FailedOver, Line::FailedOver) => return,
            changed = line.changed() => if changed.is_err() || *line.borrow() == Line::Cut { return },
        }
    }
}
