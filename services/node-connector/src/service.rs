//! The process's parts, put together: also inside a test.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use fiorino_config_client::{Client, Handle};
use fiorino_kit::{
    admin::Readiness,
    clock::Clock,
    copies,
    http::Terms,
    lease::LeaseSet,
    process, rpc,
    schema::{self, Gate},
    seal::{self, Unsealer},
    tls::{self, Identity},
};
use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::{
    MIGRATIONS,
    addressee::Resolver,
    backoffice::{self, Intervals, Poller},
    config::Options,
    database::Pools,
    dispatcher::{self, Dispatcher},
    http::{
        self, Front, Limits,
        listener::{self, Bounds, Listener},
    },
    metrics::Metrics,
    notices::Notices,
    projection::Projection,
    receipts::{Handover, Receipts, inbox::Inbox},
    witness::Witness,
};

/// Features of resources that this version understands: which number an account has is asked of tenant, whatever its spec says.
const CAPABILITIES: &[&str] = &["postal-account"];

/// How long the start waits for the database: without it verify and get are answered all the same.
const SCHEMA_PATIENCE: Duration = Duration::from_secs(5);

/// What is fixed in production and moved by tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tuning {
    /// Of the node's calls.
    pub limits: Limits,
    /// Of each listener's connections.
    pub connections: Bounds,
    /// Of reading pagoPA's registry.
    pub readback: Intervals,
}

/// The process, listening.
#[derive(Debug)]
pub struct Service {
    pools: Pools,
    listeners: Vec<Listener>,
    front: Arc<Front>,
    config: Client<Projection>,
    whole: Handle<Projection>,
    dispatcher: Dispatcher,
    poller: Poller,
    witness: Witness,
    leases: [LeaseSet; 2],
    /// The database was away at the start: whether its schema fits is not known yet.
    late_schema: Option<Gate>,
    readiness: Readiness,
    addresses: Addresses,
}

/// Where the node's calls are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// Mutual TLS.
    pub mtls: Option<SocketAddr>,
    /// Plain HTTP on loopback.
    pub plain: Option<SocketAddr>,
}

