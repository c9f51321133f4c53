//! What is asked of the database for few receipts, in one statement for all of a batch, or not at all: what other versions said, and whether
//! an association knows better.

use std::collections::{HashMap, HashSet};

use fiorino_domain::{case::CaseKind, notice::NoticeNumber};
use fiorino_kit::store;
use sqlx::{FromRow, PgConnection, types::Json};
use tracing::Instrument as _;

use super::{
    arrived::{Arrived, Key},
    earlier::{Earlier, EarlierTransfer, Versions},
};

/// What tells a payment that was made (`receipt.content.outcome`).
const PAID: &str = "OK";

#[derive(FromRow)]
struct VersionRow {
    institution_id: i32,
    receipt_id: String,
    version: i32,
    nav: String,
    issuer: String,
    amount_cents: Option<i64>,
    outcome: Option<String>,
    transfers: Option<Json<Vec<EarlierTransfer>>>,
}

/// What the configuration says of a receipt.
#[derive(FromRow)]
struct AssociationRow {
    place: i64,
    /// Station and institution belong to each other, or did.
    associated: bool,
    /// By the station come receipts of what others issue.
    broadcast: bool,
    /// Numbers of this kind are issued or accepted here.
    own_number: bool,
}

/// What the configuration says of some receipts.
#[derive(Default)]
pub(super) struct Associations {
    /// See `Known::associated`.
    pub(super) associated: HashSet<Key>,
    /// See `Known::elsewhere`.
    pub(super) elsewhere: HashSet<Key>,
}

/// What the other versions of new receipts said.
pub(super) async fn earlier(
    connection: &mut PgConnection,
    fresh: &HashSet<Key>,
    versions: &HashMap<Key, Vec<u8>>,
) -> sqlx::Result<Versions> {
    let fresh_receipts: HashSet<_> = fresh.iter().map(|key| (key.institution_id, key.receipt_id.as_str())).collect();
    let others: Vec<_> = versions
        .keys()
        .filter(|key| !fresh.contains(*key))
        .filter(|key| fresh_receipts.contains(&(key.institution_id, key.receipt_id.as_str())))
        .collect();
    let mut found = Versions::new();
    if others.is_empty() {
        return Ok(found);
    }
    let rows: Vec<VersionRow> = sqlx::query_as(
        "select r.institution_id, r.receipt_id, r.version, r.nav, r.issuer, r.amount_cents, r.content->>'outcome' as outcome,
             r.content->'transfers' as transfers
         from unnest($1::int4[], $2::text[], $3::int4[]) as wanted (institution_id, receipt_id, version)
         join receipt r on r.institution_id = wanted.institution_id and r.receipt_id = wanted.receipt_id
             and r.version = wanted.version
         order by r.institution_id, r.receipt_id, r.version",
    )
    .bind(others.iter().map(|key| key.institution_id).collect::<Vec<_>>())
    .bind(others.iter().map(|key| key.receipt_id.as_str()).collect::<Vec<_>>())
    .bind(others.iter().map(|key| key.version).collect::<Vec<_>>())
    .fetch_all(connection)
    .instrument(store::span("find other versions"))
    .await?;
    for row in rows {
        let earlier = Earlier {
            version: row.version,
            notice_number: row.nav,
            issuer: row.issuer,
            counted: row.outcome.as_deref() == Some(PAID),
            cents: row.amount_cents,
            transfers: row.transfers.map(|Json(transfers)| transfers).unwrap_or_default(),
        };
        found.entry((row.institution_id, row.receipt_id)).or_default().push(earlier);
    }
    Ok(found)
}

/// Asks the configuration about receipts that the inbox found not associated, and about those of notices that are not here (`unknown`).
pub(super) async fn associations(
    connection: &mut PgConnection,
    keyed: &[(Key, &Arrived)],
    unknown: &HashSet<&Key>,
) -> sqlx::Result<Associations> {
    let asked: Vec<_> = keyed
        .iter()
        .filter(|(key, receipt)| unknown.contains(key) || receipt.has_finding(CaseKind::ReceiptNotAssociated))
        .collect();
    if asked.is_empty() {
        return Ok(Associations::default());
    }
    let numbers: Vec<_> =
        asked.iter().map(|(_, receipt)| NoticeNumber::parse(&receipt.told.notice_number).ok()).collect();
    let code = |number: &NoticeNumber| number.code().map(|code| code.to_string()).unwrap_or_default();
    let rows: Vec<AssociationRow> = sqlx::query_as(
        "select wanted.place,
             exists (
                 select from association a join station s on s.station_id = a.station_id
                 where a.institution_id = wanted.institution_id and a.station_id = wanted.station_id
                     and (wanted.broker = '' or s.broker_fiscal_code = wanted.broker)
             ) as associated,
             exists (
                 select from association a
                 where a.institution_id = wanted.institution_id and a.station_id = wanted.station_id and a.broadcast
             ) as broadcast,
             exists (
                 select from association a
                 where a.institution_id = wanted.institution_id and a.aux_digit = wanted.aux_digit and a.code = wanted.code
                     and not a.removed
             ) as own_number
         from unnest($1::int4[], $2::text[], $3::text[], $4::int2[], $5::text[])
             with ordinality as wanted (institution_id, station_id, broker, aux_digit, code, place)",
    )
    .bind(asked.iter().map(|(key, _)| key.institution_id).collect::<Vec<_>>())
    .bind(asked.iter().map(|(_, receipt)| receipt.told.station_id.as_str()).collect::<Vec<_>>())
    .bind(asked.iter().map(|(_, receipt)| receipt.told.broker.as_str()).collect::<Vec<_>>())
    .bind(numbers.iter().map(|number| number.map_or(-1, |number| i16::from(number.aux_digit().number()))).collect::<Vec<_>>())
    .bind(numbers.iter().map(|number| number.as_ref().map(code).unwrap_or_default()).collect::<Vec<_>>())
    .fetch_all(connection)
    .instrument(store::span("find associations"))
    .await?;
    let mut found = Associations::default();
    for row in rows {
        let Some(at) = usize::try_from(row.place - 1).ok() else { continue };
        let Some(((key, receipt), number)) = asked.get(at).zip(numbers.get(at)) else { continue };
        if row.associated {
            found.associated.insert(key.clone());
        }
        let of_the_addressee = receipt.told.issuer == receipt.told.institution;
        if unknown.contains(key) && of_the_addressee && number.is_some() && row.broadcast && !row.own_number {
            found.elsewhere.insert(key.clone());
        }
    }
    Ok(found)
}
