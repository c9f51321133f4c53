//! What could not be taken in, and its cases.

use fiorino_cases::store::{self as cases, By};
use fiorino_domain::{case::CaseKind, institution::InstitutionCode};
use fiorino_kit::store;
use fiorino_proto::common::v1::CaseAction;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use serde_json::{Value, json};
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

use super::{Error, Expired, Parked, Topic, upsert};
use crate::payment::Payment;

/// Longest text of a stranger in the detail of a case, characters.
const DETAIL_MAX: usize = 200;

/// Cases that are made at once for messages that the version before parked.
const ADOPTED: i64 = 1_000;

/// A finding.
pub(super) struct Found<'a> {
    /// Fiscal code, or empty.
    pub(super) institution: &'a str,
    pub(super) kind: CaseKind,
    /// Tells one finding from another within institution and kind.
    pub(super) key: String,
    pub(super) detail: Value,
}

/// A message that was parked, with its case.
#[derive(Debug, FromRow)]
pub(crate) struct ParkedRow {
    pub(crate) case_id: Uuid,
    opened_at: jiff_sqlx::Timestamp,
    pub(crate) event_id: String,
    pub(crate) event_type: String,
    pub(crate) traceparent: Option<String>,
    pub(crate) payload: Vec<u8>,
}

/// Opens the case of a finding. One that has its case already changes nothing: `None`.
pub(super) async fn open(connection: &mut PgConnection, found: &Found<'_>) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar(
        "insert into cases (institution, kind, key, id, detail, opened_at) values ($1, $2, $3, $4, $5, now())
         on conflict (institution, kind, key) do nothing returning id",
    )
    .bind(found.institution)
    .bind(found.kind.as_str())
    .bind(&found.key)
    .bind(Uuid::now_v7())
    .bind(&found.detail)
    .fetch_optional(connection)
    .await
}

/// Keeps a message that cannot be taken in, with its case.
pub(super) async fn park(connection: &mut PgConnection, topic: Topic<'_>, parked: &Parked) -> sqlx::Result<()> {
    // A key is "<institution>/<notice number>"; whatever else it is does not matter here.
    let key = String::from_utf8_lossy(&parked.key);
    let institution = key.split('/').next().and_then(|code| InstitutionCode::parse(code).ok());
    let institution = institution.as_ref().map_or("", InstitutionCode::as_str);
    let found = Found {
        institution,
        kind: CaseKind::MessagePoison,
        key: format!("{}/{}/{}/{}", parked.topic, topic.id, parked.partition, parked.offset),
        detail: json!({
            "topic": parked.topic,
            "partition": parked.partition,
            "offset": parked.offset,
            "event_id": cut(&parked.event_id),
            "event_type": cut(&parked.event_type),
            "reason": cut(&parked.reason),
        }),
    };
    // Read for a second time, as after a topic's end: it is there, and so is its case.
    let Some(case_id) = open(connection, &found).await? else { return Ok(()) };
    sqlx::query(
        "insert into parked_message
             (institution, topic, partition, \"offset\", event_id, event_type, traceparent, key, payload, reason, kind, topic_id,
              case_id)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) on conflict do nothing",
    )
    .bind(institution)
    .bind(&parked.topic)
    .bind(parked.partition)
    .bind(parked.offset)
    .bind(&parked.event_id)
    .bind(&parked.event_type)
    .bind(&parked.traceparent)
    .bind(&parked.key)
    .bind(&parked.payload)
    .bind(&parked.reason)
    .bind(CaseKind::MessagePoison.as_str())
    .bind(topic.id)
    .bind(case_id)
    .execute(connection)
    .await?;
    Ok(())
}

/// Tells of messages that were gone before they were read. `since`: what came before was taken in; `None` = nothing was.
pub(super) async fn miss(
    connection: &mut PgConnection,
    topic: Topic<'_>,
    expired: &Expired,
    since: Option<Timestamp>,
) -> sqlx::Result<()> {
    let Expired { topic: name, partition, from, to, until } = expired;
    let found = Found {
        institution: "",
        kind: CaseKind::MessagesExpired,
        key: format!("{name}/{}/{partition}/{from}", topic.id),
        detail: json!({
            "topic": name,
            "partition": partition,
            "offsets": [from, to - 1],
            "from": since,
            "to": until,
        }),
    };
    open(connection, &found).await.map(drop)
}

