//! The service's own database: a pool per class of work, and a limit on every wait.

use std::time::Duration;

use fiorino_kit::{
    options::DatabaseOptions,
    store::{self, Class, Plans},
};
use sqlx::PgPool;

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
            plans: Plans::ForValues,
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

/// A connection that hangs without a word must not hang its user: the server's statement timeout never reaches it.
///
/// # Errors
/// Those of `work`; [`sqlx::Error::PoolTimedOut`] when it took too long.
pub(crate) async fn within<T>(limit: Duration, work: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    tokio::time::timeout(limit, work).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}
