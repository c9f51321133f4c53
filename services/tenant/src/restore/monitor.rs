//! Watches where the store lies, and tells what is wrong with it.

use std::time::Duration;

use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use opentelemetry::metrics;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{Witness, origin};

/// Between looks: a restore under a running process is noticed so fast. A block is reserved only where the store was last seen.
const PERIOD: Duration = Duration::from_secs(1);

/// Looks between two signs of life of the store, and between two measurements.
const QUIET: u32 = 5;

/// Looks at the store until the process ends.
#[derive(Debug)]
pub struct Monitor {
    witness: Witness,
    restored: metrics::Gauge<u64>,
    unwitnessed: metrics::Gauge<u64>,
}

/// A server of PostgreSQL from its start to its end.
#[derive(Debug, Clone, Copy)]
struct Server {
    started_at: Timestamp,
    /// When it was seen first, by its own time.
    since: Timestamp,
}

// === impl Monitor ===

impl Monitor {
    /// A monitor of the store that `witness` is about.
    pub fn new(witness: Witness) -> Self {
        let meter = opentelemetry::global::meter("fiorino.tenant");
        let restored = meter
            .u64_gauge("fiorino.tenant.restored")
            .with_description("1 while the database may be a restored one and no number is issued: alarm")
            .build();
        let unwitnessed = meter
            .u64_gauge("fiorino.tenant.numbers.unwitnessed")
            .with_description("Notice numbers of blocks that no node-connector knows of: alarm")
            .build();
        Self { witness, restored, unwitnessed }
    }

    /// Runs until `token` is cancelled.
    pub async fn run(self, token: CancellationToken) {
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut server = None;
        let mut quiet = 0;
        while token.run_until_cancelled(ticks.tick()).await.is_some() {
            match self.look(&mut server, quiet == 0).await {
                Ok(()) => quiet = (quiet + 1) % QUIET,
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "failed to look at the store"),
            }
        }
    }

    /// `server`: the one that was seen last. Whoever compared with one before has not compared with this one.
    async fn look(&self, server: &mut Option<Server>, thoroughly: bool) -> sqlx::Result<()> {
        let context = self.witness.context();
        let pool = &context.pools.config;
        let (started_at, now): (SqlTimestamp, SqlTimestamp) =
            sqlx::query_as("select pg_postmaster_start_time(), now()").fetch_one(pool).await?;
        let since = match *server {
            Some(Server { started_at: known, since }) if known == started_at.to_jiff() => since,
            _ => {
                origin::settle(context).await?;
                let mut since = now.to_jiff();
                if server.is_some() {
                    self.witness.lost();
                } else {
                    since = self.witness.started().unwrap_or(since);
                }
                let started_at = started_at.to_jiff();
                *server = Some(Server { started_at, since });
                since
            }
        };
        let mut origin = origin::look(pool, since).await?;
        if !origin.here {
            origin::settle(context).await?;
            origin = origin::look(pool, since).await?;
        }
        self.witness.seen(origin);
        if thoroughly {
            origin::alive(pool).await?;
            self.restored.record(origin.restored.into(), &[]);
            let unwitnessed: i64 = sqlx::query_scalar(
                "select coalesce(sum(next - witnessed), 0)::int8 from nav_sequence where next > witnessed",
            )
            .fetch_one(pool)
            .await?;
            self.unwitnessed.record(unwitnessed.unsigned_abs(), &[]);
        }
        Ok(())
    }
}
