//! A tenant in this process, and clients of it with every name of the mesh.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use clap::Parser as _;
use fiorino_kit::{admin::Readiness, clock::Clock, crypto, options::TlsOptions, process, rpc, tls::Identity};
use fiorino_proto::config::v1::{
    AcquireFenceRequest, ApplyBundleRequest, ApplyBundleResponse, ApplyResult, InstitutionStatus,
    config_apply_client::ConfigApplyClient, config_read_client::ConfigReadClient,
    config_readback_client::ConfigReadbackClient,
};
use fiorino_tenant::{MIGRATIONS, Options, Service};
use fiorino_test_support::{Parts, TestDatabase, certs::Mesh};
use sqlx::PgPool;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::manifest::Manifest;

pub(crate) const PLATFORM: &str = "fiorino";
pub(crate) const ENVIRONMENT: &str = "Uat";

/// As long as anything here may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A tenant on a database of its own.
pub(crate) struct Tenant {
    pub(crate) database: TestDatabase,
    pub(crate) replica: Replica,
}

/// One process of tenant.
pub(crate) struct Replica {
    pub(crate) address: SocketAddr,
    token: CancellationToken,
    served: JoinHandle<()>,
    _mesh: Arc<Mesh>,
}

// === impl Tenant ===

impl Tenant {
    pub(crate) async fn start() -> Self {
        let database = Parts::get().migrated("tenant", &MIGRATIONS).await.unwrap();
        let replica = Replica::start(&database).await;
        Self { database, replica }
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.database.pool
    }

    /// A fence, as the operator gets one.
    pub(crate) async fn fence(&self) -> i64 {
        let request =
            AcquireFenceRequest { lease_uid: "lease".into(), lease_transitions: 1, platform: PLATFORM.into() };
        self.replica.apply().acquire_fence(request).await.unwrap().into_inner().fence
    }

    /// Applies a manifest under a fence of its own.
    pub(crate) async fn apply(&self, manifest: &Manifest) -> Result<ApplyBundleResponse, Status> {
        self.apply_bundle(manifest.bundle()).await
    }

    pub(crate) async fn apply_bundle(&self, bundle: ApplyBundleRequest) -> Result<ApplyBundleResponse, Status> {
        let request = ApplyBundleRequest { fence: self.fence().await, ..bundle };
        self.replica.apply().apply_bundle(request).await.map(tonic::Response::into_inner)
    }

    /// Applies a manifest of which nothing is refused.
    pub(crate) async fn applied(&self, manifest: &Manifest) -> i64 {
        let response = self.apply(manifest).await.unwrap();
        for outcome in &response.outcomes {
            let taken = matches!(outcome.result(), ApplyResult::Applied | ApplyResult::Unchanged);
            assert!(taken, "{outcome:?}");
        }
        response.config_seq
    }

    pub(crate) async fn status(&self, fiscal_code: &str) -> InstitutionStatus {
        self.replica.status(fiscal_code).await.unwrap()
    }

    /// The last sequence of the store.
    pub(crate) async fn head(&self) -> i64 {
        sqlx::query_scalar("select config_seq from config_head").fetch_one(self.pool()).await.unwrap()
    }
}

// === impl Replica ===

impl Replica {
    /// A process on this database.
    pub(crate) async fn start(database: &TestDatabase) -> Self {
        Self::start_with(database, &[]).await
    }

    /// A process with further flags.
    pub(crate) async fn start_with(database: &TestDatabase, flags: &[&str]) -> Self {
        crypto::install_ring();
        let mesh = mesh();
        let arguments = ["fiorino-tenant".to_owned()].into_iter().chain(arguments(&mesh, &database.url, 0));
        // There is no node-connector to wait for, unless a test brings one.
        let waits = flags.iter().any(|flag| flag.starts_with("--witness-wait-ms"));
        let none = (!waits).then(|| "--witness-wait-ms=0".to_owned());
        let flags = flags.iter().map(ToString::to_string).chain(none);
        let options = Options::try_parse_from(arguments.chain(flags)).unwrap();
        let token = CancellationToken::new();
        let process = process::Context { token: token.clone(), readiness: Readiness::new(&[]), clock: Clock::system() };
        let service = Service::start(options, &process).await.unwrap().unwrap();
        let address = (Ipv4Addr::LOCALHOST, service.address().unwrap().port()).into();
        let running = token.clone();
        let served = tokio::spawn(async move { service.run(running).await.unwrap() });
        Self { address, token, served, _mesh: mesh }
    }

