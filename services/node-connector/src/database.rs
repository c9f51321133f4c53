//! The service's own database: a pool per class of work, the schema, and a limit on every wait.

use std::time::Duration;

use fiorino_kit::{
    backoff::Backoff,
    options::DatabaseOptions,
    store::{self, Class},
};
use sqlx::PgPool;

use crate::MIGRATIONS;

/// One pool per class of work: what is slow or stuck in one takes no connection from another (ARCHITECTURE.md 5.3).
#[derive(Debug, Clone)]
pub(crate) struct Pools {
    /// Receipts on their way in: the node waits.
    pub(crate) receipts: PgPool,
    /// Receipts on their way to tenant.
    pub(crate) dispatch: PgPool,
    /// Saved configuration and leases.
    pub(crate) config: PgPool,
}

// === impl Pools ===

impl Pools {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// When the URL cannot be parsed.
    pub(crate) fn new(options: &DatabaseOptions) -> sqlx::Result<Self> {
        // Two attempts fit into the time for writing.
        let receipts = Class {
            name: "receipts",
            max: options.database_pool_max,
            acquire_timeout: Duration::from_millis(400),
            statement_timeout: Duration::from_millis(700),
        };
        Ok(Self {
            receipts: store::connect_class(options, receipts)?,
            dispatch: store::connect(options, "dispatch", options.database_pool_max.min(4))?,
            config: store::connect(options, "config", options.database_pool_max.min(4))?,
        })
    }

    /// Closes every connection.
    pub(crate) async fn close(&self) {
        tokio::join!(self.receipts.close(), self.dispatch.close(), self.config.close());
    }
}

/// Waits for the database, but not for a migration that cannot be applied.
///
/// # Errors
/// What the migrator says.
pub(crate) async fn migrate(options: &DatabaseOptions) -> sqlx::Result<()> {
    let mut retry = Backoff::BACKGROUND.retry();
    loop {
        match store::migrate_as_owner(options, &MIGRATIONS).await {
            Err(error) if store::transient(&error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "database is away, waiting");
                retry.wait().await;
            }
            migrated => return migrated,
        }
    }
}

/// A connection that hangs without a word must not hang its user: the server's statement timeout never reaches it.
///
/// # Errors
/// Those of `work`; [`sqlx::Error::PoolTimedOut`] when it took too long.
pub(crate) async fn within<T>(limit: Duration, work: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    tokio::time::timeout(limit, work).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}