/// Gives a case to messages that the version before parked. Tells how many there were.
///
/// # Errors
/// What the database says.
pub async fn adopt(pool: &PgPool) -> sqlx::Result<u64> {
    let adopted = sqlx::query(
        "with caseless as (
             select institution, topic, topic_id, partition, \"offset\" from parked_message
             where case_id is null order by parked_at limit $1 for update skip locked
         ), adopted as (
             update parked_message set case_id = gen_random_uuid() from caseless
             where (parked_message.institution, parked_message.topic, parked_message.topic_id, parked_message.partition,
                    parked_message.\"offset\")
                 = (caseless.institution, caseless.topic, caseless.topic_id, caseless.partition, caseless.\"offset\")
             returning parked_message.institution, parked_message.topic, parked_message.partition, parked_message.\"offset\",
                 event_id, kind, reason, case_id, parked_at
         )
         insert into cases (institution, kind, key, id, detail, opened_at)
         select institution, kind, topic || '/' || partition || '/' || \"offset\", case_id,
             jsonb_build_object('topic', topic, 'partition', partition, 'offset', \"offset\", 'event_id', left(event_id, $2),
                 'reason', left(reason, $2)),
             parked_at
         from adopted on conflict (institution, kind, key) do nothing",
    )
    .bind(ADOPTED)
    .bind(i32::try_from(DETAIL_MAX).unwrap_or(i32::MAX))
    .execute(pool)
    .await?;
    Ok(adopted.rows_affected())
}

/// The parked message of a case, whatever the case's state.
///
/// # Errors
/// What the database says.
pub(crate) async fn one(pool: &PgPool, case_id: Uuid) -> sqlx::Result<Option<ParkedRow>> {
    sqlx::query_as(
        "select p.case_id, c.opened_at, p.event_id, p.event_type, p.traceparent, p.payload
         from parked_message p join cases c on c.id = p.case_id
         where p.case_id = $1 and c.kind = $2",
    )
    .bind(case_id)
    .bind(CaseKind::MessagePoison.as_str())
    .fetch_optional(pool)
    .await
}

/// Parked messages whose case waits, the oldest first, after a place.
///
/// # Errors
/// What the database says.
pub(crate) async fn waiting(
    pool: &PgPool,
    (opened_after, id_after): (Timestamp, Uuid),
    rows: u32,
) -> sqlx::Result<Vec<ParkedRow>> {
    sqlx::query_as(
        "select p.case_id, c.opened_at, p.event_id, p.event_type, p.traceparent, p.payload
         from cases c join parked_message p on p.case_id = c.id
         where c.state <> 3 and c.kind = $1 and (c.opened_at, c.id) > ($2, $3)
         order by c.opened_at, c.id limit $4",
    )
    .bind(CaseKind::MessagePoison.as_str())
    .bind(opened_after.to_sqlx())
    .bind(id_after)
    .bind(i64::from(rows))
    .fetch_all(pool)
    .await
}

/// Takes a parked payment in, and ends its case in the same transaction.
///
/// # Errors
/// The database failed, or refused a value; then nothing was written.
pub(crate) async fn take_in(pool: &PgPool, case_id: Uuid, payment: Payment, by: By<'_>) -> Result<(), Error> {
    let mut tx = store::begin(pool).await?;
    upsert(&mut tx, &[((payment.institution, payment.receipt_id.clone()), payment)].into()).await?;
    cases::resolve(&mut tx, case_id, by).await?;
    tx.commit().await?;
    Ok(())
}

/// Records that a parked message could still not be taken in.
///
/// # Errors
/// What the database says.
pub(crate) async fn still_parked(pool: &PgPool, case_id: Uuid, by: By<'_>) -> sqlx::Result<()> {
    let mut tx = store::begin(pool).await?;
    cases::record(&mut tx, case_id, CaseAction::Retried, by).await?;
    tx.commit().await
}

fn cut(text: &str) -> String {
    text.chars().take(DETAIL_MAX).collect()
}

// === impl ParkedRow ===

impl ParkedRow {
    /// Its place in the order of [`waiting`].
    pub(crate) fn place(&self) -> (Timestamp, Uuid) {
        (self.opened_at.to_jiff(), self.case_id)
    }
}
