//! Keeps one connection alive.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_rustls::TlsConnector;
use tonic::body::Body;

use super::balance::{Balancer, Slot, Target};
use crate::{backoff::Backoff, error};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(2);
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;

/// Why an address cannot be reached.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("failed to connect")]
    Connect(#[source] io::Error),
    #[error("failed to shake hands")]
    Handshake(#[source] io::Error),
    #[error("failed to begin HTTP/2")]
    Http2(#[source] hyper::Error),
    #[error("failed to connect within {} ms", CONNECT_TIMEOUT.as_millis())]
    Timeout,
}

/// Connects, waits until the connection breaks, and again; for ever.
pub(super) async fn keep(balancer: Arc<Balancer>, slot: Arc<Slot>, target: Arc<Target>) -> Infallible {
    let mut retry = Backoff::FAST.retry();
    loop {
        let trouble = match tokio::time::timeout(CONNECT_TIMEOUT, connect(slot.address, &target)).await {
            Ok(Ok((sender, driver))) => {
                retry.reset();
                slot.connected(sender);
                balancer.notify();
                wait(&slot, driver).await
            }
            Ok(Err(trouble)) => error::chain(&trouble),
            Err(_) => error::chain(&Trouble::Timeout),
        };
        tracing::debug!(address = %slot.address, trouble, "not connected");
        slot.disconnected(trouble);
        retry.wait().await;
    }
}

/// Until the connection ends, or takes no more calls: then it is left alone with the streams that it still carries.
async fn wait(slot: &Slot, mut driver: JoinHandle<hyper::Result<()>>) -> String {
    tokio::select! {
        ended = &mut driver => match ended {
            Ok(Ok(())) => "closed by the other side".to_owned(),
            Ok(Err(broken)) => error::chain(&broken),
            Err(broken) => error::chain(&broken),
        },
        () = slot.broken.notified() => "takes no more calls".to_owned(),
    }
}

async fn connect(
    address: SocketAddr,
    target: &Target,
) -> Result<(SendRequest<Body>, JoinHandle<hyper::Result<()>>), Trouble> {
    let stream = TcpStream::connect(address).await.map_err(Trouble::Connect)?;
    stream.set_nodelay(true).map_err(Trouble::Connect)?;
    let connector = TlsConnector::from(target.identity.client_config());
    let stream = connector.connect(target.server_name.clone(), stream).await.map_err(Trouble::Handshake)?;
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(Trouble::Http2)?;
    Ok((sender, tokio::spawn(connection)))
}
