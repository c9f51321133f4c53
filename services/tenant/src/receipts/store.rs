//! The transaction in which receipts are applied: keys first, then the instalments under lock, then everything at once.
//!
//! Keys, unknown numbers, instalments and cases are each taken in one order, and in this order: batches that overlap wait for each other and never
//! lock each other out.

use std::collections::{HashMap, HashSet};

use fiorino_kit::{fault, outbox, store};
use fiorino_proto::receipts::v1::ApplyOutcome;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::{PgConnection, PgPool, types::Json};
use tracing::Instrument as _;
use uuid::Uuid;

use super::{
    apply::{self, Known, Plan, PositionFacts},
    arrived::{Arrived, Key, ReceiptRow},
    compare::{Activated, Answered},
    rare,
};
use crate::{
    cases,
    positions::{self, transition},
};

/// Who applies, where and when.
pub(super) struct Applying<'a> {
    pub(super) environment: &'a str,
    pub(super) actor: &'a str,
    pub(super) now: Timestamp,
}

/// A receipt of a notice, by place in the list of keys.
struct Notice<'a> {
    key: &'a Key,
    nav: &'a str,
    received_at: Timestamp,
}

/// Institution, position, notice number, client reference, service.
pub(super) type PositionRow = (i32, Uuid, String, String, String);

/// Applies the receipts, all or none; an outcome for each, in their order.
///
/// # Errors
/// What the database says; then nothing was done.
pub(super) async fn apply(pool: &PgPool, with: &Applying<'_>, arrived: &[Arrived]) -> sqlx::Result<Vec<ApplyOutcome>> {
    let mut tx = store::begin(pool).await?;
    let known = know(&mut tx, with, arrived).await?;
    let plan = apply::plan(arrived, known, with.now);
    write(&mut tx, with, &plan).await?;
    tx.commit().await?;
    fault::point("receipts-applied");
    Ok(plan.outcomes)
}

async fn know(connection: &mut PgConnection, with: &Applying<'_>, arrived: &[Arrived]) -> sqlx::Result<Known> {
    let institutions = institutions(connection, with.environment, arrived).await?;
    let ours = |receipt: &&Arrived| !receipt.is_nobodys();
    let keyed: Vec<_> = (arrived.iter().filter(ours))
        .filter_map(|receipt| Some((receipt.key(*institutions.get(&receipt.told.institution)?), receipt)))
        .collect();
    let fresh = take_keys(connection, &keyed).await?;
    let versions = versions(connection, &keyed).await?;
    // Of a key that the batch repeats the first one counts.
    let mut seen = HashSet::new();
    let notices: Vec<_> = (keyed.iter())
        .filter(|(key, _)| fresh.contains(key) && seen.insert(key))
        .filter(|(_, receipt)| receipt.is_paid() && !receipt.is_of_beneficiary())
        .map(|(key, receipt)| Notice { key, nav: &receipt.told.notice_number, received_at: receipt.received_at })
        .collect();
    let positions = positions_of(connection, &notices).await?;
    let ids: Vec<_> = positions.keys().copied().collect();
    let instalments = transition::lock(connection, &ids).await?;
    let activated = activated(connection, &notices).await?;
    let here: HashSet<_> = instalments.iter().map(|row| (row.institution_id, row.nav.as_str())).collect();
    let unknown = notices.iter().filter(|notice| !here.contains(&(notice.key.institution_id, notice.nav)));
    let unknown: HashSet<_> = unknown.map(|notice| notice.key).collect();
    let rare::Associations { associated, elsewhere } = rare::associations(connection, &keyed, &unknown).await?;
    let earlier = rare::earlier(connection, &fresh, &versions).await?;
    Ok(Known { institutions, fresh, versions, instalments, positions, activated, earlier, elsewhere, associated })
}

async fn write(connection: &mut PgConnection, with: &Applying<'_>, plan: &Plan<'_>) -> sqlx::Result<()> {
    transition::write(connection, &plan.moves).await?;
    insert(connection, with, &plan.receipts).await?;
    cases::open(connection, &plan.cases).await?;
    if !plan.messages.is_empty() {
        outbox::insert(connection, &plan.messages).instrument(store::span("insert events")).await?;
    }
    Ok(())
}

