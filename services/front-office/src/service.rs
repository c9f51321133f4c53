//! The process's parts, put together: also inside a test.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use fiorino_config_client::{Client, Handle};
use fiorino_kit::{
    admin::Readiness,
    clock::Clock,
    http::{Bounds, Terms},
    process, rpc,
    schema::{self, Gate},
    store,
    tls::{self, Identity},
};
use sqlx::PgPool;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    MIGRATIONS,
    config::Options,
    debt::Debts,
    http::{self, Portal, limit::Limits, listener::Listener},
    metrics::Metrics,
    site::Sites,
};

/// What must hold before visitors may come.
pub const CONDITIONS: &[&str] = &[schema::CONDITION, "configuration", "listener"];

/// How long the start waits for the database: without it pages are served all the same.
const SCHEMA_PATIENCE: Duration = Duration::from_secs(5);

/// Connections for the saved configuration.
const CONNECTIONS: u32 = 2;

/// The process, listening.
#[derive(Debug)]
pub struct Service {
    pool: PgPool,
    listener: Listener,
    portal: Arc<Portal>,
    configuration: Client<Sites>,
    sites: Handle<Sites>,
    /// The database was away at the start: whether its schema fits is not known yet.
    late_schema: Option<Gate>,
    readiness: Readiness,
}

/// Why the process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Certificates of the mesh.
    #[error("failed to load the identity in the mesh")]
    Identity(#[from] tls::Error),
    /// Tenant's endpoints.
    #[error("failed to prepare the channel to tenant")]
    Channel(#[from] rpc::Error),
    /// The database's URL, or its schema could not be read.
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
}

/// The work of the process, from its options to its end.
///
/// # Errors
/// [`Error`]: what waiting does not mend.
pub async fn run(options: Options, process: process::Context) -> Result<(), Error> {
    let process::Context { token, readiness, clock } = process;
    let starting = Service::start(options, Bounds::default(), clock, readiness);
    // `None`: told to end while the schema did not fit.
    if let Some(service) = token.run_until_cancelled(starting).await.transpose()? {
        service.run(token).await;
    }
    Ok(())
}

// === impl Service ===

impl Service {
    /// Loads the identity, waits for a schema that fits (but not long for a database that is away), loads the saved configuration and
    /// listens. `bounds` of connections are fixed in production and moved by tests.
    ///
    /// # Errors
    /// What waiting does not mend: certificates, URLs, a database that refuses the login, a taken port.
    pub async fn start(options: Options, bounds: Bounds, clock: Clock, readiness: Readiness) -> Result<Self, Error> {
        let identity = Identity::load(&options.tls)?;
        let tenant = rpc::connect(&options.tenant_endpoints, "tenant", &identity, "front-office")?;
        let pool = store::connect(&options.database, "configuration", CONNECTIONS)?;
        let address = options.listen;
        let metrics = Metrics::new();
        let terms = Terms { bounds, clock: clock.clone(), ended: metrics.connections_ended.clone() };
        let listener = Listener::bind(address, terms).await.map_err(|source| Error::Listen { address, source })?;
        let schema = Gate::new(pool.clone(), &MIGRATIONS, readiness.clone());
        let late_schema = (!schema.open_unless_away(SCHEMA_PATIENCE).await?).then_some(schema);
        let follow = fiorino_config_client::Options::new("front-office", options.replica);
        let (sites, configuration) = Client::load(follow, Sites, pool.clone(), tenant.clone()).await;
        let limits = Limits::new(options.lookups_per_minute, options.trusted_proxies);
        let portal = Arc::new(Portal { sites: sites.clone(), debts: Debts::new(tenant), limits, clock, metrics });
        readiness.set("listener", true);
        Ok(Self { pool, listener, portal, configuration, sites, late_schema, readiness })
    }

    /// Where pages are served.
    pub const fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Serves until `token` is cancelled, then drains: pages first, then the connections.
    pub async fn run(self, token: CancellationToken) {
        let Self { pool, listener, portal, configuration, sites, late_schema, readiness } = self;
        let background = CancellationToken::new();
        let tasks = TaskTracker::new();
        tasks.spawn(configuration.run(background.clone()));
        let limits = Arc::clone(&portal);
        tasks.spawn(background.clone().run_until_cancelled_owned(async move { limits.limits.forget().await }));
        if let Some(schema) = late_schema {
            tasks.spawn(background.clone().run_until_cancelled_owned(async move { open_late(&schema).await }));
        }
        tasks.spawn(background.clone().run_until_cancelled_owned(async move {
            sites.whole().await;
            readiness.set("configuration", true);
        }));
        tasks.close();
        listener.serve(http::router(portal), token).await;
        background.cancel();
        tasks.wait().await;
        pool.close().await;
    }
}

/// The database was away at the start.
async fn open_late(schema: &Gate) {
    if let Err(error) = schema.open().await {
        let error: &dyn std::error::Error = &error;
        tracing::error!(error, "failed to read the version of the schema: the configuration may not be saved");
    }
}
