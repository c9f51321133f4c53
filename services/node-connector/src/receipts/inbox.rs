//! The inbox tables: raw messages, and one row per receipt and version.

use bytes::Bytes;
use fiorino_domain::case::CaseKind;
use fiorino_kit::store;
use fiorino_wire::FaultCode;
use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use sha2::{Digest as _, Sha256};
use sqlx::{PgConnection, PgPool};
use tracing::Instrument as _;
use uuid::Uuid;

use super::{
    insert::{insert_batch, insert_version},
    twins,
};

/// Shards of the inbox: each is leased to one replica's dispatcher.
pub(crate) const SHARDS: i16 = 16;

/// A receipt on its way into the inbox.
#[derive(Debug, Clone)]
pub(crate) struct NewReceipt {
    pub(crate) key: Key,
    pub(crate) content_hash: [u8; 32],
    /// The addressee is known: the row is to be applied. Otherwise it waits to be judged.
    pub(crate) judged: bool,
    pub(crate) findings: Vec<CaseKind>,
    /// Where it breaks the schema, as [`findings`](super::findings) writes it.
    pub(crate) violations: Vec<String>,
    pub(crate) traceparent: Option<String>,
    pub(crate) message: RawMessage,
}

/// What identifies a receipt.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) id_pa: String,
    pub(crate) receipt_id: String,
}

/// A message as it came.
#[derive(Debug, Clone)]
pub(crate) struct RawMessage {
    pub(crate) id: Uuid,
    pub(crate) received_at: Timestamp,
    pub(crate) peer: String,
    pub(crate) request_id: String,
    pub(crate) path_station: String,
    pub(crate) charset: Option<String>,
    pub(crate) body: Bytes,
}

/// A row that was in the inbox before.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Row {
    pub(crate) version: i32,
    content_hash: Vec<u8>,
    /// Of the same payment by the other version of the message.
    twin_hash: Option<Vec<u8>>,
    #[sqlx(try_from = "SqlTimestamp")]
    received_at: Timestamp,
    message_id: Uuid,
    /// The addressee was never judged.
    pub(crate) waiting: bool,
    /// A final answer was decided for the node.
    pub(crate) answered: bool,
    pub(crate) refusal: Option<String>,
}

/// What became of a receipt in the inbox.
#[derive(Debug, Clone)]
pub(crate) enum Stored {
    /// A row of its own, with this version.
    Added(i32),
    /// The row of this very message: an earlier attempt had worked, although its answer was lost.
    Own(Row),
    /// A row with the same business fields was there, or of the same payment by the other version of the message.
    Equal(Row),
}

/// The database's side of the inbox; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Inbox {
    pool: PgPool,
}

// === impl Key ===

impl Key {
    /// The shard of every version of the receipt.
    pub(crate) fn shard(&self) -> i16 {
        let digest =
            Sha256::new().chain_update(&self.id_pa).chain_update([0]).chain_update(&self.receipt_id).finalize();
        i16::from(digest[0]) % SHARDS
    }
}

// === impl Row ===

impl Row {
    fn is_of(&self, hash: [u8; 32]) -> bool {
        self.content_hash == hash || self.twin_hash.as_deref() == Some(&hash)
    }

    /// Where its raw message stands.
    pub(super) fn message(&self) -> (Timestamp, Uuid) {
        (self.received_at, self.message_id)
    }
}

// === impl Inbox ===

impl Inbox {
    pub(crate) const fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// Commits raw messages and, where the key is new, rows: one statement, one commit. Tells which messages got a row.
    pub(crate) async fn insert(&self, batch: &[NewReceipt]) -> sqlx::Result<Vec<bool>> {
        let mut inserted = insert_batch(&self.pool, batch).instrument(store::span("insert receipts")).await?;
        inserted.sort_unstable();
        Ok(batch.iter().map(|new| inserted.binary_search(&new.message.id).is_ok()).collect())
    }

