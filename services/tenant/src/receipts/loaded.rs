//! Receipts that came before the notices that they pay were loaded from another system: they do then what they would have done, had they
//! come after (ARCHITECTURE.md 4.2).

use std::collections::{HashMap, HashSet};

use fiorino_domain::{case::CaseKind, notice::NoticeNumber};
use fiorino_kit::{outbox, store};
use fiorino_proto::receipts::v1::{Receipt, ReceiptTransfer};
use jiff::Timestamp;
use serde::Deserialize;
use sqlx::{PgConnection, types::Json};
use tracing::Instrument as _;
use uuid::Uuid;

use super::{
    apply::{self, Known},
    arrived::{Arrived, Key},
    store::{find_positions, position_facts},
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
         r.content
     from unnest($1::int4[], $2::text[]) as wanted (institution_id, nav)
     join institution i on i.institution_id = wanted.institution_id
     join receipt r on r.institution_id = wanted.institution_id and r.nav = wanted.nav
     where ",
    own_payment!(),
    " order by r.received_at, r.receipt_id, r.version"
);

type Row = (
    i32,
    String,
    String,
    i32,
    String,
    String,
    String,
    i64,
    Option<jiff_sqlx::Timestamp>,
    jiff_sqlx::Timestamp,
    Json<StoredContent>,
);

/// `receipt.content`, as [`super::arrived::Content`] writes it. What another version did not write is as if it had not been told.
#[derive(Default, Deserialize)]
#[serde(default)]
struct StoredContent {
    station_id: String,
    description: String,
    psp_id: String,
    psp_name: String,
    channel_id: String,
    payment_method: String,
    payment_note: String,
    fee_cents: Option<i64>,
    application_date: String,
    transfer_date: String,
    stand_in: bool,
    outcome: String,
    transfers: Vec<StoredTransfer>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StoredTransfer {
    id: u32,
    cents: i64,
    beneficiary: String,
    iban: String,
    remittance: String,
    taxonomy: String,
}

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
    let came = came_before(connection, numbers).await?;
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
        versions: HashMap::new(),
        instalments: transition::lock(connection, &ids).await?,
        positions,
        activated_cents: HashMap::new(),
    };
    let (keys, arrived): (Vec<_>, Vec<_>) = came.into_iter().unzip();
    let plan = apply::plan(&arrived, known, now);
    transition::write(connection, &plan.moves).await?;
    cases::open(connection, &plan.cases).await?;
    let ended: Vec<_> = keys.iter().map(|key| (key.institution_id, key.case_key())).collect();
    cases::resolve_all(connection, CaseKind::ReceiptUnknownNotice, &ended).await?;
    if !plan.messages.is_empty() {
        outbox::insert(connection, &plan.messages).instrument(store::span("insert events")).await?;
    }
    Ok(paid)
}

/// In the order in which they came: the first one pays.
async fn came_before(
    connection: &mut PgConnection,
    numbers: &[(i32, NoticeNumber)],
) -> sqlx::Result<Vec<(Key, Arrived)>> {
    let rows: Vec<Row> = sqlx::query_as(LOADED_STATEMENT)
        .bind(numbers.iter().map(|(institution_id, _)| *institution_id).collect::<Vec<_>>())
        .bind(numbers.iter().map(|(_, nav)| nav.as_str()).collect::<Vec<_>>())
        .fetch_all(connection)
        .instrument(store::span("find receipts of loaded numbers"))
        .await?;
    Ok(rows.into_iter().map(arrived).collect())
}

fn arrived(row: Row) -> (Key, Arrived) {
    let (
        institution_id,
        institution,
        receipt_id,
        version,
        nav,
        issuer,
        iuv,
        amount_cents,
        paid_at,
        received_at,
        content,
    ) = row;
    let Json(content) = content;
    let received_at = received_at.to_jiff();
    let receipt = Receipt {
        institution,
        receipt_id,
        version: version.unsigned_abs(),
        notice_number: nav,
        issuer,
        iuv,
        amount_cents,
        paid_at: paid_at.map(|at| at.to_jiff().to_string()).unwrap_or_default(),
        received_at: received_at.to_string(),
        station_id: content.station_id,
        description: content.description,
        psp_id: content.psp_id,
        psp_name: content.psp_name,
        channel_id: content.channel_id,
        payment_method: content.payment_method,
        payment_note: content.payment_note,
        fee_cents: content.fee_cents.unwrap_or(-1),
        application_date: content.application_date,
        transfer_date: content.transfer_date,
        stand_in: content.stand_in,
        outcome: content.outcome,
        transfers: content.transfers.into_iter().map(Into::into).collect(),
        ..Receipt::default()
    };
    let arrived = Arrived::read(receipt, received_at);
    (arrived.key(institution_id), arrived)
}

// === impl StoredTransfer ===

impl From<StoredTransfer> for ReceiptTransfer {
    fn from(stored: StoredTransfer) -> Self {
        let StoredTransfer { id, cents, beneficiary, iban, remittance, taxonomy } = stored;
        Self { id, amount_cents: cents, beneficiary, iban, remittance, taxonomy_code: taxonomy }
    }
}
