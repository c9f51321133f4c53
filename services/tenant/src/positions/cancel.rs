//! What is withdrawn, and what is taken back of it: a whole position or one of its instalments (ARCHITECTURE.md 4.6).

use std::collections::HashMap;

use fiorino_domain::{
    case::CaseKind,
    notice::NoticeNumber,
    position::{InstalmentEvent, InstalmentState},
};
use fiorino_kit::store;
use serde_json::json;
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

use super::{
    change::{self, Entry, Told, Wish},
    read,
    rows::decode,
    transition::{self, Locked, Move},
};
use crate::{Error, Result, cases};

/// What is cancelled or restored.
#[derive(Debug, Clone, Copy)]
pub(super) enum Which {
    /// Every instalment of the position that can be.
    Position(Uuid),
    /// One instalment, of this position if it is named.
    Instalment(NoticeNumber, Option<Uuid>),
}

/// Cancels what is open; answers with the position.
///
/// # Errors
/// [`Error::NotFound`], or [`Error::Precondition`] when nothing of it is open, or somebody may be paying.
pub(super) async fn cancel(connection: &mut PgConnection, wish: &Wish<'_>, which: Which) -> Result<Uuid> {
    let (position_id, locked) = lock(connection, wish, which).await?;
    let told = which.told("nothing of this position is open", "it is not open");
    let moves = change::moves(wish, &locked, told, |_| InstalmentEvent::Cancel)?;
    write(connection, wish, which, position_id, "cancelled", &moves).await?;
    Ok(position_id)
}

/// Makes what is cancelled what it was before: payable, or a draft. Number, amount, texts and history stay.
///
/// # Errors
/// [`Error::NotFound`], or [`Error::Precondition`] when nothing of it is cancelled, somebody may be paying, or a flow reports it as paid
/// and nobody has resolved that case.
pub(super) async fn restore(connection: &mut PgConnection, wish: &Wish<'_>, which: Which) -> Result<Uuid> {
    let (position_id, locked) = lock(connection, wish, which).await?;
    let before = before(connection, wish, position_id).await?;
    let told = which.told("nothing of this position is cancelled", "it is not cancelled");
    let moves = change::moves(wish, &locked, told, |row| match before.get(&row.nav) {
        Some(InstalmentState::Payable) => InstalmentEvent::Restore,
        // Where nobody wrote down what it was, it waits for its publication.
        _ => InstalmentEvent::RestoreDraft,
    })?;
    nobody_reports(connection, wish, which, &moves).await?;
    write(connection, wish, which, position_id, "restored", &moves).await?;
    Ok(position_id)
}

/// The position, and those of its instalments that are meant; all of it is locked.
async fn lock(connection: &mut PgConnection, wish: &Wish<'_>, which: Which) -> Result<(Uuid, Vec<Locked>)> {
    let (number, position_id) = match which {
        Which::Position(position_id) => return Ok((position_id, change::lock(connection, wish, position_id).await?)),
        Which::Instalment(number, position_id) => (number, position_id),
    };
    let found = read::position_of(connection, wish.owner, &number).await?;
    if position_id.is_some_and(|named| named != found) {
        let message = "is of another position; send the number of one of its instalments, or none".to_owned();
        return Err(Error::invalid("notice_number", message));
    }
    let mut locked = change::lock(connection, wish, found).await?;
    locked.retain(|row| row.nav == number.as_str());
    Ok((found, locked))
}

/// What the instalments of a position were before they were cancelled, where it is known.
async fn before(
    connection: &mut PgConnection,
    wish: &Wish<'_>,
    position_id: Uuid,
) -> sqlx::Result<HashMap<String, InstalmentState>> {
    let rows: Vec<(String, i16)> = sqlx::query_as(
        "select nav, cancelled_from from notice
         where institution_id = $1 and position_id = $2 and cancelled_from is not null",
    )
    .bind(wish.owner.institution_id)
    .bind(position_id)
    .fetch_all(connection)
    .instrument(store::span("read what was cancelled"))
    .await?;
    rows.into_iter().map(|(nav, state)| Ok((nav, InstalmentState::from_number(state).map_err(decode)?))).collect()
}

/// A cancelled instalment that a flow reports as paid stays cancelled and has its case: restored, it would be asked for again.
async fn nobody_reports(connection: &mut PgConnection, wish: &Wish<'_>, which: Which, moves: &[Move]) -> Result<()> {
    let navs: Vec<_> = moves.iter().map(|one| one.nav.as_str()).collect();
    let id = wish.owner.institution_id;
    if navs.is_empty() || !cases::any_open(connection, id, CaseKind::FlowNotPayable, &navs).await? {
        return Ok(());
    }
    let message = "a flow reports it as paid; resolve that case first (flow_not_payable), then restore it".to_owned();
    Err(Error::precondition(which.field(), message))
}

async fn write(
    connection: &mut PgConnection,
    wish: &Wish<'_>,
    which: Which,
    position_id: Uuid,
    action: &'static str,
    moves: &[Move],
) -> Result<()> {
    if moves.is_empty() {
        return Ok(());
    }
    let navs: Vec<_> = moves.iter().map(|one| one.nav.as_str()).collect();
    let forced = change::attempts_allow(connection, wish, &navs).await?;
    transition::write(connection, moves).await?;
    let nav = match &which {
        Which::Position(_) => None,
        Which::Instalment(number, _) => Some(number.as_str()),
    };
    let detail = json!({ "notices": moves.len() });
    change::record(connection, wish, Entry { action, position_id, nav, forced, detail }).await?;
    Ok(())
}

// === impl Which ===

impl Which {
    const fn field(self) -> &'static str {
        match self {
            Self::Position(_) => "position_id",
            Self::Instalment(..) => "notice_number",
        }
    }

    const fn told(self, of_all: &'static str, of_one: &'static str) -> Told {
        let remedy = match self {
            Self::Position(_) => of_all,
            Self::Instalment(..) => of_one,
        };
        Told { field: self.field(), remedy }
    }
}