    /// Compares a receipt that got no row with the versions that are there; adds one when all differ.
    pub(crate) async fn compare(&self, new: &NewReceipt) -> sqlx::Result<Stored> {
        let mut tx = store::begin(&self.pool).await?;
        lock(&mut tx, &new.key).await?;
        let rows: Vec<Row> = sqlx::query_as(
            "select version, content_hash, twin_hash, received_at, message_id, state = 'waiting' as waiting, answered, refusal \
             from receipt_inbox where id_pa = $1 and receipt_id = $2 order by version",
        )
        .bind(&new.key.id_pa)
        .bind(&new.key.receipt_id)
        .fetch_all(&mut *tx)
        .instrument(store::span("compare receipt"))
        .await?;
        let latest = rows.last().map_or(0, |row| row.version);
        let stored = if let Some(own) = rows.iter().find(|row| row.message_id == new.message.id) {
            Stored::Own(own.clone())
        } else if let Some(equal) = rows.iter().rfind(|row| row.is_of(new.content_hash)) {
            count_unkept(&mut tx, new, equal.version).await?;
            Stored::Equal(equal.clone())
        } else if let Some(twin) = twins::find(&mut tx, new, &rows).await? {
            Stored::Equal(twin)
        } else {
            let finding = (latest > 0).then_some(CaseKind::ReceiptVersion);
            Stored::Added(insert_version(&mut tx, new, latest + 1, finding).await?)
        };
        tx.commit().await?;
        Ok(stored)
    }

    /// Adds a version although an equal one is there: that one was refused, and is accepted now.
    pub(crate) async fn accept_again(&self, new: &NewReceipt) -> sqlx::Result<()> {
        let mut tx = store::begin(&self.pool).await?;
        lock(&mut tx, &new.key).await?;
        let (latest, accepted): (i32, bool) = sqlx::query_as(
            "select max(version), bool_or(content_hash = $3 and refusal is null) \
             from receipt_inbox where id_pa = $1 and receipt_id = $2",
        )
        .bind(&new.key.id_pa)
        .bind(&new.key.receipt_id)
        .bind(&new.content_hash[..])
        .fetch_one(&mut *tx)
        .instrument(store::span("accept receipt again"))
        .await?;
        if !accepted {
            insert_version(&mut tx, new, latest + 1, None).await?;
        }
        tx.commit().await
    }

    /// The addressee is ours: the row is to be applied, if it was not already. `answered`: the node is answered OK.
    pub(crate) async fn accept(
        &self,
        key: &Key,
        version: i32,
        finding: Option<CaseKind>,
        answered: bool,
    ) -> sqlx::Result<()> {
        sqlx::query(
            "update receipt_inbox set answered = answered or $5, \
             state = case state when 'waiting' then 'ready' else state end, \
             findings = case state when 'waiting' then findings || $4 else findings end \
             where id_pa = $1 and receipt_id = $2 and version = $3 and (state = 'waiting' or not answered)",
        )
        .bind(&key.id_pa)
        .bind(&key.receipt_id)
        .bind(version)
        .bind(codes(finding.as_slice()))
        .bind(answered)
        .execute(&self.pool)
        .instrument(store::span("accept receipt"))
        .await
        .map(drop)
    }

    /// The addressee was never ours: the row goes to tenant as a case, and the node is answered KO.
    pub(crate) async fn refuse(&self, key: &Key, version: i32, fault: FaultCode, answered: bool) -> sqlx::Result<()> {
        sqlx::query(
            "update receipt_inbox set state = 'ready', answered = $6, refusal = $4, findings = findings || $5 \
             where id_pa = $1 and receipt_id = $2 and version = $3 and state = 'waiting'",
        )
        .bind(&key.id_pa)
        .bind(&key.receipt_id)
        .bind(version)
        .bind(fault.as_str())
        .bind(codes(&[CaseKind::AddresseeNeverOurs]))
        .bind(answered)
        .execute(&self.pool)
        .instrument(store::span("refuse receipt"))
        .await
        .map(drop)
    }

