//! Receipts that came before the notices that they pay were loaded from another system: they do then what they would have done, had they
//! come after (ARCHITECTURE.md 4.2).

use std::collections::HashSet;

use fiorino_domain::{case::CaseKind, notice::NoticeNumber};
use fiorino_kit::{outbox, store};
use jiff::Timestamp;
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

use super::{
    apply::{self, Known},
    arrived::{Arrived, Key},
    store::{find_positions, position_facts},
    stored::StoredReceipt,
};
use crate::{cases, positions::transition};

/// Of `receipt r` to `institution i`: a payment that was made, of a notice of the addressee's own. A number is unique per issuer: what
/// others issued, and who sent no money, takes none. The same rule as [`Arrived::is_paid`] without [`Arrived::is_of_beneficiary`].
macro_rules! own_payment {
    () => {
        "r.issuer in ('', i.fiscal_code) and r.content ->> 'outcome' = 'OK'"
    };
}
pub(crate) use own_payment;

/// The receipts of loaded numbers that pay them.
pub const LOADED_STATEMENT: &str = concat!(
    "select r.institution_id, i.fiscal_code, r.receipt_id, r.version, r.nav, r.issuer, r.iuv, r.amount_cents, r.paid_at, r.received_at,
         r.content, r.issued_elsewhere
     from unnest($1::int4[], $2::text[]) as wanted (institution_id, nav)
     join institution i on i.institution_id = wanted.institution_id
     join receipt r on r.institution_id = wanted.institution_id and r.nav = wanted.nav
     where ",
    own_payment!(),
    " order by r.received_at, r.receipt_id, r.version"
);

/// Applies the receipts of notices that this transaction has inserted: instalments become paid, those of other options are superseded, the
/// cases of unknown notices are ended, and whoever was told of the payment is told whose it is. Answers with the positions that were paid.
///
/// # Errors
/// What the database says.
pub(crate) async fn settle(
    connection: &mut PgConnection,
    now: Timestamp,
    numbers: &[(i32, NoticeNumber)],
) -> sqlx::Result<HashSet<Uuid>> {
    let came = came_before(connection, now, numbers).await?;
    if came.is_empty() {
        return Ok(HashSet::new());
    }
    let wanted: Vec<_> = came.iter().map(|(key, one)| (key.institution_id, one.told.notice_number.as_str())).collect();
    let positions = position_facts(find_positions(connection, &wanted).await?);
    let ids: Vec<_> = positions.keys().copied().collect();
    let paid = ids.iter().map(|(_, position_id)| *position_id).collect();
    let known = Known {
        institutions: came.iter().map(|(key, one)| (one.told.institution.clone(), key.institution_id)).collect(),
        fresh: came.iter().map(|(key, _)| key.clone()).collect(),
        // Versions were compared when they came, and nobody activated what was not here.
        instalments: transition::lock(connection, &ids).await?,
        positions,
        ..Known::default()
    };
    let (keys, arrived): (Vec<_>, Vec<_>) = came.into_iter().unzip();
    let plan = apply::plan(&arrived, known, now);
    transition::write(connection, &plan.moves).await?;
    cases::open(connection, &plan.cases).await?;
    let ended: Vec<_> =
        keys.iter().map(|key| (key.institution_id, key.case_key(CaseKind::ReceiptUnknownNotice))).collect();
    cases::resolve_all(connection, CaseKind::ReceiptUnknownNotice, &ended).await?;
    if !plan.messages.is_empty() {
        outbox::insert(connection, &plan.messages).instrument(store::span("insert events")).await?;
    }
    Ok(paid)
}

/// In the order in which they came: the first one pays.
async fn came_before(
    connection: &mut PgConnection,
    now: Timestamp,
    numbers: &[(i32, NoticeNumber)],
) -> sqlx::Result<Vec<(Key, Arrived)>> {
    let rows: Vec<StoredReceipt> = sqlx::query_as(LOADED_STATEMENT)
        .bind(numbers.iter().map(|(institution_id, _)| *institution_id).collect::<Vec<_>>())
        .bind(numbers.iter().map(|(_, nav)| nav.as_str()).collect::<Vec<_>>())
        .fetch_all(connection)
        .instrument(store::span("find receipts of loaded numbers"))
        .await?;
    let arrived = |row: StoredReceipt| {
        let institution_id = row.institution_id;
        let arrived = Arrived::read(row.receipt(), now);
        (arrived.key(institution_id), arrived)
    };
    Ok(rows.into_iter().map(arrived).collect())
}
