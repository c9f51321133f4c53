//! A fake of tenant: what a test told it, over real gRPC and mTLS. It is strict: a request that the proto does not allow is refused
//! and remembered, and fails the test at its end.

mod script;
mod serve;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use fiorino_kit::{
    options::TlsOptions,
    rpc::{Allow, Limits, Server},
    tls::Identity,
};
use fiorino_proto::{
    config::v1::{
        config_read_server::ConfigReadServer, config_readback_server::ConfigReadbackServer,
        config_stream_server::ConfigStreamServer,
    },
    notices::v1::notices_server::NoticesServer,
    receipts::v1::receipts_server::ReceiptsServer,
};
use fiorino_test_support::certs::Mesh;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

pub(crate) use self::script::{Answer, Script, activated, broker, institution, station};
use super::Names;

const CALLERS: &[&str] = &["node-connector"];
const ALLOWED: &[Allow] = &[
    Allow { method: "/fiorino.config.v1.ConfigStream/Stream", callers: CALLERS },
    Allow { method: "/fiorino.config.v1.ConfigRead/ResolveAddressee", callers: CALLERS },
    Allow { method: "/fiorino.config.v1.ConfigReadback/RecordReadback", callers: CALLERS },
    Allow { method: "/fiorino.notices.v1.Notices/VerifyMany", callers: CALLERS },
    Allow { method: "/fiorino.notices.v1.Notices/ActivateMany", callers: CALLERS },
    Allow { method: "/fiorino.receipts.v1.Receipts/ApplyReceipts", callers: CALLERS },
];

/// One replica of tenant.
pub(crate) struct Tenant {
    address: SocketAddr,
    identity: Identity,
    fake: Fake,
    running: Option<(CancellationToken, JoinHandle<()>)>,
}

/// What every service of the fake shares.
#[derive(Clone)]
struct Fake {
    script: Arc<Mutex<Script>>,
    /// Sequence of the configuration: a change is streamed.
    seq: Arc<watch::Sender<i64>>,
    token: CancellationToken,
}

// === impl Tenant ===

impl Tenant {
    pub(crate) async fn start(mesh: &Mesh, names: &Names) -> Self {
        let files = mesh.identity("tenant");
        let tls = TlsOptions { tls_cert: files.cert, tls_key: files.key, tls_ca: files.ca };
        let listener = TcpListener::bind(super::loopback()).await.unwrap();
        let mut tenant = Self {
            address: listener.local_addr().unwrap(),
            identity: Identity::load(&tls).unwrap(),
            fake: Fake {
                script: Arc::new(Mutex::new(Script::of(names))),
                seq: Arc::new(watch::Sender::new(1)),
                token: CancellationToken::new(),
            },
            running: None,
        };
        tenant.serve(listener);
        tenant
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("https://{}", self.address)
    }

    /// What the fake does, and what it saw.
    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.fake.script.lock().unwrap()
    }

    /// Changes the configuration and streams it.
    pub(crate) fn configure(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script());
        self.fake.seq.send_modify(|seq| *seq += 1);
    }

    /// The process is gone: connections break, new ones are refused.
    pub(crate) async fn stop(&mut self) {
        let (token, task) = self.running.take().unwrap();
        token.cancel();
        task.await.unwrap();
    }

    /// Back at the same address.
    pub(crate) async fn restart(&mut self) {
        let listener = loop {
            match TcpListener::bind(self.address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        self.serve(listener);
    }

    fn serve(&mut self, listener: TcpListener) {
        let token = CancellationToken::new();
        let fake = Fake { token: token.clone(), ..self.fake.clone() };
        let limits = Limits { drain: Duration::from_millis(50), ..Limits::default() };
        let server = Server::new(&self.identity, ALLOWED)
            .limits(limits)
            .add(ConfigStreamServer::new(fake.clone()))
            .add(ConfigReadServer::new(fake.clone()))
            .add(ConfigReadbackServer::new(fake.clone()))
            .add(NoticesServer::new(fake.clone()))
            .add(ReceiptsServer::new(fake));
        let until = token.clone();
        let task = tokio::spawn(async move { server.serve(listener, until).await.unwrap() });
        self.running = Some((token, task));
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        if let Some((token, _)) = self.running.take() {
            token.cancel();
        }
        if !std::thread::panicking() {
            assert_eq!(self.script().broken_rules, Vec::<String>::new(), "requests that the proto does not allow");
        }
    }
}
