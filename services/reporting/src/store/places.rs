//! How far each partition was read, and of which topic: one that is made anew has the same name and other messages.

use std::collections::BTreeMap;

use fiorino_domain::case::CaseKind;
use fiorino_kit::store;
use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx;
use serde_json::json;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{Error, parked};

/// Events do not reach a partition exactly in the order of their time: what is sent again begins this much earlier.
const SLACK: SignedDuration = SignedDuration::from_hours(1);

/// A topic by its name, and which one of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Topic<'a> {
    /// Full name.
    pub name: &'a str,
    /// Kafka's id of it.
    pub id: Uuid,
}

/// How far a partition was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advance {
    /// Partition of the topic.
    pub partition: i32,
    /// Offset of the next message, as the table tells it.
    pub from: i64,
    /// Offset of the next message from now on.
    pub to: i64,
    /// When tenant recorded the latest event among the messages; `None` = none of them says.
    pub event_at: Option<Timestamp>,
}

type Replaced = (i32, Uuid, i64, Option<jiff_sqlx::Timestamp>);

/// Offsets of the next messages of these partitions, 0 for one that was never read.
///
/// Where the offsets are those of another topic of this name, every partition of it is read from its beginning, and a case says from
/// when on payments are to be sent again.
///
/// # Errors
/// What the database says.
pub async fn offsets(pool: &PgPool, topic: Topic<'_>, partitions: &[i32]) -> sqlx::Result<BTreeMap<i32, i64>> {
    let mut tx = store::begin(pool).await?;
    sqlx::query(
        "insert into consumer_offset (topic, partition, next_offset, topic_id) select $1, unnest($2::int4[]), 0, $3
         on conflict (topic, partition) do nothing",
    )
    .bind(topic.name)
    .bind(partitions)
    .bind(topic.id)
    .execute(&mut *tx)
    .await?;
    // Left by the version before.
    sqlx::query("update consumer_offset set topic_id = $2 where topic = $1 and topic_id is null")
        .bind(topic.name)
        .bind(topic.id)
        .execute(&mut *tx)
        .await?;
    begin_anew(&mut tx, topic).await?;
    let rows: Vec<(i32, i64)> =
        sqlx::query_as("select partition, next_offset from consumer_offset where topic = $1 and partition = any($2)")
            .bind(topic.name)
            .bind(partitions)
            .fetch_all(&mut *tx)
            .await?;
    tx.commit().await?;
    Ok(rows.into_iter().collect())
}

/// Tells that a partition ends before the place up to which it was read: what stood behind it and was not read yet is gone.
///
/// # Errors
/// What the database says.
pub async fn shortened(pool: &PgPool, topic: Topic<'_>, partition: i32) -> sqlx::Result<()> {
    let mut tx = store::begin(pool).await?;
    let since = known_until(&mut tx, topic, &[partition]).await?.get(&partition).copied().flatten();
    let (next_offset, noticed_at): (i64, jiff_sqlx::Timestamp) =
        sqlx::query_as("select next_offset, now() from consumer_offset where topic = $1 and partition = $2")
            .bind(topic.name)
            .bind(partition)
            .fetch_one(&mut *tx)
            .await?;
    let case = parked::Found {
        institution: "",
        kind: CaseKind::MessagesExpired,
        key: format!("{}/{}/{partition}/{next_offset}/shorter", topic.name, topic.id),
        detail: json!({
            "topic": topic.name,
            "partition": partition,
            "read_up_to": next_offset,
            "from": since,
            "to": noticed_at.to_jiff(),
        }),
    };
    parked::open(&mut tx, &case).await?;
    tx.commit().await
}

/// First of a batch, so that a replica that was overtaken does nothing else.
pub(super) async fn advance(
    connection: &mut PgConnection,
    topic: Topic<'_>,
    advances: &[Advance],
) -> Result<(), Error> {
    let column = |value: fn(&Advance) -> i64| advances.iter().map(value).collect::<Vec<_>>();
    let outcome = sqlx::query(
        "update consumer_offset set next_offset = told.next, event_at = greatest(event_at, told.at)
         from unnest($2::int4[], $3::int8[], $4::int8[], $5::timestamptz[]) as told (partition, known, next, at)
         where topic = $1 and topic_id = $6 and consumer_offset.partition = told.partition and next_offset = told.known",
    )
    .bind(topic.name)
    .bind(advances.iter().map(|advance| advance.partition).collect::<Vec<_>>())
    .bind(column(|advance| advance.from))
    .bind(column(|advance| advance.to))
    .bind(advances.iter().map(|advance| advance.event_at.map(ToSqlx::to_sqlx)).collect::<Vec<_>>())
    .bind(topic.id)
    .execute(connection)
    .await?;
    if outcome.rows_affected() == advances.len() as u64 { Ok(()) } else { Err(Error::Overtaken) }
}

/// From when on events of these partitions may not have been taken in: `None` = from the first one.
pub(super) async fn known_until(
    connection: &mut PgConnection,
    topic: Topic<'_>,
    partitions: &[i32],
) -> sqlx::Result<BTreeMap<i32, Option<Timestamp>>> {
    let rows: Vec<(i32, Option<jiff_sqlx::Timestamp>)> = sqlx::query_as(
        "select partition, case when next_offset > 0 then coalesce(event_at, followed_at) end
         from consumer_offset where topic = $1 and partition = any($2)",
    )
    .bind(topic.name)
    .bind(partitions)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|(partition, at)| (partition, at.and_then(earlier))).collect())
}

async fn begin_anew(connection: &mut PgConnection, topic: Topic<'_>) -> sqlx::Result<()> {
    // Whoever records meanwhile finds another id, and writes nothing.
    let replaced: Vec<Replaced> = sqlx::query_as(
        "select partition, topic_id, next_offset, coalesce(event_at, followed_at) from consumer_offset
         where topic = $1 and topic_id <> $2 order by partition for update",
    )
    .bind(topic.name)
    .bind(topic.id)
    .fetch_all(&mut *connection)
    .await?;
    let Some((_, before, ..)) = replaced.first() else { return Ok(()) };
    let noticed_at: jiff_sqlx::Timestamp = sqlx::query_scalar(
        "with reset as (
             update consumer_offset set topic_id = $2, next_offset = 0, event_at = null, followed_at = now()
             where topic = $1 and topic_id <> $2
         )
         select now()",
    )
    .bind(topic.name)
    .bind(topic.id)
    .fetch_one(&mut *connection)
    .await?;
    let offsets: BTreeMap<_, _> =
        replaced.iter().map(|(partition, _, offset, _)| (partition.to_string(), *offset)).collect();
    let missing_since = replaced.iter().map(|(.., at)| at.and_then(earlier)).min().flatten();
    tracing::error!(topic = topic.name, %before, id = %topic.id, "topic was made anew, reading it from its beginning");
    let case = parked::Found {
        institution: "",
        kind: CaseKind::TopicReplaced,
        key: format!("{}/{}", topic.name, topic.id),
        detail: json!({
            "topic": topic.name,
            "topic_id_before": before,
            "topic_id": topic.id,
            "read_up_to": offsets,
            "from": missing_since,
            "to": noticed_at.to_jiff(),
        }),
    };
    parked::open(connection, &case).await.map(drop)
}

/// `None` where it is unknown sorts first, and is therefore the least: from the first event on.
fn earlier(at: jiff_sqlx::Timestamp) -> Option<Timestamp> {
    at.to_jiff().checked_sub(SLACK).ok()
}
