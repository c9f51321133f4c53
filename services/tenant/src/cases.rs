//! Cases: what a person must look at. Opened in the transaction of what was found, never twice for one finding.

use std::{collections::HashMap, time::Duration};

use fiorino_domain::case::CaseKind;
use fiorino_kit::{clock::Clock, store};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use opentelemetry::{KeyValue, metrics};
use sqlx::{PgConnection, PgPool, types::Json};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use uuid::Uuid;

/// The institution of a case that belongs to none of ours.
pub const NO_INSTITUTION: i32 = 0;

/// How often the metrics are read from the table.
const GAUGE_PERIOD: Duration = Duration::from_secs(15);

/// A finding.
#[derive(Debug, Clone, PartialEq)]
pub struct NewCase {
    /// Whose; [`NO_INSTITUTION`] = none of ours.
    pub institution_id: i32,
    /// What was found.
    pub kind: CaseKind,
    /// Tells one finding from another within institution and kind.
    pub key: String,
    /// The notice that it is about.
    pub nav: Option<String>,
    /// The receipt that it is about.
    pub receipt_id: Option<String>,
    /// What whoever looks at it must know; no personal data.
    pub detail: serde_json::Value,
    /// When it was found.
    pub opened_at: Timestamp,
}

/// Keeps the metrics `fiorino.tenant.cases.open` and `fiorino.tenant.cases.oldest_age` by kind.
#[derive(Debug)]
pub struct Gauge {
    pool: PgPool,
    clock: Clock,
    open: metrics::Gauge<u64>,
    oldest_age: metrics::Gauge<u64>,
}

/// Opens cases in the caller's transaction. A finding that has its case already changes nothing; one whose case was resolved
/// opens it again.
///
/// # Errors
/// What the database says.
pub async fn open(connection: &mut PgConnection, cases: &[NewCase]) -> sqlx::Result<()> {
    if cases.is_empty() {
        return Ok(());
    }
    // In the order of the key: two batches with the same findings wait for each other instead of locking each other out.
    let mut ordered: Vec<_> = cases.iter().collect();
    ordered.sort_by(|left, right| order(left).cmp(&order(right)));
    ordered.dedup_by(|later, kept| order(later) == order(kept));
    let column = |of: fn(&NewCase) -> String| ordered.iter().map(|case| of(case)).collect::<Vec<_>>();
    let optional = |of: fn(&NewCase) -> Option<String>| ordered.iter().map(|case| of(case)).collect::<Vec<_>>();
    sqlx::query(
        "insert into cases (institution_id, kind, key, id, nav, receipt_id, detail, opened_at)
         select found.institution_id, found.kind, found.key, found.id, found.nav, found.receipt_id, found.detail, found.opened_at
         from unnest($1::int4[], $2::text[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::jsonb[], $8::timestamptz[])
             as found (institution_id, kind, key, id, nav, receipt_id, detail, opened_at)
         on conflict (institution_id, kind, key) do update
         set state = 1, owner = null, detail = excluded.detail, opened_at = excluded.opened_at
         where cases.state = 3",
    )
    .bind(ordered.iter().map(|case| case.institution_id).collect::<Vec<_>>())
    .bind(column(|case| case.kind.as_str().to_owned()))
    .bind(column(|case| case.key.clone()))
    .bind(ordered.iter().map(|_| Uuid::now_v7()).collect::<Vec<_>>())
    .bind(optional(|case| case.nav.clone()))
    .bind(optional(|case| case.receipt_id.clone()))
    .bind(ordered.iter().map(|case| Json(&case.detail)).collect::<Vec<_>>())
    .bind(ordered.iter().map(|case| case.opened_at.to_sqlx()).collect::<Vec<_>>())
    .execute(connection)
    .instrument(store::span("open cases"))
    .await?;
    Ok(())
}

/// Resolves a case whose cause is gone, in the caller's transaction; one that does not exist changes nothing.
///
/// # Errors
/// What the database says.
pub async fn resolve(
    connection: &mut PgConnection,
    institution_id: i32,
    kind: CaseKind,
    key: &str,
) -> sqlx::Result<()> {
    sqlx::query("update cases set state = 3 where institution_id = $1 and kind = $2 and key = $3 and state <> 3")
        .bind(institution_id)
        .bind(kind.as_str())
        .bind(key)
        .execute(connection)
        .instrument(store::span("resolve case"))
        .await?;
    Ok(())
}

/// Resolves cases of one kind whose cause is gone, (institution, key), in the caller's transaction; those that do not exist change
/// nothing.
///
/// # Errors
/// What the database says.
pub async fn resolve_all(connection: &mut PgConnection, kind: CaseKind, cases: &[(i32, String)]) -> sqlx::Result<()> {
    sqlx::query(
        "update cases set state = 3
         from unnest($2::int4[], $3::text[]) as gone (institution_id, key)
         where cases.institution_id = gone.institution_id and cases.kind = $1 and cases.key = gone.key and cases.state <> 3",
    )
    .bind(kind.as_str())
    .bind(cases.iter().map(|(institution_id, _)| *institution_id).collect::<Vec<_>>())
    .bind(cases.iter().map(|(_, key)| key.as_str()).collect::<Vec<_>>())
    .execute(connection)
    .instrument(store::span("resolve cases"))
    .await?;
    Ok(())
}

/// Whether one of the notices has a case of this kind that nobody resolved.
///
/// # Errors
/// What the database says.
pub async fn any_open(
    connection: &mut PgConnection,
    institution_id: i32,
    kind: CaseKind,
    navs: &[&str],
) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (select from cases where institution_id = $1 and kind = $2 and nav = any($3) and state <> 3)",
    )
    .bind(institution_id)
    .bind(kind.as_str())
    .bind(navs)
    .fetch_one(connection)
    .instrument(store::span("find open cases"))
    .await
}

