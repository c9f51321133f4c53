//! What was written ahead, from PostgreSQL's own counters.

use std::time::Duration;

use anyhow::Result;
use sqlx::{FromRow, PgConnection};

/// Counters of the whole server since its start.
#[derive(Debug, FromRow)]
pub(crate) struct Wal {
    bytes: i64,
    /// Whole pages, written the first time each is changed after a checkpoint.
    pages: i64,
    syncs: i64,
    /// Milliseconds that these took together.
    sync_ms: f64,
}

// === impl Wal ===

impl Wal {
    /// # Errors
    /// What the database says.
    pub(crate) async fn read(connection: &mut PgConnection) -> Result<Self> {
        let statement = "select wal_bytes::int8 as bytes, wal_fpi as pages, wal_sync as syncs, wal_sync_time as sync_ms from pg_stat_wal";
        Ok(sqlx::query_as(statement).fetch_one(connection).await?)
    }

    /// What was written since an earlier reading.
    pub(crate) fn since(&self, earlier: &Self, took: Duration) -> String {
        let seconds = took.as_secs_f64().max(0.001);
        let syncs = self.syncs - earlier.syncs;
        let each = (self.sync_ms - earlier.sync_ms) / (syncs as f64).max(1.0);
        format!(
            "{:.1} MB/s, {} whole pages, {:.0} syncs/s of {each:.2} ms",
            (self.bytes - earlier.bytes) as f64 / 1e6 / seconds,
            self.pages - earlier.pages,
            syncs as f64 / seconds,
        )
    }
}
