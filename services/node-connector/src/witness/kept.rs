//! The tables of the witness, and the rows of the inbox that are sent again.

use std::time::Duration;

use fiorino_kit::store;
use fiorino_proto::restore::v1::Block;
use sqlx::PgPool;
use tracing::Instrument as _;

use crate::database;

/// Blocks in one message: as many as tenant takes.
pub(super) const PART: usize = 1_000;

/// Rows of the inbox that are marked by one statement.
const MARK_MAX: i64 = 10_000;

/// Longest wait for an answer of the database: its own statement timeout is shorter.
const QUERY_LIMIT: Duration = Duration::from_secs(6);

/// The database's side of the witness; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pool: PgPool,
}

/// A row of `number_witness`.
#[derive(Debug, sqlx::FromRow)]
struct Row {
    institution: String,
    aux_digit: i16,
    code: String,
    prefix: String,
    ending: i64,
    key: Vec<u8>,
}

// === impl Row ===

impl From<Row> for Block {
    fn from(row: Row) -> Self {
        Self {
            institution: row.institution,
            aux_digit: u32::from(row.aux_digit.unsigned_abs()),
            code: row.code,
            prefix: row.prefix,
            end: row.ending.unsigned_abs(),
            key: row.key.into(),
        }
    }
}

// === impl Kept ===

impl Kept {
    pub(super) const fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// Compares the database with the server that it lies on; since when it lacks what came, if it went back (RFC 3339).
    pub(super) async fn settle(&self) -> sqlx::Result<Option<String>> {
        let settled = sqlx::query_scalar(
            "update witness_head h
             set lost_from = case when h.system_identifier = s.system_identifier and h.timeline = s.timeline then h.lost_from
                     else least(h.lost_from, h.alive_at) end,
                 system_identifier = s.system_identifier, timeline = s.timeline, alive_at = now()
             from server_identity() s
             returning to_char(h.lost_from at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')",
        )
        .fetch_one(&self.pool)
        .instrument(store::span("look where the inbox lies"));
        database::within(QUERY_LIMIT, settled).await
    }

    /// Tenant has its case.
    pub(super) async fn lost_is_told(&self) -> sqlx::Result<()> {
        let told = sqlx::query("update witness_head set lost_from = null").execute(&self.pool);
        database::within(QUERY_LIMIT, told).await.map(drop)
    }

    pub(super) async fn alive(&self) -> sqlx::Result<()> {
        let told = sqlx::query("update witness_head set alive_at = now()").execute(&self.pool);
        database::within(QUERY_LIMIT, told).await.map(drop)
    }

    /// Every end: one row per place where an institution issues.
    pub(super) async fn all(&self) -> sqlx::Result<Vec<Block>> {
        let rows =
            sqlx::query_as::<_, Row>("select institution, aux_digit, code, prefix, ending, key from number_witness")
                .fetch_all(&self.pool);
        Ok(database::within(QUERY_LIMIT, rows).await?.into_iter().map(Block::from).collect())
    }

    /// Keeps the ends of blocks; answers with the highest that are kept, which may be other ones.
    pub(super) async fn keep(&self, blocks: &[Block]) -> sqlx::Result<Vec<Block>> {
        let column = |of: fn(&Block) -> &str| blocks.iter().map(of).collect::<Vec<_>>();
        let rows = sqlx::query_as::<_, Row>(
            "insert into number_witness as kept (institution, aux_digit, code, prefix, ending, key)
             select distinct on (told.institution, told.aux_digit, told.code, told.prefix)
                 told.institution, told.aux_digit, told.code, told.prefix, told.ending, told.key
             from unnest($1::text[], $2::int2[], $3::text[], $4::text[], $5::int8[], $6::bytea[])
                 as told (institution, aux_digit, code, prefix, ending, key)
             order by told.institution, told.aux_digit, told.code, told.prefix, told.ending desc
             on conflict (institution, aux_digit, code, prefix) do update
             set ending = greatest(kept.ending, excluded.ending), kept_at = now(),
                 key = case when excluded.ending > kept.ending then excluded.key else kept.key end
             returning institution, aux_digit, code, prefix, ending, key",
        )
        .bind(column(|block| &block.institution))
        .bind(blocks.iter().map(|block| i16::try_from(block.aux_digit).unwrap_or(i16::MAX)).collect::<Vec<_>>())
        .bind(column(|block| &block.code))
        .bind(column(|block| &block.prefix))
        .bind(blocks.iter().map(|block| i64::try_from(block.end).unwrap_or(i64::MAX)).collect::<Vec<_>>())
        .bind(blocks.iter().map(|block| &block.key[..]).collect::<Vec<_>>())
        .fetch_all(&self.pool)
        .instrument(store::span("keep ends of blocks"));
        Ok(database::within(QUERY_LIMIT, rows).await?.into_iter().map(Block::from).collect())
    }

    /// Whether receipts are still to be marked for this store. The time up to which they are is that of the first who asks.
    pub(super) async fn begin_sending(&self, store_id: &str) -> sqlx::Result<bool> {
        let begun = sqlx::query_scalar(
            "update witness_head
             set sending_until = case when sending_to = $1 then sending_until else now() end,
                 marked = sending_to = $1 and marked, sending_to = $1
             returning not marked",
        )
        .bind(store_id)
        .fetch_one(&self.pool);
        database::within(QUERY_LIMIT, begun).await
    }

    /// Makes some rows due again; how many. Both databases have a clock of their own: ten minutes more are harmless, as tenant knows what
    /// it has. A row that is due again keeps the time when it was applied first.
    pub(super) async fn mark(&self, since: &str) -> sqlx::Result<u64> {
        let marked = sqlx::query(
            "update receipt_inbox inbox set state = 'ready', attempts = 0, next_attempt_at = now()
             from (
                 select i.id_pa, i.receipt_id, i.version from receipt_inbox i cross join witness_head h
                 where i.state = 'applied' and i.applied_at >= $1::timestamptz - interval '10 minutes'
                     and i.applied_at < h.sending_until
                 limit $2
             ) due
             where inbox.id_pa = due.id_pa and inbox.receipt_id = due.receipt_id and inbox.version = due.version
                 and inbox.state = 'applied'",
        )
        .bind(since)
        .bind(MARK_MAX)
        .execute(&self.pool)
        .instrument(store::span("send receipts again"));
        Ok(database::within(QUERY_LIMIT, marked).await?.rows_affected())
    }

    /// Everything for this store is marked.
    pub(super) async fn all_marked(&self, store_id: &str) -> sqlx::Result<()> {
        let marked = sqlx::query("update witness_head set marked = true where sending_to = $1").bind(store_id);
        database::within(QUERY_LIMIT, marked.execute(&self.pool)).await.map(drop)
    }

    /// Receipts that were applied once and are due again. One that tenant refuses alone is waited for by nobody: the log tells of it.
    pub(super) async fn remaining(&self) -> sqlx::Result<u64> {
        let counted = sqlx::query_scalar::<_, i64>(
            "select count(*) from receipt_inbox where state = 'ready' and attempts = 0 and applied_at is not null",
        )
        .fetch_one(&self.pool);
        database::within(QUERY_LIMIT, counted).await.map(i64::unsigned_abs)
    }
}
