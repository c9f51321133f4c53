//! Associations that no manifest names any more: they answer on until pagoPA does not show them. pagoPA is changed by hand, at an hour that
//! nobody tells; whoever answered by the manifest alone would refuse payments in between.

use std::time::Duration;

use fiorino_domain::case::CaseKind;
use fiorino_kit::store;
use sqlx::{FromRow, PgConnection};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{compare::Wanted, derive};
use crate::configuration::head::Head;
use crate::{
    cases::{self, NewCase},
    context::Context,
    error::Result,
};

/// How often it is looked whether a registry was not read for too long: days are counted.
const PERIOD: Duration = Duration::from_mins(10);

/// An association, as a case names it.
#[derive(Debug, FromRow)]
struct Row {
    institution_id: i32,
    station_id: String,
    aux_digit: i16,
    code: String,
    nav_prefix: String,
}

// === impl Row ===

impl Row {
    fn of(wanted: &Wanted) -> Self {
        let Wanted { institution_id, station_id, aux_digit, code, nav_prefix, .. } = wanted.clone();
        Self { institution_id, station_id, aux_digit, code, nav_prefix }
    }

    fn key(&self) -> String {
        format!("{}/{}/{}/{}", self.station_id, self.aux_digit, self.code, self.nav_prefix)
    }
}

/// A reading of the broker's registry came: what it shows is answered, what it does not show is not. The head is held.
pub(super) async fn confirm(conn: &mut PgConnection, broker: &str) -> sqlx::Result<()> {
    let removed: Vec<Wanted> = sqlx::query_as(
        "select a.institution_id, i.fiscal_code, a.station_id, a.aux_digit, a.code, a.nav_prefix, a.broadcast,
             s.primitive_version, true as was_read, a.answers as associated, a.difference
         from association a
         join institution i using (institution_id)
         join station s using (station_id)
         where s.broker_fiscal_code = $1 and a.removed
         order by a.institution_id, a.station_id, a.aux_digit, a.code, a.nav_prefix",
    )
    .bind(broker)
    .fetch_all(&mut *conn)
    .await?;
    if removed.is_empty() {
        return Ok(());
    }
    let shown = derive::shown(conn, removed.iter().map(|one| one.fiscal_code.as_str())).await?;
    let routed = |one: &Wanted| one.compare(shown.get(&one.fiscal_code).map_or(&[], Vec::as_slice)).0;
    let changed: Vec<(Row, bool)> =
        removed.iter().filter(|one| routed(one) != one.associated).map(|one| (Row::of(one), routed(one))).collect();
    write(conn, &changed).instrument(store::span("confirm removed associations")).await?;
    for (row, answers) in &changed {
        tracing::info!(
            station = row.station_id,
            code = row.code,
            answers,
            "pagopa's registry decided about a removed association"
        );
    }
    resolve(conn, &removed).await
}

async fn write(conn: &mut PgConnection, changed: &[(Row, bool)]) -> sqlx::Result<()> {
    if changed.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update association a set answers = t.answers
         from unnest($1::int4[], $2::text[], $3::int2[], $4::text[], $5::text[], $6::bool[])
             as t (institution_id, station_id, aux_digit, code, nav_prefix, answers)
         where (a.institution_id, a.station_id, a.aux_digit, a.code, a.nav_prefix)
             = (t.institution_id, t.station_id, t.aux_digit, t.code, t.nav_prefix)",
    )
    .bind(changed.iter().map(|(row, _)| row.institution_id).collect::<Vec<_>>())
    .bind(changed.iter().map(|(row, _)| row.station_id.as_str()).collect::<Vec<_>>())
    .bind(changed.iter().map(|(row, _)| row.aux_digit).collect::<Vec<_>>())
    .bind(changed.iter().map(|(row, _)| row.code.as_str()).collect::<Vec<_>>())
    .bind(changed.iter().map(|(row, _)| row.nav_prefix.as_str()).collect::<Vec<_>>())
    .bind(changed.iter().map(|(_, answers)| *answers).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

/// The registry says now what a person was asked to find out.
async fn resolve(conn: &mut PgConnection, read: &[Wanted]) -> sqlx::Result<()> {
    let ids: Vec<i32> = read.iter().map(|one| one.institution_id).collect();
    let open: Vec<(i32, String)> = sqlx::query_as(
        "select institution_id, key from cases where institution_id = any($1) and kind = $2 and state <> 3",
    )
    .bind(ids)
    .bind(CaseKind::StationUnconfirmed.as_str())
    .fetch_all(&mut *conn)
    .await?;
    let rows: Vec<Row> = if open.is_empty() { Vec::new() } else { read.iter().map(Row::of).collect() };
    for (institution_id, key) in open {
        if rows.iter().any(|row| row.institution_id == institution_id && row.key() == key) {
            cases::resolve(conn, institution_id, CaseKind::StationUnconfirmed, &key).await?;
        }
    }
    Ok(())
}

/// Ends the wait for registries that nobody reads, until `token` is cancelled.
pub async fn expire(context: Context, token: CancellationToken) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while token.run_until_cancelled(ticks.tick()).await.is_some() {
        if let Err(error) = expire_once(&context).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "failed to look for removed associations");
        }
    }
}

/// Removed associations whose registry was not read for 30 days answer no more, and a person is to ask pagoPA. By the database's clock.
///
/// # Errors
/// What the database says.
pub async fn expire_once(context: &Context) -> Result<()> {
    let (_turn, mut tx, _) = Head::begin(context).await?;
    // The previous version does not write it.
    sqlx::query("update association set removed_at = now() where removed and removed_at is null")
        .execute(&mut *tx)
        .await?;
    let expired: Vec<Row> = sqlx::query_as(
        "update association a set answers = false
         from station s left join readback r on r.broker_fiscal_code = s.broker_fiscal_code
         where a.removed and a.answers and s.station_id = a.station_id
             and greatest(a.removed_at, r.recorded_at) < now() - interval '30 days'
         returning a.institution_id, a.station_id, a.aux_digit, a.code, a.nav_prefix",
    )
    .fetch_all(&mut *tx)
    .await?;
    let opened_at = context.clock.now();
    let found: Vec<NewCase> = expired
        .iter()
        .map(|row| NewCase {
            institution_id: row.institution_id,
            kind: CaseKind::StationUnconfirmed,
            key: row.key(),
            nav: None,
            receipt_id: None,
            detail: serde_json::json!({ "station": row.station_id, "aux_digit": row.aux_digit, "code": row.code }),
            opened_at,
        })
        .collect();
    cases::open(&mut tx, &found).await?;
    tx.commit().await?;
    for row in &expired {
        tracing::warn!(
            station = row.station_id,
            code = row.code,
            "a removed association is answered no more, unconfirmed"
        );
    }
    Ok(())
}
