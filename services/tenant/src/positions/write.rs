//! The transaction in which new positions come into being.

use std::collections::{BTreeSet, HashSet};

use fiorino_domain::notice::NoticeNumber;
use fiorino_kit::{fault, store};
use jiff::Timestamp;
use sqlx::{PgConnection, PgExecutor, PgPool, error::DatabaseError};
use tracing::Instrument as _;
use uuid::Uuid;

use super::{
    facts, opening,
    plan::Planned,
    references::{self, Reference},
    rows::{self, decode},
};
use crate::receipts::{self, own_payment};

/// A position and what it is known by.
pub(super) struct New<'a> {
    pub(super) reference: &'a Reference,
    pub(super) hash: [u8; 32],
    pub(super) planned: &'a Planned,
}

/// What became of a transaction.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// Committed.
    Created {
        /// Whose positions were written.
        references: HashSet<Reference>,
        /// Positions that receipts of before have paid: they are no more as they were planned.
        paid: HashSet<Uuid>,
    },
    /// Rolled back: the configuration changed meanwhile, a number is taken, or the transaction met another one. Plan again.
    Nothing,
}

/// Writes references, positions and notices, if the configuration is still the one that they were planned with. What was received of
/// their numbers before is applied to them.
///
/// # Errors
/// What the database says, unless another attempt mends it.
pub(super) async fn all(pool: &PgPool, news: &[New<'_>], now: Timestamp) -> sqlx::Result<Written> {
    match attempt(pool, news, now).await {
        Err(error) if worth_another_round(&error) => Ok(Written::Nothing),
        written => written,
    }
}

/// Which of the numbers (institution, number) have a notice.
///
/// # Errors
/// What the database says.
pub(super) async fn taken(
    executor: impl PgExecutor<'_>,
    numbers: &[(i32, NoticeNumber)],
) -> sqlx::Result<HashSet<(i32, NoticeNumber)>> {
    let statement =
        "select wanted.institution_id, wanted.nav from unnest($1::int4[], $2::text[]) as wanted (institution_id, nav)
         where exists (select from notice n where n.institution_id = wanted.institution_id and n.nav = wanted.nav)";
    among(executor, statement, numbers).instrument(store::span("find taken numbers")).await
}

/// Which of the numbers that are to be issued have a notice, or were paid although they never were here: another system issued them.
///
/// # Errors
/// What the database says.
pub(super) async fn used(
    executor: impl PgExecutor<'_>,
    numbers: &[(i32, NoticeNumber)],
) -> sqlx::Result<HashSet<(i32, NoticeNumber)>> {
    let statement = concat!(
        "select wanted.institution_id, wanted.nav from unnest($1::int4[], $2::text[]) as wanted (institution_id, nav)
         where exists (select from notice n where n.institution_id = wanted.institution_id and n.nav = wanted.nav)
             or exists (select from receipt r join institution i on i.institution_id = r.institution_id
                        where r.institution_id = wanted.institution_id and r.nav = wanted.nav and ",
        own_payment!(),
        ")"
    );
    among(executor, statement, numbers).instrument(store::span("find used numbers")).await
}

async fn among(
    executor: impl PgExecutor<'_>,
    statement: &'static str,
    numbers: &[(i32, NoticeNumber)],
) -> sqlx::Result<HashSet<(i32, NoticeNumber)>> {
    let rows: Vec<(i32, String)> = sqlx::query_as(statement)
        .bind(numbers.iter().map(|(institution_id, _)| *institution_id).collect::<Vec<_>>())
        .bind(numbers.iter().map(|(_, nav)| nav.as_str()).collect::<Vec<_>>())
        .fetch_all(executor)
        .await?;
    rows.into_iter().map(|(id, nav)| Ok((id, NoticeNumber::parse(&nav).map_err(decode)?))).collect()
}

/// A number of another system may be paid at the very moment in which it is loaded. Whoever loads it and whoever takes a receipt
/// for a number that has no notice both write its row, and the second waits for the first's commit: so one of them sees the other. A row
/// locks itself, however many there are; an advisory lock each would fill the lock table, and then the node's calls fail as well.
///
/// # Errors
/// What the database says.
pub(crate) async fn hold_numbers(connection: &mut PgConnection, numbers: &[(i32, &str)]) -> sqlx::Result<()> {
    // In the order of the key: who holds some waits for nobody who waits for those.
    let mut ordered = numbers.to_vec();
    ordered.sort_unstable();
    ordered.dedup();
    let (ids, navs): (Vec<_>, Vec<_>) = ordered.into_iter().unzip();
    sqlx::query(
        "insert into foreign_number (institution_id, nav)
         select held.institution_id, held.nav from unnest($1::int4[], $2::text[]) as held (institution_id, nav)
         on conflict (institution_id, nav) do nothing",
    )
    .bind(ids)
    .bind(navs)
    .execute(connection)
    .instrument(store::span("hold numbers"))
    .await?;
    Ok(())
}

async fn attempt(pool: &PgPool, news: &[New<'_>], now: Timestamp) -> sqlx::Result<Written> {
    let mut planned: Vec<_> =
        news.iter().map(|new| (new.planned.owner.institution_id, new.planned.owner.config_seq)).collect();
    planned.sort_unstable();
    planned.dedup();
    // An account of another institution may lose its last number while this one's configuration stays as it was planned with.
    let shared: BTreeSet<_> = news.iter().flat_map(|new| new.planned.shared_accounts()).collect();
    let mut tx = store::begin(pool).await?;
    if !facts::unchanged(&mut tx, &planned).await?
        || !opening::have_numbers(&mut tx, &shared.into_iter().collect::<Vec<_>>()).await?
    {
        return Ok(Written::Nothing);
    }
    let wanted = news.iter().map(|new| (new.reference, new.hash, new.planned.position.id)).collect();
    let created: HashSet<_> = references::take(&mut tx, wanted).await?.into_iter().collect();
    let ours: Vec<_> = news.iter().filter(|new| created.contains(new.reference)).map(|new| new.planned).collect();
    let foreign: Vec<_> = ours.iter().flat_map(|planned| planned.foreign_numbers()).collect();
    if !foreign.is_empty() {
        hold_numbers(&mut tx, &foreign.iter().map(|(id, nav)| (*id, nav.as_str())).collect::<Vec<_>>()).await?;
    }
    if !ours.is_empty() {
        rows::insert_positions(&mut tx, &ours.iter().map(|planned| &planned.position).collect::<Vec<_>>()).await?;
        rows::insert_notices(&mut tx, ours.iter().flat_map(|planned| &planned.notices).collect()).await?;
    }
    let paid = if foreign.is_empty() { HashSet::new() } else { receipts::settle(&mut tx, now, &foreign).await? };
    tx.commit().await?;
    fault::point("positions-committed");
    Ok(Written::Created { references: created, paid })
}

fn worth_another_round(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    // class 40: serialization failure, deadlock
    store::constraint(error) == Some("notice_pkey") || code.is_some_and(|code| code.starts_with("40"))
}
