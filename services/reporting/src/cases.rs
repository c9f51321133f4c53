//! What an SRE sees of the cases: messages that were parked, or gone, and wait for a person.

use std::time::Duration;

use fiorino_domain::case::CaseKind;
use opentelemetry::{KeyValue, global, metrics};
use sqlx::PgPool;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::store;

/// Kinds of the cases of this service.
const KINDS: [CaseKind; 2] = [CaseKind::MessagePoison, CaseKind::MessagesExpired];

/// How often the metrics are read from the table.
const PERIOD: Duration = Duration::from_secs(15);

/// Keeps the metrics `fiorino.reporting.cases.open` and `fiorino.reporting.cases.oldest_age`.
#[derive(Debug)]
pub(crate) struct Gauge {
    pool: PgPool,
    open: metrics::Gauge<u64>,
    oldest_age: metrics::Gauge<u64>,
}

// === impl Gauge ===

impl Gauge {
    pub(crate) fn new(pool: PgPool) -> Self {
        let meter = global::meter("fiorino.reporting");
        let open =
            meter.u64_gauge("fiorino.reporting.cases.open").with_description("Cases that nobody resolved").build();
        let oldest_age = meter
            .u64_gauge("fiorino.reporting.cases.oldest_age")
            .with_unit("s")
            .with_description("Age of the oldest case that nobody resolved")
            .build();
        Self { pool, open, oldest_age }
    }

    /// Reads the table every 15 s until `token` is cancelled. A database that is away leaves the last values.
    pub(crate) async fn run(self, token: CancellationToken) {
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while token.run_until_cancelled(ticks.tick()).await.is_some() {
            if let Err(error) = self.read().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "failed to count open cases");
            }
        }
    }

    async fn read(&self) -> sqlx::Result<()> {
        for kind in KINDS {
            let (count, age_s) = store::open_cases(&self.pool, kind).await?;
            let label = [KeyValue::new("kind", kind.as_str())];
            self.open.record(count, &label);
            self.oldest_age.record(age_s, &label);
        }
        Ok(())
    }
}
