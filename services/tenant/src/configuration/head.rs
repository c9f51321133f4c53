//! The one row that orders every change, and the fences that say who may make one.

use fiorino_kit::store;
use fiorino_proto::config::v1::AcquireFenceRequest;
use sqlx::{FromRow, PgConnection, Postgres, Transaction};
use tokio::sync::MutexGuard;
use uuid::Uuid;

use crate::{
    context::Context,
    error::{Error, Result},
};

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

/// Issues a fence higher than any before. The head is held.
pub(super) async fn acquire_fence(conn: &mut PgConnection, request: &AcquireFenceRequest) -> Result<i64> {
    let AcquireFenceRequest { lease_uid, lease_transitions, platform } = request;
    let latest: Option<i64> =
        sqlx::query_scalar("select lease_transitions from fence where platform = $1 and lease_uid = $2")
            .bind(platform)
            .bind(lease_uid)
            .fetch_optional(&mut *conn)
            .await?;
    if let Some(latest) = latest.filter(|latest| lease_transitions < latest) {
        let message = format!("the lease was taken over: transition {latest} is known, this is {lease_transitions}");
        return Err(Error::precondition("lease_transitions", message));
    }
    let fence =
        sqlx::query_scalar("update config_head set fence = fence + 1 returning fence").fetch_one(&mut *conn).await?;
    sqlx::query(
        "insert into fence (platform, fence, lease_uid, lease_transitions) values ($1, $2, $3, $4)
         on conflict (platform) do update
         set fence = excluded.fence, lease_uid = excluded.lease_uid, lease_transitions = excluded.lease_transitions,
             acquired_at = now()",
    )
    .bind(platform)
    .bind(fence)
    .bind(lease_uid)
    .bind(lease_transitions)
    .execute(conn)
    .await?;
    Ok(fence)
}

/// Refuses every fence but the platform's latest. The head is held.
pub(crate) async fn check_fence(conn: &mut PgConnection, platform: &str, fence: i64) -> Result<()> {
    let latest: Option<i64> =
        sqlx::query_scalar("select fence from fence where platform = $1").bind(platform).fetch_optional(conn).await?;
    match latest {
        Some(latest) if fence == latest => Ok(()),
        Some(latest) if fence < latest => {
            let message = format!("deposed: fence {latest} was issued after {fence}; stop writing");
            Err(Error::precondition("fence", message))
        }
        // A store that was restored or replaced: its fences begin again.
        _ => Err(Error::precondition("fence", format!("fence {fence} was never issued here; acquire one"))),
    }
}
