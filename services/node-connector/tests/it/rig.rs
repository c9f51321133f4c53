//! A node-connector in this process, with everything around it.

pub(crate) mod messages;
pub(crate) mod registry;
pub(crate) mod schema;
pub(crate) mod tenant;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::ensure;
use fiorino_kit::{
    admin::Readiness,
    clock::Clock,
    crypto,
    options::{AdminOptions, DatabaseOptions, TelemetryOptions, TlsOptions},
    seal,
};
use fiorino_node_connector::{Addresses, MIGRATIONS, NodeOptions, Options, Service, Tuning};
use fiorino_test_support::{Parts, TestDatabase, certs::Mesh, eventually};
use secrecy::ExposeSecret as _;
use tokio::{runtime::Runtime, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use self::tenant::Tenant;

/// How long anything may take that should happen soon.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// A world with one institution; parts go with it.
pub(crate) struct Rig {
    pub(crate) db: TestDatabase,
    pub(crate) mesh: Mesh,
    pub(crate) tenant: Tenant,
    pub(crate) seal_to: seal::PublicKey,
    pub(crate) names: Names,
    unseal_key: PathBuf,
}

/// Who is who in a rig; no other test has these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) broker: String,
    pub(crate) station: String,
    pub(crate) institution: String,
}

/// A running node-connector; stops with it.
pub(crate) struct Node {
    pub(crate) addresses: Addresses,
    pub(crate) readiness: Readiness,
    pub(crate) http: reqwest::Client,
    token: CancellationToken,
    task: Option<JoinHandle<Result<(), fiorino_node_connector::Error>>>,
    /// Of a replica that is to crash: everything it runs goes with it.
    runtime: Option<Runtime>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: String,
}

// === impl Rig ===

impl Rig {
    /// Everything but the node-connector.
    pub(crate) async fn start() -> Self {
        crypto::install_ring();
        let parts = Parts::get();
        let broker = parts.fiscal_code();
        let names = Names { station: format!("{broker}_01"), broker, institution: parts.fiscal_code() };
        let mesh = Mesh::new().unwrap();
        let db = parts.migrated("node-connector", &MIGRATIONS).await.unwrap();
        let tenant = tenant::start(&mesh, &names).await;
        let (secret, seal_to) = seal::generate();
        let unseal_key = mesh.dir().join("unseal.key");
        std::fs::write(&unseal_key, secret.expose_secret()).unwrap();
        Self { db, mesh, tenant, seal_to, names, unseal_key }
    }

    /// A rig and a node-connector that is ready.
    pub(crate) async fn with_node() -> (Self, Node) {
        let rig = Self::start().await;
        let node = rig.node().await;
        (rig, node)
    }

    /// Options of a replica with the plain listener.
    pub(crate) fn options(&self, replica: &str) -> Options {
        let identity = self.mesh.identity("node-connector");
        Options {
            node: NodeOptions {
                listen_mtls: None,
                plain_listen: Some(loopback()),
                node_client_ca: None,
                node_client_pins: None,
                node_client_names: Vec::new(),
                node_client_any_name: false,
                node_cert: None,
                node_key: None,
            },
            tenant_endpoints: vec![self.tenant.endpoint()],
            unseal_key: self.unseal_key.clone(),
            replica: replica.to_owned(),
            database: as_runtime(&self.db.url),
            tls: TlsOptions { tls_cert: identity.cert, tls_key: identity.key, tls_ca: identity.ca },
            admin: AdminOptions { admin_listen: loopback() },
            telemetry: TelemetryOptions::quiet(),
        }
    }

    /// A ready replica.
    pub(crate) async fn node(&self) -> Node {
        let node = Node::start(self.options("node-connector-0"), Tuning::default()).await;
        node.ready().await;
        node
    }
}

// === impl Node ===

impl Node {
    pub(crate) async fn start(options: Options, tuning: Tuning) -> Self {
        let readiness = Readiness::new(&["configuration", "listener"]);
        let service = Service::start(options, tuning, Clock::system(), readiness.clone()).await.unwrap();
        let addresses = service.addresses();
        let token = CancellationToken::new();
        let task = tokio::spawn(service.run(token.clone()));
        Self { addresses, readiness, http: reqwest::Client::new(), token, task: Some(task), runtime: None }
    }

    /// A replica that can crash.
    pub(crate) async fn start_apart(options: Options) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut node = runtime.spawn(Self::start(options, Tuning::default())).await.unwrap();
        node.runtime = Some(runtime);
        node
    }

    pub(crate) async fn ready(&self) {
        eventually(SOON, async || {
            let missing = self.readiness.missing();
            ensure!(missing.is_empty(), "not ready: {missing:?}");
            Ok(())
        })
        .await
        .unwrap();
    }

    /// As a rollout does.
    pub(crate) async fn stop(mut self) {
        self.token.cancel();
        self.task.take().unwrap().await.unwrap().unwrap();
    }

    /// As a crash does: nothing is drained, no lease is given back.
    pub(crate) fn crash(mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }

    pub(crate) fn url(&self, station: &str) -> String {
        format!("http://{}/node/v1/{station}", self.addresses.plain.unwrap())
    }

    /// A call of the node to its station's URL. Whatever comes back with 200 is valid by the official schema.
    pub(crate) async fn call(&self, station: &str, message: impl Into<reqwest::Body>) -> Reply {
        let request = self.http.post(self.url(station)).header("Content-Type", "text/xml; charset=utf-8");
        let reply = Reply::of(request.body(message).send().await.unwrap()).await;
        schema::assert_valid(&reply);
        reply
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

// === impl Reply ===

impl Reply {
    pub(crate) async fn of(response: reqwest::Response) -> Self {
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.text().await.unwrap(),
        }
    }

    /// Content of the first element of this name.
    pub(crate) fn tag(&self, name: &str) -> Option<&str> {
        let (_, rest) = self.body.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(value, _)| value)
    }

    #[track_caller]
    pub(crate) fn assert_ok(&self) {
        assert_eq!((self.status, self.tag("outcome")), (200, Some("OK")), "{}", self.body);
    }

    /// KO with this code, its official text, raised by `id`.
    #[track_caller]
    pub(crate) fn assert_ko(&self, code: fiorino_wire::FaultCode, id: &str) {
        assert_eq!((self.status, self.tag("outcome")), (200, Some("KO")), "{}", self.body);
        let fault = (self.tag("faultCode"), self.tag("faultString"), self.tag("id"));
        assert_eq!(fault, (Some(code.as_str()), Some(code.fault_string()), Some(id)), "{}", self.body);
    }

    /// A SOAP fault, which tells rule and remedy.
    #[track_caller]
    pub(crate) fn assert_fault(&self, status: u16, says: &str) {
        assert_eq!(self.status, status, "{}", self.body);
        assert!(self.body.contains("<faultcode>"), "{}", self.body);
        assert!(self.body.contains(says), "{says} is missing in {}", self.body);
    }
}

/// With the rights of the service's runtime role.
pub(crate) fn as_runtime(url: &str) -> DatabaseOptions {
    DatabaseOptions::for_url(&format!("{url}?options=-c%20role%3Dfiorino_node_connector_runtime")).unwrap()
}

pub(crate) fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}