async fn institutions(
    connection: &mut PgConnection,
    environment: &str,
    arrived: &[Arrived],
) -> sqlx::Result<HashMap<String, i32>> {
    let mut codes: Vec<_> = arrived.iter().map(|receipt| receipt.told.institution.as_str()).collect();
    codes.sort_unstable();
    codes.dedup();
    let rows: Vec<(String, i32)> = sqlx::query_as(
        "select fiscal_code, institution_id from institution where environment = $1 and fiscal_code = any($2)",
    )
    .bind(environment)
    .bind(codes)
    .fetch_all(connection)
    .instrument(store::span("find institutions"))
    .await?;
    Ok(rows.into_iter().collect())
}

/// Takes the keys that nobody took before. Whoever is about to take one of them is waited for.
async fn take_keys(connection: &mut PgConnection, keyed: &[(Key, &Arrived)]) -> sqlx::Result<HashSet<Key>> {
    let mut ordered: Vec<_> = keyed.iter().collect();
    ordered.sort_by(|(left, _), (right, _)| left.cmp(right));
    let rows: Vec<(i32, String, i32)> = sqlx::query_as(
        "insert into receipt_key (institution_id, receipt_id, version, content_hash)
         select taken.institution_id, taken.receipt_id, taken.version, taken.content_hash
         from unnest($1::int4[], $2::text[], $3::int4[], $4::bytea[])
             as taken (institution_id, receipt_id, version, content_hash)
         on conflict (institution_id, receipt_id, version) do nothing
         returning institution_id, receipt_id, version",
    )
    .bind(ordered.iter().map(|(key, _)| key.institution_id).collect::<Vec<_>>())
    .bind(ordered.iter().map(|(key, _)| key.receipt_id.as_str()).collect::<Vec<_>>())
    .bind(ordered.iter().map(|(key, _)| key.version).collect::<Vec<_>>())
    .bind(ordered.iter().map(|(_, receipt)| receipt.told.content_hash.as_ref()).collect::<Vec<&[u8]>>())
    .fetch_all(connection)
    .instrument(store::span("take receipt keys"))
    .await?;
    Ok(rows
        .into_iter()
        .map(|(institution_id, receipt_id, version)| Key { institution_id, receipt_id, version })
        .collect())
}

/// Every version of the receipts, those of this batch included.
async fn versions(connection: &mut PgConnection, keyed: &[(Key, &Arrived)]) -> sqlx::Result<HashMap<Key, Vec<u8>>> {
    let mut wanted: Vec<_> = keyed.iter().map(|(key, _)| (key.institution_id, key.receipt_id.as_str())).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let (ids, receipts): (Vec<_>, Vec<_>) = wanted.into_iter().unzip();
    let rows: Vec<(i32, String, i32, Vec<u8>)> = sqlx::query_as(
        "select k.institution_id, k.receipt_id, k.version, k.content_hash
         from unnest($1::int4[], $2::text[]) as wanted (institution_id, receipt_id)
         join receipt_key k on k.institution_id = wanted.institution_id and k.receipt_id = wanted.receipt_id",
    )
    .bind(ids)
    .bind(receipts)
    .fetch_all(connection)
    .instrument(store::span("find receipt versions"))
    .await?;
    let version = |(institution_id, receipt_id, version, hash)| (Key { institution_id, receipt_id, version }, hash);
    Ok(rows.into_iter().map(version).collect())
}