fn order(case: &NewCase) -> (i32, &'static str, &str) {
    (case.institution_id, case.kind.as_str(), &case.key)
}

// === impl Gauge ===

impl Gauge {
    /// Gauges of the cases in this database.
    pub fn new(pool: PgPool, clock: Clock) -> Self {
        let meter = opentelemetry::global::meter("fiorino.tenant");
        let open = meter.u64_gauge("fiorino.tenant.cases.open").with_description("Cases that nobody resolved").build();
        let oldest_age = meter
            .u64_gauge("fiorino.tenant.cases.oldest_age")
            .with_unit("s")
            .with_description("Age of the oldest case that nobody resolved")
            .build();
        Self { pool, clock, open, oldest_age }
    }

    /// Reads the table every 15 s until `token` is cancelled. A database that is away leaves the last values.
    pub async fn run(self, token: CancellationToken) {
        let mut ticks = tokio::time::interval(GAUGE_PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while token.run_until_cancelled(ticks.tick()).await.is_some() {
            match read(&self.pool).await {
                Ok(open) => self.record(&open),
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "failed to count open cases"),
            }
        }
    }

    fn record(&self, open: &HashMap<String, (u64, Timestamp)>) {
        let now = self.clock.now();
        for kind in CaseKind::ALL {
            let (count, oldest) = open.get(kind.as_str()).copied().unwrap_or((0, now));
            let age_s = u64::try_from(now.duration_since(oldest).as_secs()).unwrap_or(0);
            let kind = [KeyValue::new("kind", kind.as_str())];
            self.open.record(count, &kind);
            self.oldest_age.record(age_s, &kind);
        }
    }
}

async fn read(pool: &PgPool) -> sqlx::Result<HashMap<String, (u64, Timestamp)>> {
    let rows: Vec<(String, i64, jiff_sqlx::Timestamp)> =
        sqlx::query_as("select kind, count(*), min(opened_at) from cases where state <> 3 group by kind")
            .fetch_all(pool)
            .await?;
    Ok(rows
        .into_iter()
        .map(|(kind, count, oldest)| (kind, (u64::try_from(count).unwrap_or(0), oldest.to_jiff())))
        .collect())
}