/// Why the process cannot start, or broke.
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
    /// The key that opens sealed values.
    #[error("failed to load the unsealing key")]
    UnsealKey(#[from] seal::Error),
    /// A listener for the node.
    #[error("failed to open a listener for the node")]
    Listener(#[from] listener::Error),
    /// The client that reads the registry.
    #[error("failed to prepare the client of the backoffice")]
    Backoffice(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Work without which the process is of no use panicked.
    #[error("essential work broke")]
    Broken,
}

/// What must hold before the node may call.
pub const CONDITIONS: &[&str] = &[schema::CONDITION, "configuration", "listener"];

/// The work of the process, from its options to its end.
///
/// # Errors
/// See [`Service::start`] and [`Service::run`].
pub async fn run(options: Options, context: process::Context) -> Result<(), Error> {
    let process::Context { token, readiness, clock } = context;
    let starting = Service::start(options, Tuning::default(), clock, readiness);
    match token.run_until_cancelled(starting).await.transpose()? {
        Some(service) => service.run(token).await,
        None => Ok(()), // told to end while the schema did not fit
    }
}

// === impl Service ===

impl Service {
    /// Loads identity and keys, waits for a schema that fits (but not long for a database that is away), loads the saved configuration and
    /// listens.
    ///
    /// # Errors
    /// What waiting does not mend: certificates, URLs, a database that refuses the login, a taken port.
    pub async fn start(options: Options, tuning: Tuning, clock: Clock, readiness: Readiness) -> Result<Self, Error> {
        let identity = Identity::load(&options.tls)?;
        Unsealer::from_file(&options.unseal_key)?;
        let tenant = rpc::connect(&options.tenant_endpoints, "tenant", &identity, "node-connector")?;
        let pools = Pools::new(&options.database)?;
        let metrics = Metrics::new();
        let terms =
            Terms { bounds: tuning.connections, clock: clock.clone(), ended: metrics.connections_ended.clone() };
        let context = listener::Context { terms, metrics: metrics.clone() };
        let (listeners, addresses) = listeners(&options, &context).await?;
        let schema = Gate::new(pools.config.clone(), &MIGRATIONS, readiness.clone());
        let late_schema = (!schema.open_unless_away(SCHEMA_PATIENCE).await?).then_some(schema);

        let follow = fiorino_config_client::Options {
            capabilities: CAPABILITIES,
            ..fiorino_config_client::Options::new("node-connector", &options.replica)
        };
        let (whole, config) = Client::load(follow, Projection, pools.config.clone(), tenant.clone()).await;
        let resolver = Arc::new(Resolver::new(whole.clone(), tenant.clone(), clock.clone(), metrics.clone()));
        let holder = format!("{}-{}", options.replica, Uuid::new_v4());
        let leases =
            [dispatcher::leases(pools.config.clone(), &holder), backoffice::leases(pools.config.clone(), &holder)];
        let handover = Arc::new(Handover::new(clock.clone()));
        let receipts = Receipts::new(
            Arc::clone(&resolver),
            Inbox::new(pools.receipts.clone()),
            Arc::clone(&handover),
            clock.clone(),
            metrics.clone(),
            tuning.limits.write_within,
            tuning.limits.unreadable_bytes,
        );
        let notices = Notices::new(Arc::clone(&resolver), &tenant, clock.clone(), metrics.clone());
        let front = Front::new(Arc::new(notices), Arc::new(receipts), tuning.limits, clock.clone(), metrics.clone());
        let dispatcher = Dispatcher::new(
            pools.dispatch.clone(),
            leases[0].clone(),
            tenant.clone(),
            resolver,
            handover,
            clock.clone(),
            metrics.clone(),
        );
        let key = &options.unseal_key;
        let witness = Witness::new(tenant.clone(), pools.config.clone(), options.replica.clone());
        let poller = Poller::new(whole.clone(), tenant, key, leases[1].clone(), clock, tuning.readback, metrics)
            .map_err(|error| Error::Backoffice(error.into()))?;
        readiness.set("listener", true);
        Ok(Self {
            pools,
            listeners,
            front: Arc::new(front),
            config,
            whole,
            dispatcher,
            poller,
            witness,
            leases,
            late_schema,
            readiness,
            addresses,
        })
    }

    /// Where the node's calls are taken.
    pub const fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Serves until `token` is cancelled, then drains: calls first, then what they left in the inbox, then the leases.
    ///
    /// # Errors
    /// [`Error::Broken`] when something panicked that must not stand still: another process is to take over.
    pub async fn run(self, token: CancellationToken) -> Result<(), Error> {
        let (token, broken) = (token.child_token(), CancellationToken::new());
        let essential = |name, work| essential(name, work, [token.clone(), broken.clone()]);
        let Self {
            pools,
            listeners,
            front,
            config,
            whole,
            dispatcher,
            poller,
            witness,
            leases,
            late_schema,
            readiness,
            ..
        } = self;
        let (work, background) = (CancellationToken::new(), CancellationToken::new());
        let (calls, working, behind) = (TaskTracker::new(), TaskTracker::new(), TaskTracker::new());
        for listener in listeners {
            calls.spawn(listener.serve(http::router(Arc::clone(&front)), token.clone()));
        }
        working.spawn(essential("dispatcher", tokio::spawn(dispatcher.run(work.clone()))));
        working.spawn(essential("registry poller", tokio::spawn(poller.run(work.clone()))));
        behind.spawn(essential("configuration", tokio::spawn(config.run(background.clone()))));
        behind.spawn(essential("witness", tokio::spawn(witness.run(background.clone()))));
        behind.spawn(copies::watch(pools.config.clone(), background.clone()));
        for lease in leases {
            let until = background.clone();
            behind.spawn(essential("leases", tokio::spawn(async move { lease.run(until).await })));
        }
        if let Some(schema) = late_schema {
            let token = background.clone();
            behind.spawn(async move { token.run_until_cancelled(open_late(&schema)).await });
        }
        let ready = async move {
            whole.whole().await;
            readiness.set("configuration", true);
        };
        behind.spawn(background.clone().run_until_cancelled_owned(ready));
        for (tracker, then) in [(calls, Some(work)), (working, Some(background)), (behind, None)] {
            tracker.close();
            tracker.wait().await;
            if let Some(next) = then {
                next.cancel();
            }
        }
        pools.close().await;
        if broken.is_cancelled() { Err(Error::Broken) } else { Ok(()) }
    }
}

/// Cancels `stop` when the work panicked.
async fn essential(name: &'static str, work: JoinHandle<()>, stop: [CancellationToken; 2]) {
    if let Err(error) = work.await {
        tracing::error!(work = name, error = %error, "essential work broke, shutting down");
        for token in stop {
            token.cancel();
        }
    }
}

async fn listeners(options: &Options, context: &listener::Context) -> Result<(Vec<Listener>, Addresses), Error> {
    let mut listeners = Vec::new();
    let mut addresses = Addresses { mtls: None, plain: None };
    if let Some((address, files)) = options.node.mtls() {
        let listener = Listener::mtls(address, &files, context.clone()).await?;
        addresses.mtls = Some(listener.address());
        listeners.push(listener);
    }
    if let Some(address) = options.node.plain_listen {
        let listener = Listener::plain(address, context.clone()).await?;
        addresses.plain = Some(listener.address());
        listeners.push(listener);
    }
    Ok((listeners, addresses))
}

/// The database was away at the start.
async fn open_late(schema: &Gate) {
    if let Err(error) = schema.open().await {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "failed to read the version of the schema: receipts may be answered 503"
        );
    }
}
