//! A TCP proxy between two parts that can be cut, silenced and slowed down.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

const BUFFER_BYTES: usize = 16 * 1024;

/// What the proxy does with connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Everything passes.
    Open,
    /// Connections break at once.
    Cut,
    /// Connections stay, nothing passes.
    Silent,
    /// What is connected hangs for ever, new connections pass: as after a failover to another machine.
    FailedOver,
    /// Everything passes so much later.
    Slow(Duration),
}

/// A proxy; dropping it cuts it.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    target: Arc<Mutex<SocketAddr>>,
    line: watch::Sender<Line>,
    /// How often it was cut: who is slow to look must not miss a short cut.
    cuts: watch::Sender<u64>,
    accepting: AbortHandle,
}

// === impl Proxy ===

impl Proxy {
    /// A proxy before `target`, on a free port of loopback. Lives on the runtime of the caller.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn before(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let ((line, told), (cuts, cut)) = (watch::channel(Line::Open), watch::channel(0));
        let target = Arc::new(Mutex::new(target));
        let targets = Arc::clone(&target);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let target = *targets.lock().unwrap_or_else(PoisonError::into_inner);
                tokio::spawn(pass(stream, target, told.clone(), cut.clone()));
            }
        });
        Ok(Self { address, target, line, cuts, accepting: accepting.abort_handle() })
    }

    /// A URL's server by way of a new proxy.
    ///
    /// # Errors
    /// When the URL does not name an IP address and a port.
    pub async fn before_url(url: &str) -> Result<(Self, String)> {
        let (_, rest) = url.split_once("://").context("the URL has no scheme")?;
        let authority = rest.split(['/', '?']).next().unwrap_or(rest);
        let server = authority.rsplit('@').next().unwrap_or(authority);
        let proxy = Self::before(server.parse().with_context(|| format!("{server} is no address"))?).await?;
        let by_proxy = url.replace(server, &proxy.address.to_string());
        Ok((proxy, by_proxy))
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What happens to connections from now on.
    pub fn set(&self, line: Line) {
        self.line.send_replace(line);
        if line == Line::Cut {
            self.cuts.send_modify(|cuts| *cuts += 1);
        }
    }

    /// Where new connections lead from now on.
    pub fn redirect(&self, target: SocketAddr) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = target;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass(from: TcpStream, target: SocketAddr, line: watch::Receiver<Line>, mut cut: watch::Receiver<u64>) {
    cut.mark_unchanged();
    let born = *line.borrow();
    if born == Line::Cut {
        return;
    }
    let Ok(to) = TcpStream::connect(target).await else { return };
    if from.set_nodelay(true).and_then(|()| to.set_nodelay(true)).is_err() {
        return;
    }
    let ((from_client, to_client), (from_server, to_server)) = (from.into_split(), to.into_split());
    tokio::select! {
        _ = async { tokio::join!(pump(from_client, to_server, line.clone(), born), pump(from_server, to_client, line, born)) } => {}
        // An error: the proxy is gone.
        _ = cut.changed() => {}
    }
}

/// One direction. Between reading and writing it is not interrupted: what was taken is handed on.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut line: watch::Receiver<Line>, born: Line) {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let now = *line.borrow_and_update();
        let passes = match now {
            Line::Open | Line::Slow(_) => true,
            Line::FailedOver => born == Line::FailedOver,
            Line::Silent | Line::Cut => false,
        };
        let read = tokio::select! {
            read = from.read(&mut buffer), if passes => read,
            changed = line.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        let Ok(bytes @ 1..) = read else { break };
        if let Line::Slow(by) = now {
            tokio::time::sleep(by).await;
        }
        if to.write_all(&buffer[..bytes]).await.is_err() {
            return;
        }
    }
    // The end of what was said is passed on too; the other direction goes on.
    drop(to.shutdown().await);
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;
    use crate::Stopwatch;

    const SHORT: Duration = Duration::from_millis(150);

    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (mut from, mut to) = stream.into_split();
                tokio::spawn(async move { tokio::io::copy(&mut from, &mut to).await });
            }
        });
        address
    }

    async fn say(stream: &mut TcpStream, word: &[u8; 4]) -> std::io::Result<()> {
        stream.write_all(word).await?;
        let mut heard = [0; 4];
        stream.read_exact(&mut heard).await?;
        assert_eq!(&heard, word);
        Ok(())
    }

    #[tokio::test]
    async fn a_silent_line_loses_nothing_and_a_cut_one_breaks() {
        let proxy = Proxy::before(echo().await).await.unwrap();
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        say(&mut stream, b"open").await.unwrap();
        proxy.set(Line::Silent);
        stream.write_all(b"late").await.unwrap();
        let mut heard = [0; 4];
        timeout(SHORT, stream.read_exact(&mut heard)).await.unwrap_err();
        proxy.set(Line::Open);
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"late");
        proxy.set(Line::Cut);
        say(&mut stream, b"gone").await.unwrap_err();
        let refused = async {
            let mut stream = TcpStream::connect(proxy.address()).await?;
            say(&mut stream, b"gone").await
        };
        refused.await.unwrap_err();
        proxy.set(Line::Open);
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        say(&mut stream, b"back").await.unwrap();
        proxy.set(Line::Cut);
        proxy.set(Line::Open);
        say(&mut stream, b"gone").await.unwrap_err();
    }

    #[tokio::test]
    async fn a_slow_line_takes_its_time_both_ways() {
        let proxy = Proxy::before(echo().await).await.unwrap();
        proxy.set(Line::Slow(SHORT));
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        let begun = Stopwatch::start();
        say(&mut stream, b"slow").await.unwrap();
        assert!(begun.elapsed() >= SHORT * 2, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn after_a_failover_only_new_connections_pass() {
        let proxy = Proxy::before(echo().await).await.unwrap();
        let mut old = TcpStream::connect(proxy.address()).await.unwrap();
        say(&mut old, b"old ").await.unwrap();
        proxy.set(Line::FailedOver);
        timeout(SHORT, say(&mut old, b"lost")).await.unwrap_err();
        say(&mut TcpStream::connect(proxy.address()).await.unwrap(), b"new ").await.unwrap();
    }

    #[tokio::test]
    async fn new_connections_follow_a_redirection() {
        let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
        let (proxy, url) = Proxy::before_url(&format!("postgres://user@{closed}/name?x=1")).await.unwrap();
        assert_eq!(url, format!("postgres://user@{}/name?x=1", proxy.address()));
        let mut refused = TcpStream::connect(proxy.address()).await.unwrap();
        say(&mut refused, b"none").await.unwrap_err();
        proxy.redirect(echo().await);
        say(&mut TcpStream::connect(proxy.address()).await.unwrap(), b"some").await.unwrap();
    }
}
