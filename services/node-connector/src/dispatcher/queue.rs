//! What is due in the inbox, and what became of it.

use std::time::Duration;

use bytes::Bytes;
use fiorino_kit::store;
use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use sqlx::PgPool;
use tracing::Instrument as _;

use crate::{database, metrics::Backlog, receipts::inbox::Key};

/// Receipts in one call: the proto's limit.
const BATCH_MAX: i64 = 256;
/// Raw messages of one batch in memory, in bytes; the first one comes in any case.
const BATCH_BYTES_MAX: i64 = 16 * 1024 * 1024;
/// Deferred and waiting rows looked at in one round.
const ALONE_MAX: i64 = 16;
/// Longest pause of a row that tenant refused alone.
const DEFER_MAX: Duration = Duration::from_mins(10);
/// Longest wait for an answer of the database: its own statement timeout is shorter.
const QUERY_LIMIT: Duration = Duration::from_secs(6);
/// Characters of the last error that are kept.
const ERROR_MAX: usize = 200;

/// A row to be applied, with its raw message.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Due {
    pub(super) id_pa: String,
    pub(super) receipt_id: String,
    pub(super) version: i32,
    pub(super) content_hash: Vec<u8>,
    pub(super) findings: Vec<String>,
    pub(super) traceparent: Option<String>,
    #[sqlx(try_from = "SqlTimestamp")]
    pub(super) received_at: Timestamp,
    pub(super) attempts: i32,
    pub(super) charset: Option<String>,
    #[sqlx(try_from = "Vec<u8>")]
    pub(super) body: Bytes,
}

/// A row whose addressee waits to be judged.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Waiting {
    id_pa: String,
    receipt_id: String,
    pub(super) version: i32,
    pub(super) charset: Option<String>,
    #[sqlx(try_from = "Vec<u8>")]
    pub(super) body: Bytes,
}

/// The dispatcher's side of the inbox.
#[derive(Debug)]
pub(super) struct Queue {
    pool: PgPool,
}

// === impl Waiting ===

impl Waiting {
    pub(super) fn key(&self) -> Key {
        Key { id_pa: self.id_pa.clone(), receipt_id: self.receipt_id.clone() }
    }
}

// === impl Queue ===

