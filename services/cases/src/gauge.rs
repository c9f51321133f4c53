//! What an SRE sees of the cases: how many wait, and for how long.

use std::{collections::HashMap, time::Duration};

use fiorino_domain::case::CaseKind;
use fiorino_kit::clock::Clock;
use jiff::Timestamp;
use opentelemetry::{KeyValue, metrics};
use sqlx::PgPool;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::store;

/// How often the metrics are read from the table.
const PERIOD: Duration = Duration::from_secs(15);

/// Keeps the metrics `<meter>.cases.open` and `<meter>.cases.oldest_age` by kind.
#[derive(Debug)]
pub struct Gauge {
    pool: PgPool,
    clock: Clock,
    kinds: &'static [CaseKind],
    open: metrics::Gauge<u64>,
    oldest_age: metrics::Gauge<u64>,
}

// === impl Gauge ===

impl Gauge {
    /// Gauges of the cases in this database, under the service's meter, for the kinds that it opens.
    pub fn new(meter: &'static str, kinds: &'static [CaseKind], pool: PgPool, clock: Clock) -> Self {
        let named = opentelemetry::global::meter(meter);
        let open =
            named.u64_gauge(format!("{meter}.cases.open")).with_description("Cases that nobody resolved").build();
        let oldest_age = named
            .u64_gauge(format!("{meter}.cases.oldest_age"))
            .with_unit("s")
            .with_description("Age of the oldest case that nobody resolved")
            .build();
        Self { pool, clock, kinds, open, oldest_age }
    }

    /// Reads the table every 15 s until `token` is cancelled. A database that is away leaves the last values.
    pub async fn run(self, token: CancellationToken) {
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while token.run_until_cancelled(ticks.tick()).await.is_some() {
            match store::waiting(&self.pool).await {
                Ok(waiting) => self.told(&waiting),
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "failed to count open cases"),
            }
        }
    }

    fn told(&self, waiting: &HashMap<String, (u64, Timestamp)>) {
        for (kind, count, age_s) in counts(self.kinds, waiting, self.clock.now()) {
            let kind = [KeyValue::new("kind", kind.as_str())];
            self.open.record(count, &kind);
            self.oldest_age.record(age_s, &kind);
        }
    }
}

/// Of each kind how many wait, and the age of the oldest in seconds; 0 when there is none.
fn counts(
    kinds: &'static [CaseKind],
    waiting: &HashMap<String, (u64, Timestamp)>,
    now: Timestamp,
) -> impl Iterator<Item = (CaseKind, u64, u64)> {
    kinds.iter().map(move |kind| {
        let (count, oldest) = waiting.get(kind.as_str()).copied().unwrap_or((0, now));
        (*kind, count, u64::try_from(now.duration_since(oldest).as_secs()).unwrap_or(0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_without_cases_is_zero() {
        let now: Timestamp = "2026-07-14T10:00:00Z".parse().unwrap();
        let oldest = "2026-07-14T09:00:00Z".parse().unwrap();
        let waiting = HashMap::from([("no_account".to_owned(), (2, oldest))]);
        let kinds = &[CaseKind::NoAccount, CaseKind::ReceiptDouble];
        let told: Vec<_> = counts(kinds, &waiting, now).collect();
        assert_eq!(told, [(CaseKind::NoAccount, 2, 3_600), (CaseKind::ReceiptDouble, 0, 0)]);
    }
}
