//! What the parts of the process share.

use std::{sync::Arc, time::Duration};

use fiorino_kit::{
    clock::Clock,
    options::DatabaseOptions,
    store::{self, Class, Plans},
};
use sqlx::PgPool;
use tokio::sync::Mutex;

use crate::{
    config::{Environment, Options},
    restore,
};

/// Shared handles; cheap to clone.
#[derive(Debug, Clone)]
pub struct Context {
    /// Namespace of the platform.
    pub platform: String,
    /// pagoPA's environment.
    pub environment: Environment,
    /// Business time.
    pub clock: Clock,
    /// The database, by class of work.
    pub pools: Pools,
    /// Held by whoever changes configuration: all of them lock the one head, so they wait here, where waiting takes no connection from
    /// those who read.
    pub changing: Arc<Mutex<()>>,
}

/// One pool per class of work: what is slow or stuck in one takes no connection from another (ARCHITECTURE.md 5.3,
/// bulkheads).
#[derive(Debug, Clone)]
pub struct Pools {
    /// Verify and activate: the node waits 1.8 s in all.
    pub verify: PgPool,
    /// Receipts on their way from the inbox.
    pub receipts: PgPool,
    /// Positions, lists, loads.
    pub batch: PgPool,
    /// Configuration and read-back.
    pub config: PgPool,
    /// Streams to the replicas and to the operator, and notifications.
    pub stream: PgPool,
    /// What is on its way to Kafka, and its leases.
    pub relay: PgPool,
    /// What the portal shows: visitors wait, the node must not.
    pub display: PgPool,
}

/// One for a pass of the relay, one for the leases.
const RELAY_CONNECTIONS: u32 = 2;

/// Beside those of the streams: notifications keep one.
const LISTENER_CONNECTIONS: u32 = 1;

// === impl Context ===

impl Context {
    /// Handles by the options; connects to nothing yet.
    ///
    /// # Errors
    /// When the database's URL cannot be parsed.
    pub fn new(options: &Options, clock: Clock) -> sqlx::Result<Self> {
        let Options { platform, environment, database, .. } = options;
        let pools = Pools::new(database)?;
        Ok(Self { platform: platform.clone(), environment: *environment, clock, pools, changing: Arc::default() })
    }
}

// === impl Pools ===

impl Pools {
    /// Pools on one database; connects to nothing yet.
    ///
    /// # Errors
    /// When the URL cannot be parsed.
    pub fn new(options: &DatabaseOptions) -> sqlx::Result<Self> {
        // Acquire and statement together stay under the 0.8 s of a first attempt.
        let verify = Class {
            name: "verify",
            max: options.database_pool_max,
            acquire_timeout: Duration::from_millis(250),
            statement_timeout: Duration::from_millis(500),
            plans: Plans::Once,
        };
        // Few: a crowd of visitors is answered later, or not at all. Both attempts of the portal fit into its 2 s.
        let display = Class { name: "display", max: options.database_pool_max.min(4), ..verify };
        Ok(Self {
            verify: store::connect_guarded(options, verify, |connection| Box::pin(restore::guard(connection)))?,
            receipts: store::connect(options, "receipts", options.database_pool_max)?,
            batch: store::connect(options, "batch", options.database_pool_max)?,
            config: store::connect(options, "config", options.database_pool_max)?,
            stream: store::connect(options, "stream", options.database_pool_max + LISTENER_CONNECTIONS)?,
            relay: store::connect(options, "relay", RELAY_CONNECTIONS)?,
            display: store::connect_guarded(options, display, |connection| Box::pin(restore::guard(connection)))?,
        })
    }

    /// Closes every connection.
    pub async fn close(&self) {
        let Self { verify, receipts, batch, config, stream, relay, display } = self;
        tokio::join!(
            verify.close(),
            receipts.close(),
            batch.close(),
            config.close(),
            stream.close(),
            relay.close(),
            display.close()
        );
    }
}
