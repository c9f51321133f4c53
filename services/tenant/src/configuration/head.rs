//! The one row that orders every change.

use fiorino_kit::store;
use sqlx::{FromRow, PgConnection, Postgres, Transaction};
use tokio::sync::MutexGuard;
use uuid::Uuid;

use crate::context::Context;

/// Where the store is.
#[derive(Debug, Clone, Copy, FromRow)]
pub(crate) struct Head {
    /// Sequences belong to it; another one means another history.
    pub(crate) store_id: Uuid,
    /// Last change of a resource.
    pub(crate) config_seq: i64,
    /// Last change of a status, apart from watermarks.
    pub(crate) status_seq: i64,
}

// === impl Head ===

impl Head {
    /// Reads it; what it says is committed.
    pub(super) async fn read(conn: &mut PgConnection) -> sqlx::Result<Self> {
        sqlx::query_as("select store_id, config_seq, status_seq from config_head").fetch_one(conn).await
    }

    /// Holds it until the transaction ends: whoever changes configuration or status does this first.
    pub(super) async fn lock(conn: &mut PgConnection) -> sqlx::Result<Self> {
        sqlx::query_as("select store_id, config_seq, status_seq from config_head for update").fetch_one(conn).await
    }

    /// A transaction that holds it. Those of one process wait for their turn, which must outlive the transaction, before they take a
    /// connection.
    pub(crate) async fn begin(
        context: &Context,
    ) -> sqlx::Result<(MutexGuard<'_, ()>, Transaction<'static, Postgres>, Self)> {
        let turn = context.changing.lock().await;
        let mut tx = store::begin(&context.pools.config).await?;
        let head = Self::lock(&mut tx).await?;
        Ok((turn, tx, head))
    }

    /// Moves it on, in the transaction that holds it.
    pub(super) async fn advance(self, conn: &mut PgConnection) -> sqlx::Result<()> {
        sqlx::query("update config_head set config_seq = $1, status_seq = $2")
            .bind(self.config_seq)
            .bind(self.status_seq)
            .execute(conn)
            .await?;
        Ok(())
    }
}
