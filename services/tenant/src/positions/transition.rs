//! Changes of state: rows locked in one order, the state machine, one guarded write. Nothing else writes `notice.state`.

use fiorino_domain::{date::LegalDate, position::InstalmentState};
use fiorino_kit::store;
use jiff_sqlx::ToSqlx as _;
use sqlx::{FromRow, PgConnection, Row as _, postgres::PgRow};
use tracing::Instrument as _;
use uuid::Uuid;

use super::rows::decode;

/// An instalment whose row is locked until the end of the transaction.
#[derive(Debug, Clone)]
pub(crate) struct Locked {
    pub(crate) institution_id: i32,
    pub(crate) nav: String,
    pub(crate) position_id: Uuid,
    pub(crate) option_no: i16,
    pub(crate) state: InstalmentState,
    pub(crate) version: i64,
    pub(crate) amount_cents: i64,
    /// The receipt that paid it.
    pub(crate) receipt_id: Option<String>,
}

/// What is written of an instalment.
#[derive(Debug, Clone)]
pub(crate) struct Move {
    pub(crate) institution_id: i32,
    pub(crate) nav: String,
    /// Version under lock; the row gets the next one.
    pub(crate) version: i64,
    pub(crate) state: InstalmentState,
    /// The receipt that pays it; `None` keeps what is there.
    pub(crate) receipt_id: Option<String>,
    /// `None` keeps what is there.
    pub(crate) issued_on: Option<LegalDate>,
}

/// Locks every instalment of the positions (institution, position). Whoever locks several rows of `notice` does it in the order of the
/// primary key, so that nobody waits for somebody who waits for him.
///
/// # Errors
/// What the database says.
pub(crate) async fn lock(connection: &mut PgConnection, positions: &[(i32, Uuid)]) -> sqlx::Result<Vec<Locked>> {
    let mut positions = positions.to_vec();
    positions.sort_unstable();
    positions.dedup();
    let (ids, positions): (Vec<_>, Vec<_>) = positions.into_iter().unzip();
    sqlx::query_as(
        "select n.institution_id, n.nav, n.position_id, n.option_no, n.state, n.version, n.amount_cents, n.receipt_id
         from unnest($1::int4[], $2::uuid[]) as wanted (institution_id, position_id)
         join notice n on n.institution_id = wanted.institution_id and n.position_id = wanted.position_id
         order by n.institution_id, n.nav
         for update of n",
    )
    .bind(ids)
    .bind(positions)
    .fetch_all(connection)
    .instrument(store::span("lock instalments"))
    .await
}

/// Writes the moves of locked instalments in one statement. Of one that is cancelled the row remembers what it was.
///
/// # Errors
/// What the database says; [`sqlx::Error::RowNotFound`] when a row is not as it was locked, which the lock excludes.
pub(crate) async fn write(connection: &mut PgConnection, moves: &[Move]) -> sqlx::Result<()> {
    if moves.is_empty() {
        return Ok(());
    }
    let done = sqlx::query(
        "update notice n
         set state = m.state, version = n.version + 1,
             cancelled_from = case when m.state = $7 and n.state <> $7 then n.state else n.cancelled_from end,
             receipt_id = coalesce(m.receipt_id, n.receipt_id), issued_on = coalesce(m.issued_on, n.issued_on)
         from unnest($1::int4[], $2::text[], $3::int8[], $4::int2[], $5::text[], $6::date[])
             as m (institution_id, nav, version, state, receipt_id, issued_on)
         where n.institution_id = m.institution_id and n.nav = m.nav and n.version = m.version",
    )
    .bind(moves.iter().map(|one| one.institution_id).collect::<Vec<_>>())
    .bind(moves.iter().map(|one| one.nav.as_str()).collect::<Vec<_>>())
    .bind(moves.iter().map(|one| one.version).collect::<Vec<_>>())
    .bind(moves.iter().map(|one| one.state.number()).collect::<Vec<_>>())
    .bind(moves.iter().map(|one| one.receipt_id.as_deref()).collect::<Vec<_>>())
    .bind(moves.iter().map(|one| one.issued_on.map(|day| day.date().to_sqlx())).collect::<Vec<_>>())
    .bind(InstalmentState::Cancelled.number())
    .execute(connection)
    .instrument(store::span("write states"))
    .await?;
    if usize::try_from(done.rows_affected()) == Ok(moves.len()) { Ok(()) } else { Err(sqlx::Error::RowNotFound) }
}

// === impl Locked ===

impl FromRow<'_, PgRow> for Locked {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            institution_id: row.try_get("institution_id")?,
            nav: row.try_get("nav")?,
            position_id: row.try_get("position_id")?,
            option_no: row.try_get("option_no")?,
            state: InstalmentState::from_number(row.try_get("state")?).map_err(decode)?,
            version: row.try_get("version")?,
            amount_cents: row.try_get("amount_cents")?,
            receipt_id: row.try_get("receipt_id")?,
        })
    }
}
