//! A tenant whose every message is the test's, and a client of it.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use fiorino_config_client::{COPY_DDL, Client, Handle, Options, Projection, decode, known};
use fiorino_kit::{
    backoff::Backoff,
    crypto,
    options::TlsOptions,
    rpc::{self, Allow, Server},
    tls::Identity,
};
use fiorino_proto::config::v1::{
    Ack, Hello, InstitutionSpec, LifecyclePhase, Resource, ResourceKind, StreamRequest, StreamResponse,
    config_stream_server::{ConfigStream, ConfigStreamServer},
    stream_request::Message,
};
use fiorino_test_support::{Parts, TestDatabase, certs::Mesh, within};
use prost::Message as _;
use sqlx::PgPool;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

static ALLOWED: &[Allow] = &[Allow { method: "/fiorino.config.v1.ConfigStream/Stream", callers: &["node-connector"] }];

/// A tenant; each stream that a client opens is handed to the test.
pub(crate) struct Tenant {
    pub(crate) address: SocketAddr,
    streams: mpsc::Receiver<Stream>,
    token: CancellationToken,
    _mesh: Arc<Mesh>,
}

/// A stream as tenant sees it.
pub(crate) struct Stream {
    pub(crate) hello: Hello,
    requests: Streaming<StreamRequest>,
    responses: mpsc::Sender<Result<StreamResponse, Status>>,
}

struct Service(mpsc::Sender<Stream>);

/// Names and phases of institutions, by fiscal code.
pub(crate) struct Names;

/// A client that runs.
pub(crate) struct Replica {
    pub(crate) handle: Handle<Names>,
    token: CancellationToken,
    _mesh: Arc<Mesh>,
}

// === impl Tenant ===

impl Tenant {
    pub(crate) async fn start() -> Self {
        Self::start_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap())
    }

    pub(crate) fn start_on(listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let (sender, streams) = mpsc::channel(16);
        let mesh = mesh();
        let server = Server::new(&identity("tenant"), ALLOWED).add(ConfigStreamServer::new(Service(sender)));
        let token = CancellationToken::new();
        let serving = token.clone();
        tokio::spawn(async move { server.serve(listener, serving).await.unwrap() });
        Self { address, streams, token, _mesh: mesh }
    }

    /// The next stream that a client opens.
    pub(crate) async fn stream(&mut self) -> Stream {
        within(PATIENCE, self.streams.recv()).await.expect("a stream in time").unwrap()
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        self.token.cancel();
    }
}

#[tonic::async_trait]
impl ConfigStream for Service {
    type StreamStream = Pin<Box<dyn tokio_stream::Stream<Item = Result<StreamResponse, Status>> + Send>>;

    async fn stream(&self, request: Request<Streaming<StreamRequest>>) -> Result<Response<Self::StreamStream>, Status> {
        let mut requests = request.into_inner();
        let Some(StreamRequest { message: Some(Message::Hello(hello)) }) = requests.message().await? else {
            return Err(Status::invalid_argument("no Hello"));
        };
        let (responses, outbound) = mpsc::channel(16);
        let stream = Stream { hello, requests, responses };
        self.0.send(stream).await.map_err(|_| Status::unavailable("the test has ended"))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(outbound))))
    }
}

// === impl Stream ===

impl Stream {
    pub(crate) async fn send(&self, response: StreamResponse) {
        self.responses.send(Ok(StreamResponse { nonce: "n-1".into(), ..response })).await.unwrap();
    }

    /// A snapshot of store `s-1` in one message.
    pub(crate) async fn snapshot(&self, up_to_seq: i64, resources: Vec<Resource>) {
        self.send(StreamResponse { snapshot_start: true, ..delta("s-1", up_to_seq, resources) }).await;
    }

    /// The next acknowledgement.
    pub(crate) async fn ack(&mut self) -> Ack {
        let request = within(PATIENCE, self.requests.message()).await.expect("an ack in time");
        match request.unwrap().unwrap().message {
            Some(Message::Ack(ack)) => ack,
            other => panic!("no ack: {other:?}"),
        }
    }

    /// The next acknowledgement of this sequence: heartbeats of earlier ones are passed over.
    pub(crate) async fn ack_of(&mut self, acknowledged_seq: i64) -> Ack {
        loop {
            let ack = self.ack().await;
            if ack.acknowledged_seq == acknowledged_seq {
                return ack;
            }
        }
    }
}

impl Stream {
    /// The client ends its side in order: the stream does not break.
    pub(crate) async fn left(mut self) {
        let end = async { while self.requests.message().await.expect("no broken stream").is_some() {} };
        within(PATIENCE, end).await.expect("an end in time");
    }
}

