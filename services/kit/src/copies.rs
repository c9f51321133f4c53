//! Whether what is committed has one copy only: one disk that breaks takes with it what was acknowledged.

use std::time::Duration;

use opentelemetry::global;
use sqlx::PgPool;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Between looks: somebody changes the server's settings, or fails over.
const PERIOD: Duration = Duration::from_secs(30);

/// Keeps the metric `fiorino.database.single_copy` and says in the log when it changes, until `token` is cancelled.
///
/// A commit is on a standby before it is acknowledged only where `synchronous_standby_names` is set, and `synchronous_commit` waits for
/// it; then a standby that is away lets commits wait instead of losing them. A database that is away leaves the last value.
pub async fn watch(pool: PgPool, token: CancellationToken) {
    let single_copy = global::meter("fiorino")
        .u64_gauge("fiorino.database.single_copy")
        .with_description("1 while PostgreSQL acknowledges what no standby has: alarm")
        .build();
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = None;
    while token.run_until_cancelled(ticks.tick()).await.is_some() {
        match is_single(&pool).await {
            Ok(single) => {
                single_copy.record(single.into(), &[]);
                let before = last.replace(single).unwrap_or(false);
                if single && !before {
                    tracing::warn!(
                        "SingleCopy: PostgreSQL has no synchronous standby, what is acknowledged can be lost"
                    );
                } else if before && !single {
                    tracing::info!("PostgreSQL has a synchronous standby again");
                }
            }
            Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "failed to look for a standby"),
        }
    }
}

/// Whether a commit is acknowledged although no standby has it.
///
/// # Errors
/// What the database says.
pub async fn is_single(pool: &PgPool) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select current_setting('synchronous_standby_names') = '' or current_setting('synchronous_commit') in ('off', 'local')",
    )
    .fetch_one(pool)
    .await
}