    /// Shuts it down in order.
    pub(crate) async fn stop(mut self) {
        self.token.cancel();
        (&mut self.served).await.unwrap();
    }

    /// A channel with the certificate of `name`.
    pub(crate) fn channel(&self, name: &str) -> rpc::Channel {
        channel(&[self.address], name)
    }

    pub(crate) fn apply(&self) -> ConfigApplyClient<rpc::Channel> {
        ConfigApplyClient::new(self.channel("operator"))
    }

    pub(crate) fn read(&self) -> ConfigReadClient<rpc::Channel> {
        ConfigReadClient::new(self.channel("operator"))
    }

    pub(crate) fn readback(&self) -> ConfigReadbackClient<rpc::Channel> {
        ConfigReadbackClient::new(self.channel("node-connector"))
    }

    pub(crate) async fn status(&self, fiscal_code: &str) -> Result<InstitutionStatus, Status> {
        let request = fiorino_proto::config::v1::GetInstitutionRequest {
            platform: PLATFORM.into(),
            environment: ENVIRONMENT.into(),
            fiscal_code: fiscal_code.into(),
        };
        Ok(self.read().get_institution(request).await?.into_inner().status.unwrap())
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.token.cancel();
    }
}

/// Certificates of the tests that run at present; the files go with the last of them.
pub(crate) fn mesh() -> Arc<Mesh> {
    static LATEST: Mutex<Weak<Mesh>> = Mutex::new(Weak::new());
    let mut latest = LATEST.lock().unwrap();
    latest.upgrade().unwrap_or_else(|| {
        let mesh = Arc::new(Mesh::new().unwrap());
        *latest = Arc::downgrade(&mesh);
        mesh
    })
}

/// Flags of a tenant on this database; port 0 = any that is free.
pub(crate) fn arguments(mesh: &Mesh, database_url: &str, port: u16) -> Vec<String> {
    let parts = Parts::get();
    let identity = mesh.identity("tenant");
    vec![
        format!("--listen=127.0.0.1:{port}"),
        format!("--platform={PLATFORM}"),
        format!("--environment={ENVIRONMENT}"),
        format!("--database-url={database_url}"),
        "--database-acquire-timeout-ms=10000".into(),
        format!("--tls-cert={}", identity.cert.display()),
        format!("--tls-key={}", identity.key.display()),
        format!("--tls-ca={}", identity.ca.display()),
        format!("--kafka-brokers={}", parts.kafka_brokers()),
        format!("--kafka-topic-prefix={}", parts.topic_prefix()),
    ]
}

/// A channel to these replicas with the certificate of `name`.
pub(crate) fn channel(replicas: &[SocketAddr], name: &str) -> rpc::Channel {
    crypto::install_ring();
    let endpoints: Vec<_> = replicas.iter().map(|address| format!("https://{address}")).collect();
    let files = mesh().identity(name);
    let tls = TlsOptions { tls_cert: files.cert, tls_key: files.key, tls_ca: files.ca };
    rpc::connect(&endpoints, "tenant", &Identity::load(&tls).unwrap(), name).unwrap()
}

/// The violations that a status carries, as `field: message`.
pub(crate) fn violations(status: &Status) -> Vec<String> {
    use tonic_types::StatusExt as _;
    let details = status.get_error_details();
    let violations = details.bad_request().map(|request| request.field_violations.clone()).unwrap_or_default();
    violations.into_iter().map(|violation| format!("{}: {}", violation.field, violation.description)).collect()
}
