//! A tenant that does what a test tells it, over real gRPC and mTLS. It streams its configuration; every other call is the script's of
//! the service under test. It is strict: a request that the proto does not allow is refused and remembered, and fails the test at its end.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod answer;
mod configuration;
mod shared;

use std::{net::SocketAddr, sync::MutexGuard, time::Duration};

use fiorino_kit::{
    options::TlsOptions,
    rpc::{Allow, Limits, Server},
    tls::Identity,
};
use fiorino_proto::config::v1::{Ack, Resource, config_stream_server::ConfigStreamServer};
use fiorino_rig::{certs::Mesh, eventually};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

pub use crate::{answer::Answer, configuration::resource, shared::Shared};

/// How long an address of before may still be in use.
const SOON: Duration = Duration::from_secs(10);
/// Open calls are cut off at a stop: what is gone does not say good-bye for long.
const DRAIN: Duration = Duration::from_millis(50);

/// What a test tells tenant about the calls of one service, and what tenant saw of them.
pub trait Script: Sized + Send + 'static {
    /// The service that calls, as its hello tells it.
    const CALLER: &'static str;
    /// What it may call, the configuration stream included.
    const ALLOWED: &'static [Allow];

    /// Adds what answers the calls.
    fn serve(server: Server, shared: &Shared<Self>) -> Server;
}

/// One replica of tenant.
#[derive(Debug)]
pub struct Tenant<S> {
    address: SocketAddr,
    identity: Identity,
    shared: Shared<S>,
    running: Option<(CancellationToken, JoinHandle<()>)>,
}

// === impl Tenant ===

impl<S: Script> Tenant<S> {
    /// With this configuration.
    pub async fn start(mesh: &Mesh, resources: impl IntoIterator<Item = Resource>, script: S) -> Self {
        let files = mesh.identity("tenant");
        let tls = TlsOptions { tls_cert: files.cert, tls_key: files.key, tls_ca: files.ca };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut tenant = Self {
            address: listener.local_addr().unwrap(),
            identity: Identity::load(&tls).unwrap(),
            shared: Shared::new(resources, script),
            running: None,
        };
        tenant.serve(listener);
        tenant
    }

    /// Where it is called.
    pub fn endpoint(&self) -> String {
        format!("https://{}", self.address)
    }

    /// What it does, and what it saw.
    pub fn script(&self) -> MutexGuard<'_, S> {
        self.shared.script()
    }

    /// Streams resources, each in the place of the one with its uid; the sequence of the configuration with them.
    pub fn configure(&self, resources: impl IntoIterator<Item = Resource>) -> i64 {
        self.shared.configuration.change(resources)
    }

    /// The latest acknowledgement.
    pub fn acknowledged(&self) -> Option<Ack> {
        self.shared.configuration.acknowledged()
    }

    /// The process is gone: connections break, new ones are refused.
    pub async fn stop(&mut self) {
        let (token, task) = self.running.take().unwrap();
        token.cancel();
        task.await.unwrap();
    }

    /// Back at the same address.
    pub async fn restart(&mut self) {
        let listener = eventually(SOON, async || TcpListener::bind(self.address).await).await.unwrap();
        self.serve(listener);
    }

    fn serve(&mut self, listener: TcpListener) {
        let token = CancellationToken::new();
        let shared = self.shared.clone().until(token.clone());
        let server = Server::new(&self.identity, S::ALLOWED).limits(Limits { drain: DRAIN, ..Limits::default() });
        let server = S::serve(server, &shared).add(ConfigStreamServer::new(shared));
        let until = token.clone();
        let task = tokio::spawn(async move { server.serve(listener, until).await.unwrap() });
        self.running = Some((token, task));
    }
}

impl<S> Drop for Tenant<S> {
    fn drop(&mut self) {
        if let Some((token, _)) = self.running.take() {
            token.cancel();
        }
        if !std::thread::panicking() {
            assert_eq!(self.shared.broken_rules(), Vec::<String>::new(), "requests that the proto does not allow");
        }
    }
}
