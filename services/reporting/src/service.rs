//! The process's parts, put together: also inside a test.

use std::net::SocketAddr;

use fiorino_cases::{Cases, Gauge};
use fiorino_config_client::{Client, Handle, Options as ClientOptions};
use fiorino_kit::{
    admin::Readiness,
    backoff::Backoff,
    clock::Clock,
    process,
    rpc::{self, Server},
    store,
    tls::{self, Identity},
};
use fiorino_proto::{
    cases::v1::cases_server::CasesServer,
    payments::v1::{parked_messages_server::ParkedMessagesServer, payments_server::PaymentsServer},
};
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::{
    MIGRATIONS, cases,
    config::Options,
    configuration::Institutions,
    consumer::Consumer,
    parked::ParkedMessages,
    rpc::{ALLOWED, Payments},
};

/// Conditions of readiness, for [`Readiness::new`].
pub const CONDITIONS: &[&str] = &["schema", "configuration", "listener"];

/// Connections for taking payments in: one for a batch, one for the leases, one for the saved configuration.
const CONSUMER_CONNECTIONS: u32 = 3;

/// The process, listening.
#[derive(Debug)]
pub struct Service {
    consumer: Consumer,
    configuration: Client<Institutions>,
    institutions: Handle<Institutions>,
    server: Server,
    listener: TcpListener,
    readiness: Readiness,
    clock: Clock,
    pools: [PgPool; 2],
}

/// Why the process cannot start, or broke.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Certificates.
    #[error("failed to load the identity in the mesh")]
    Identity(#[from] tls::Error),
    /// The database's URL, or a migration that does not apply.
    #[error("failed to prepare the database")]
    Database(#[from] sqlx::Error),
    /// The address is taken.
    #[error("failed to listen on {address}")]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The endpoints of tenant, or the server broke.
    #[error("failed to serve")]
    Rpc(#[from] rpc::Error),
}

/// The work of the process: starts, serves until it is told to end, drains.
///
/// # Errors
/// What waiting does not mend, or a server that breaks.
pub async fn run(options: Options, process: process::Context) -> Result<(), Error> {
    match Service::start(options, &process).await? {
        Some(service) => service.run(process.token).await,
        None => Ok(()), // told to end before the database came
    }
}

// === impl Service ===

impl Service {
    /// Loads the identity, brings the schema up to date (waiting for the database if it is away), and listens. `None` when the
    /// process was told to end meanwhile.
    ///
    /// # Errors
    /// What waiting does not mend: certificates, URLs, a broken migration, a taken port.
    pub async fn start(options: Options, process: &process::Context) -> Result<Option<Self>, Error> {
        let process::Context { token, readiness, clock } = process;
        let identity = Identity::load(&options.tls)?;
        let tenant = rpc::connect(&options.tenant_endpoints, "tenant", &identity, "reporting")?;
        let reading = store::connect(&options.database, "read", options.database.database_pool_max)?;
        let writing = store::connect(&options.database, "consume", CONSUMER_CONNECTIONS)?;
        if token.run_until_cancelled(migrate(&options)).await.transpose()?.is_none() {
            return Ok(None);
        }
        readiness.set("schema", true);
        let address = options.listen;
        let listener = TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })?;
        let (institutions, configuration) = Client::load(
            ClientOptions::new("reporting", options.replica.clone()),
            Institutions,
            writing.clone(),
            tenant,
        )
        .await;
        let holder = format!("{}/{}", options.replica, Uuid::new_v4());
        let consumer = Consumer::new(writing.clone(), options.kafka, holder, clock.clone());
        let payments = Payments::new(reading.clone(), institutions.clone());
        let server = Server::new(&identity, ALLOWED)
            .reflection(fiorino_proto::DESCRIPTORS)
            .add(PaymentsServer::new(payments))
            .add(ParkedMessagesServer::new(ParkedMessages::new(reading.clone(), clock.clone())))
            .add(CasesServer::new(Cases::new(reading.clone(), clock.clone())));
        readiness.set("listener", true);
        let pools = [reading, writing];
        let (readiness, clock) = (readiness.clone(), clock.clone());
        Ok(Some(Self { consumer, configuration, institutions, server, listener, readiness, clock, pools }))
    }

    /// Where gRPC is served.
    ///
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `token` is cancelled, then drains: calls, the batch that is being recorded, then the connections.
    ///
    /// # Errors
    /// When the server breaks.
    pub async fn run(self, token: CancellationToken) -> Result<(), Error> {
        let Self { consumer, configuration, institutions, server, listener, readiness, clock, pools } = self;
        let background = token.child_token();
        let tasks = TaskTracker::new();
        tasks.spawn(consumer.run(background.clone()));
        tasks.spawn(configuration.run(background.clone()));
        let gauge = Gauge::new("fiorino.reporting", cases::KINDS, pools[0].clone(), clock);
        tasks.spawn(gauge.run(background.clone()));
        tasks.spawn(cases::adopt(pools[0].clone(), background.clone()));
        tasks.spawn(background.clone().run_until_cancelled_owned(async move {
            institutions.whole().await;
            readiness.set("configuration", true);
        }));
        tasks.close();
        let served = server.serve(listener, token).await;
        background.cancel();
        tasks.wait().await;
        for pool in pools {
            pool.close().await;
        }
        served.map_err(Into::into)
    }
}

/// Waits for the database, but not for a migration that cannot be applied.
async fn migrate(options: &Options) -> Result<(), Error> {
    let mut retry = Backoff::BACKGROUND.retry();
    loop {
        match store::migrate_as_owner(&options.database, &MIGRATIONS).await {
            Ok(()) => return Ok(()),
            Err(error) if store::transient(&error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "database is away, waiting");
                retry.wait().await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