/// The positions of the notices. A notice that is not there may be on its way: whoever is loading it is waited for.
async fn positions_of(
    connection: &mut PgConnection,
    notices: &[Notice<'_>],
) -> sqlx::Result<HashMap<(i32, Uuid), PositionFacts>> {
    let wanted: Vec<_> = notices.iter().map(|notice| (notice.key.institution_id, notice.nav)).collect();
    let mut rows = find_positions(connection, &wanted).await?;
    let found: HashSet<(i32, &str)> = rows.iter().map(|row| (row.0, row.2.as_str())).collect();
    let missing: Vec<_> = wanted.into_iter().filter(|number| !found.contains(number)).collect();
    if !missing.is_empty() {
        positions::hold_numbers(connection, &missing).await?;
        rows.extend(find_positions(connection, &missing).await?);
    }
    Ok(position_facts(rows))
}

/// By institution and position.
pub(super) fn position_facts(rows: Vec<PositionRow>) -> HashMap<(i32, Uuid), PositionFacts> {
    let facts = |(institution_id, id, _, client_reference, service_code)| {
        ((institution_id, id), PositionFacts { client_reference, service_code })
    };
    rows.into_iter().map(facts).collect()
}

/// The positions of these notices that are here.
///
/// # Errors
/// What the database says.
pub(super) async fn find_positions(
    connection: &mut PgConnection,
    numbers: &[(i32, &str)],
) -> sqlx::Result<Vec<PositionRow>> {
    sqlx::query_as(
        "select n.institution_id, n.position_id, n.nav, p.client_reference, p.service_code
         from unnest($1::int4[], $2::text[]) as wanted (institution_id, nav)
         join notice n on n.institution_id = wanted.institution_id and n.nav = wanted.nav
         join debt_position p on p.institution_id = n.institution_id and p.id = n.position_id",
    )
    .bind(numbers.iter().map(|(institution_id, _)| *institution_id).collect::<Vec<_>>())
    .bind(numbers.iter().map(|(_, nav)| *nav).collect::<Vec<_>>())
    .fetch_all(connection)
    .instrument(store::span("find positions"))
    .await
}

/// What the latest activation before each receipt answered.
async fn activated(connection: &mut PgConnection, notices: &[Notice<'_>]) -> sqlx::Result<HashMap<Key, Activated>> {
    let rows: Vec<(i64, i64, Json<Vec<Answered>>)> = sqlx::query_as(
        "select wanted.place, latest.amount_cents, latest.transfers
         from unnest($1::int4[], $2::text[], $3::timestamptz[]) with ordinality as wanted (institution_id, nav, received_at, place)
         cross join lateral (
             select a.amount_cents, a.transfers from activation a
             where a.institution_id = wanted.institution_id and a.nav = wanted.nav and a.activated_at <= wanted.received_at
             order by a.activated_at desc, a.id desc limit 1
         ) latest",
    )
    .bind(notices.iter().map(|notice| notice.key.institution_id).collect::<Vec<_>>())
    .bind(notices.iter().map(|notice| notice.nav).collect::<Vec<_>>())
    .bind(notices.iter().map(|notice| notice.received_at.to_sqlx()).collect::<Vec<_>>())
    .fetch_all(connection)
    .instrument(store::span("find activations"))
    .await?;
    let by_key = |(place, cents, Json(transfers)): (i64, i64, Json<Vec<Answered>>)| {
        let notice = notices.get(usize::try_from(place - 1).ok()?)?;
        Some((notice.key.clone(), Activated { cents, transfers }))
    };
    Ok(rows.into_iter().filter_map(by_key).collect())
}

async fn insert(connection: &mut PgConnection, with: &Applying<'_>, rows: &[ReceiptRow<'_>]) -> sqlx::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let told = |of: fn(&Arrived) -> &str| rows.iter().map(|row| of(row.arrived)).collect::<Vec<_>>();
    sqlx::query(
        "insert into receipt
             (institution_id, receipt_id, version, nav, issuer, iuv, amount_cents, outcome, paid_at, received_at, content,
              issued_elsewhere, applied_at, applied_by)
         select applied.institution_id, applied.receipt_id, applied.version, applied.nav, applied.issuer, applied.iuv,
             applied.amount_cents, applied.outcome, applied.paid_at, applied.received_at, applied.content,
             applied.issued_elsewhere, $13, $14
         from unnest($1::int4[], $2::text[], $3::int4[], $4::text[], $5::text[], $6::text[], $7::int8[], $8::int2[],
             $9::timestamptz[], $10::timestamptz[], $11::jsonb[], $12::bool[])
             as applied (institution_id, receipt_id, version, nav, issuer, iuv, amount_cents, outcome, paid_at, received_at,
                 content, issued_elsewhere)",
    )
    .bind(rows.iter().map(|row| row.key.institution_id).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.key.receipt_id.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.key.version).collect::<Vec<_>>())
    .bind(told(|arrived| &arrived.told.notice_number))
    .bind(told(|arrived| &arrived.told.issuer))
    .bind(told(|arrived| &arrived.told.iuv))
    .bind(rows.iter().map(|row| row.arrived.told.amount_cents).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| outcome_number(row.outcome)).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.arrived.paid_at.map(ToSqlx::to_sqlx)).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.arrived.received_at.to_sqlx()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| Json(row.arrived.content(row.announced.as_ref()))).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.elsewhere).collect::<Vec<_>>())
    .bind(with.now.to_sqlx())
    .bind(with.actor)
    .execute(connection)
    .instrument(store::span("insert receipts"))
    .await?;
    Ok(())
}

/// As stored: the number of proto `ApplyOutcome`.
const fn outcome_number(outcome: ApplyOutcome) -> i16 {
    match outcome {
        ApplyOutcome::Unspecified => 0,
        ApplyOutcome::Applied => 1,
        ApplyOutcome::Repeated => 2,
        ApplyOutcome::Case => 3,
        ApplyOutcome::Beneficiary => 4,
    }
}