    /// The node did not get its final answer, although the rows of these keys and hashes may say so.
    pub(crate) async fn not_answered(&self, receipts: &[(Key, [u8; 32])]) -> sqlx::Result<()> {
        sqlx::query(
            "update receipt_inbox inbox set answered = false \
             from unnest($1::text[], $2::text[], $3::bytea[]) as owed (id_pa, receipt_id, content_hash) \
             where inbox.id_pa = owed.id_pa and inbox.receipt_id = owed.receipt_id \
             and inbox.content_hash = owed.content_hash and inbox.answered and inbox.refusal is null",
        )
        .bind(receipts.iter().map(|(key, _)| key.id_pa.as_str()).collect::<Vec<_>>())
        .bind(receipts.iter().map(|(key, _)| key.receipt_id.as_str()).collect::<Vec<_>>())
        .bind(receipts.iter().map(|(_, hash)| &hash[..]).collect::<Vec<_>>())
        .execute(&self.pool)
        .instrument(store::span("take answers back"))
        .await
        .map(drop)
    }

    /// A body in which no receipt was found: kept once, counted. `false`: it is new, and the table has reached `bytes_max`.
    ///
    /// The size on disk is looked up, not counted: no two calls wait for each other, and emptying the table is all that makes room.
    pub(crate) async fn unreadable(&self, message: &RawMessage, reason: &str, bytes_max: i64) -> sqlx::Result<bool> {
        sqlx::query_scalar(
            "with known as (
                update unreadable_message set last_seen_at = $1, seen = seen + 1 where sha256 = sha256($7)
                returning sha256
            ), new as (
                insert into unreadable_message as kept
                    (sha256, first_seen_at, last_seen_at, seen, peer, request_id, path_station, reason, charset, body)
                select sha256($7), $1, $1, 1, $2, $3, $4, $5, $6, $7
                where not exists (select from known) and pg_total_relation_size('unreadable_message') < $8
                on conflict (sha256) do update set last_seen_at = excluded.last_seen_at, seen = kept.seen + 1
                returning sha256
            )
            select exists (select from known) or exists (select from new)",
        )
        .bind(message.received_at.to_sqlx())
        .bind(&message.peer)
        .bind(&message.request_id)
        .bind(&message.path_station)
        .bind(reason)
        .bind(&message.charset)
        .bind(&message.body[..])
        .bind(bytes_max)
        .fetch_one(&self.pool)
        .instrument(store::span("keep unreadable message"))
        .await
    }
}

/// Versions of a receipt are added one after the other: what is read after this statement is all there is.
async fn lock(connection: &mut PgConnection, key: &Key) -> sqlx::Result<()> {
    sqlx::query("select from receipt_inbox where id_pa = $1 and receipt_id = $2 and version = 1 for update")
        .bind(&key.id_pa)
        .bind(&key.receipt_id)
        .execute(connection)
        .await
        .map(drop)
}

/// Counts a repetition whose raw message was not kept, as its bytes are those of a row.
async fn count_unkept(connection: &mut PgConnection, new: &NewReceipt, version: i32) -> sqlx::Result<()> {
    sqlx::query(
        "update receipt_inbox set repeated = repeated + 1, last_repeated_at = $4 \
         where id_pa = $1 and receipt_id = $2 and version = $3 \
         and not exists (select from receipt_message where id_pa = $1 and received_at = $4 and id = $5)",
    )
    .bind(&new.key.id_pa)
    .bind(&new.key.receipt_id)
    .bind(version)
    .bind(new.message.received_at.to_sqlx())
    .bind(new.message.id)
    .execute(connection)
    .instrument(store::span("count repetition"))
    .await
    .map(drop)
}

/// Codes as a text array.
fn codes(findings: &[CaseKind]) -> Vec<&'static str> {
    findings.iter().map(CaseKind::as_str).collect()
}