/// A complete delta.
pub(crate) fn delta(store_id: &str, up_to_seq: i64, resources: Vec<Resource>) -> StreamResponse {
    StreamResponse { store_id: store_id.into(), complete: true, up_to_seq, resources, ..StreamResponse::default() }
}

/// An institution as tenant sends it; its uid is its fiscal code.
pub(crate) fn institution(fiscal_code: &str, legal_name: &str, config_seq: i64) -> Resource {
    let spec = InstitutionSpec {
        fiscal_code: fiscal_code.into(),
        legal_name: legal_name.into(),
        phase: LifecyclePhase::Live.into(),
        ..InstitutionSpec::default()
    };
    Resource {
        kind: ResourceKind::Institution.into(),
        uid: fiscal_code.into(),
        spec: spec.encode_to_vec().into(),
        config_seq,
        ..Resource::default()
    }
}

impl Projection for Names {
    type Item = InstitutionSpec;
    type View = BTreeMap<String, String>;

    fn wants(&self, kind: ResourceKind) -> bool {
        kind == ResourceKind::Institution
    }

    fn parse(&self, resource: &Resource) -> Result<InstitutionSpec, String> {
        let spec: InstitutionSpec = decode(resource)?;
        known::<LifecyclePhase>(spec.phase, "phase")?;
        Ok(spec)
    }

    fn view(&self, items: &BTreeMap<String, Arc<InstitutionSpec>>) -> Self::View {
        items.values().map(|spec| (spec.fiscal_code.clone(), spec.legal_name.clone())).collect()
    }
}

// === impl Replica ===

impl Replica {
    /// With short times: a test that waits for them is quick, one that does not is not hurt.
    pub(crate) fn options() -> Options {
        Options {
            capabilities: &["known-feature"],
            heartbeat: Duration::from_millis(50),
            head_wait: Duration::from_millis(100),
            backoff: Backoff { min: Duration::from_millis(10), max: Duration::from_millis(50), jitter: 50 },
            ..Options::new("node-connector", "replica-0")
        }
    }

    pub(crate) async fn start(tenant: SocketAddr, pool: &PgPool) -> Self {
        Self::with(Self::options(), tenant, pool).await
    }

    pub(crate) async fn with(options: Options, tenant: SocketAddr, pool: &PgPool) -> Self {
        let mesh = mesh();
        let endpoints = [format!("https://{tenant}")];
        let channel = rpc::connect(&endpoints, "tenant", &identity("node-connector"), "node-connector").unwrap();
        let (handle, client) = Client::load(options, Names, pool.clone(), channel).await;
        let token = CancellationToken::new();
        tokio::spawn(client.run(token.clone()));
        Self { handle, token, _mesh: mesh }
    }

    pub(crate) fn names(&self) -> Vec<(String, String)> {
        self.handle.current().iter().map(|(code, name)| (code.clone(), name.clone())).collect()
    }

    pub(crate) async fn whole(&self) {
        within(PATIENCE, self.handle.whole()).await.expect("whole in time");
    }

    /// Until the progress is so.
    pub(crate) async fn until(&self, reached: impl FnMut(&fiorino_config_client::Progress) -> bool) {
        let mut progress = self.handle.progress();
        within(PATIENCE, progress.wait_for(reached)).await.expect("progress in time").unwrap();
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.token.cancel();
    }
}

/// A service's database with the tables of the saved copy.
pub(crate) async fn database() -> TestDatabase {
    let migrate = async |pool: PgPool| sqlx::raw_sql(COPY_DDL).execute(&pool).await.map(drop);
    Parts::get().database("config_copy", migrate).await.unwrap()
}

/// An address where nobody answers.
pub(crate) async fn nowhere() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap()
}

/// Certificates of the tests that run at present; the files go with the last of them.
fn mesh() -> Arc<Mesh> {
    static LATEST: Mutex<Weak<Mesh>> = Mutex::new(Weak::new());
    let mut latest = LATEST.lock().unwrap();
    latest.upgrade().unwrap_or_else(|| {
        let mesh = Arc::new(Mesh::new().unwrap());
        *latest = Arc::downgrade(&mesh);
        mesh
    })
}

fn identity(name: &str) -> Identity {
    crypto::install_ring();
    let files = mesh().identity(name);
    Identity::load(&TlsOptions { tls_cert: files.cert, tls_key: files.key, tls_ca: files.ca }).unwrap()
}

pub(crate) fn pair(code: &str, name: &str) -> (String, String) {
    (code.into(), name.into())
}
