//! Cases whose cause has ended by itself: nobody needs to look at them any more.
//!
//! | kind | ends when |
//! |---|---|
//! | `no_account` | the account has a number that can be used today |
//! | `receipt_not_associated` | the station has been associated with the institution |
//! | `receipt_unknown_notice` | the notice was loaded, and the receipt pays it |
//! | `message_poison` | the receipt was applied after all |
//! | `addressee_never_ours` | the receipt came again, and was applied |
//!
//! Every other kind tells of money or of a message, which stays odd until a person has looked at it.

use std::time::Duration;

use fiorino_domain::{case::CaseKind, date::LegalDate};
use fiorino_kit::{clock::Clock, store};
use jiff::{Timestamp, civil::Date};
use jiff_sqlx::ToSqlx as _;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::resolve;

/// How often it is looked for.
const PERIOD: Duration = Duration::from_mins(1);
/// Cases resolved in one round.
const ROUND_MAX: i64 = 500;

/// Of the open cases those whose cause is gone: `$1` environment, `$2` legal date, `$3` how many, then the kinds.
const ENDED: &str = "
    select c.institution_id, c.kind, c.key from cases c
    where c.kind = $4 and c.state <> 3 and exists (
        select from institution i cross join lateral number_in_use(i.institution_id, c.detail->>'account', $2) used
        where i.environment = $1 and i.fiscal_code = c.detail->>'institution'
    )
    union all
    select c.institution_id, c.kind, c.key from cases c
    where c.kind = $5 and c.state <> 3 and exists (
        select from receipt r
        join association a on a.institution_id = r.institution_id and a.station_id = r.content->>'station_id'
        join station s on s.station_id = a.station_id
        where r.institution_id = c.institution_id and r.receipt_id = c.receipt_id
            and s.broker_fiscal_code = coalesce(nullif(c.detail->>'broker', ''), s.broker_fiscal_code)
    )
    union all
    select c.institution_id, c.kind, c.key from cases c
    where c.kind = $6 and c.state <> 3 and exists (
        select from notice n
        where n.institution_id = c.institution_id and n.nav = c.nav and n.receipt_id = c.receipt_id
    )
    union all
    select c.institution_id, c.kind, c.key from cases c
    where c.kind = $7 and c.state <> 3 and exists (
        select from institution i join receipt r on r.institution_id = i.institution_id and r.receipt_id = c.receipt_id
        where i.environment = $1 and i.fiscal_code = c.detail->>'institution'
            and c.key = i.fiscal_code || '/' || r.receipt_id || '/' || r.version
    )
    union all
    select c.institution_id, c.kind, c.key from cases c
    where c.kind = $8 and c.state <> 3 and exists (
        select from institution i join receipt r on r.institution_id = i.institution_id and r.receipt_id = c.receipt_id
        where i.environment = $1 and i.fiscal_code = c.detail->>'institution'
    )
    limit $3";

/// The kinds of the statement, in its order.
const KINDS: [CaseKind; 5] = [
    CaseKind::NoAccount,
    CaseKind::ReceiptNotAssociated,
    CaseKind::ReceiptUnknownNotice,
    CaseKind::MessagePoison,
    CaseKind::AddresseeNeverOurs,
];

/// Looks for such cases; one per process.
#[derive(Debug)]
pub struct Ended {
    pool: PgPool,
    environment: String,
    clock: Clock,
}

// === impl Ended ===

impl Ended {
    /// `environment` as in the rows.
    pub fn new(pool: PgPool, environment: String, clock: Clock) -> Self {
        Self { pool, environment, clock }
    }

    /// Looks every minute until `token` is cancelled.
    pub async fn run(self, token: CancellationToken) {
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while token.run_until_cancelled(ticks.tick()).await.is_some() {
            match resolve_ended(&self.pool, &self.environment, self.clock.now()).await {
                Ok(0) => {}
                Ok(cases) => tracing::info!(cases, "cases whose cause has ended are resolved"),
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "failed to look for cases whose cause has ended, trying again"
                    );
                }
            }
        }
    }
}

/// Resolves the cases whose cause has ended; tells how many, at most 500.
///
/// # Errors
/// What the database says; then nothing was resolved.
pub async fn resolve_ended(pool: &PgPool, environment: &str, now: Timestamp) -> sqlx::Result<usize> {
    let mut tx = store::begin(pool).await?;
    let mut asked =
        sqlx::query_as(ENDED).bind(environment).bind(Date::from(LegalDate::today(now)).to_sqlx()).bind(ROUND_MAX);
    for kind in KINDS {
        asked = asked.bind(kind.as_str());
    }
    let mut ended: Vec<(i32, String, String)> =
        asked.fetch_all(&mut *tx).instrument(store::span("find ended cases")).await?;
    // In the order in which cases are opened: who opens and who resolves do not lock each other out.
    ended.sort_unstable();
    for (institution_id, kind, key) in &ended {
        if let Ok(kind) = CaseKind::parse(kind) {
            resolve(&mut tx, *institution_id, kind, key).await?;
        }
    }
    tx.commit().await?;
    Ok(ended.len())
}