impl Queue {
    pub(super) const fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// The next batch: rows that were never refused.
    pub(super) async fn due(&self, shards: &[i16]) -> sqlx::Result<Vec<Due>> {
        let rows = sqlx::query_as(
            "with due as (
                select fresh.id_pa, fresh.receipt_id, fresh.version, fresh.content_hash, fresh.findings, fresh.traceparent,
                    fresh.received_at, fresh.message_id, fresh.attempts, fresh.next_attempt_at
                from unnest($1::smallint[]) held (shard) cross join lateral (
                    select id_pa, receipt_id, version, content_hash, findings, traceparent, received_at, message_id, attempts,
                        next_attempt_at
                    from receipt_inbox
                    where state = 'ready' and attempts = 0 and receipt_inbox.shard = held.shard and next_attempt_at <= now()
                    order by next_attempt_at limit $2
                ) fresh order by next_attempt_at limit $3
            ), sized as (
                select due.id_pa, receipt_id, version, content_hash, findings, traceparent, due.received_at, attempts,
                    message.charset, message.body, sum(octet_length(message.body))
                    over (order by next_attempt_at, due.id_pa, receipt_id, version) as total
                from due join receipt_message message
                    on message.id_pa = due.id_pa and message.received_at = due.received_at and message.id = due.message_id
            )
            select id_pa, receipt_id, version, content_hash, findings, traceparent, received_at, attempts, charset, body
            from sized where total - octet_length(body) < $4 order by total",
        )
        .bind(shards)
        .bind(shard_max(shards.len()))
        .bind(BATCH_MAX)
        .bind(BATCH_BYTES_MAX);
        database::within(QUERY_LIMIT, rows.fetch_all(&self.pool)).await
    }

    /// Rows that tenant refused alone and whose pause is over.
    pub(super) async fn deferred(&self, shards: &[i16]) -> sqlx::Result<Vec<Due>> {
        let rows = sqlx::query_as(
            "select inbox.id_pa, receipt_id, version, content_hash, findings, traceparent, inbox.received_at, attempts,
                charset, body
            from receipt_inbox inbox join receipt_message message
                on message.id_pa = inbox.id_pa and message.received_at = inbox.received_at and message.id = inbox.message_id
            where state = 'ready' and attempts > 0 and shard = any($1) and next_attempt_at <= now()
            order by next_attempt_at limit $2",
        )
        .bind(shards)
        .bind(ALONE_MAX);
        database::within(QUERY_LIMIT, rows.fetch_all(&self.pool)).await
    }

    /// Rows that wait to be judged, oldest first; the call that brought one may still be judging it, and needs a moment.
    pub(super) async fn waiting(&self, shards: &[i16]) -> sqlx::Result<Vec<Waiting>> {
        let rows = sqlx::query_as(
            "select inbox.id_pa, receipt_id, version, charset, body
            from receipt_inbox inbox join receipt_message message
                on message.id_pa = inbox.id_pa and message.received_at = inbox.received_at and message.id = inbox.message_id
            where state = 'waiting' and shard = any($1) and next_attempt_at < now() - interval '3 s'
            order by inbox.received_at limit $2",
        )
        .bind(shards)
        .bind(ALONE_MAX);
        database::within(QUERY_LIMIT, rows.fetch_all(&self.pool)).await
    }

    /// Tenant took them.
    pub(super) async fn applied(&self, rows: &[&Due]) -> sqlx::Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let done = sqlx::query(
            "update receipt_inbox inbox set state = 'applied', applied_at = now(), last_error = null
            from unnest($1::text[], $2::text[], $3::integer[]) as done (id_pa, receipt_id, version)
            where inbox.id_pa = done.id_pa and inbox.receipt_id = done.receipt_id and inbox.version = done.version
                and state = 'ready'",
        )
        .bind(rows.iter().map(|row| row.id_pa.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.receipt_id.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.version).collect::<Vec<_>>())
        .execute(&self.pool)
        .instrument(store::span("mark receipts applied"));
        database::within(QUERY_LIMIT, done).await.map(drop)
    }

    /// Tenant refused it alone: 1 s, doubling.
    pub(super) async fn defer(&self, row: &Due, reason: &str) -> sqlx::Result<()> {
        let pause = Duration::from_secs(1_u64 << row.attempts.clamp(0, 16)).min(DEFER_MAX);
        let done = sqlx::query(
            "update receipt_inbox set attempts = attempts + 1, last_error = $5, \
             next_attempt_at = now() + $4 * interval '1 millisecond' \
             where id_pa = $1 and receipt_id = $2 and version = $3 and state = 'ready'",
        )
        .bind(&row.id_pa)
        .bind(&row.receipt_id)
        .bind(row.version)
        .bind(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX))
        .bind(reason.chars().take(ERROR_MAX).collect::<String>())
        .execute(&self.pool)
        .instrument(store::span("defer receipt"));
        database::within(QUERY_LIMIT, done).await.map(drop)
    }

    /// What waits, over all shards; each part is read from its index.
    pub(super) async fn backlog(&self) -> sqlx::Result<Backlog> {
        let told = sqlx::query_as(
            "select coalesce(extract(epoch from now() - (
                    select min(oldest.at) from generate_series(0, 15) every (shard) cross join lateral (
                        select next_attempt_at as at from receipt_inbox
                        where state = 'ready' and attempts = 0 and receipt_inbox.shard = every.shard::smallint
                        order by next_attempt_at limit 1
                    ) oldest
                )), 0)::float8,
                (select count(*) from receipt_inbox where state = 'waiting'),
                (select count(*) from receipt_inbox where state = 'ready' and attempts > 0)",
        );
        let (lag_seconds, waiting, deferred): (f64, i64, i64) =
            database::within(QUERY_LIMIT, told.fetch_one(&self.pool)).await?;
        Ok(Backlog {
            lag_seconds: lag_seconds.max(0.0),
            waiting: waiting.unsigned_abs(),
            deferred: deferred.unsigned_abs(),
        })
    }
}

/// Rows looked at per shard: twice a fair share, so that a batch fills although shards differ, and a backlog is not sorted.
fn shard_max(shards: usize) -> i64 {
    let shards = i64::try_from(shards).unwrap_or(i64::MAX).max(1);
    (2 * BATCH_MAX / shards).clamp(1, BATCH_MAX)
}
