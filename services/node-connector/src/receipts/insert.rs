//! The statements that write raw messages and rows.

use fiorino_domain::case::CaseKind;
use jiff_sqlx::{Timestamp, ToSqlx as _};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::inbox::NewReceipt;

/// Raw messages and rows of a batch. Rows are inserted in the order of their keys, so that two replicas cannot wait for each other;
/// a key that is there already, in the table or in the batch, gets no row. A message that an earlier attempt had written stays, and
/// one that equals the message of a row byte by byte is not kept again. The `limit 1` leaves the planner one way, whatever it believes
/// of the table: a look-up by key per receipt.
pub(crate) const INSERT_BATCH: &str = "
    with input as (
        select id_pa, receipt_id, content_hash, state, answered, shard, findings, traceparent, received_at, message_id, peer,
            request_id, path_station, charset, body, sha256(body) as body_sha256
        from unnest(
            $1::text[], $2::text[], $3::bytea[], $4::text[], $5::bool[], $6::smallint[], $7::text[], $8::text[],
            $9::timestamptz[], $10::uuid[], $11::text[], $12::text[], $13::text[], $14::text[], $15::bytea[]
        ) as input (
            id_pa, receipt_id, content_hash, state, answered, shard, findings, traceparent,
            received_at, message_id, peer, request_id, path_station, charset, body
        )
    ), message as (
        insert into receipt_message (id_pa, received_at, id, peer, request_id, path_station, charset, body)
        select id_pa, received_at, message_id, peer, request_id, path_station, charset, body from input
        left join lateral (
            select true as kept from receipt_inbox known
            where known.id_pa = input.id_pa and known.receipt_id = input.receipt_id
                and known.content_hash = input.content_hash and known.body_sha256 = input.body_sha256
            limit 1
        ) known on true
        where known.kept is null
        on conflict do nothing
    )
    insert into receipt_inbox
        (id_pa, receipt_id, version, content_hash, state, answered, shard, findings, traceparent, received_at, message_id,
        body_sha256)
    select id_pa, receipt_id, 1, content_hash, state, answered, shard, string_to_array(findings, ','), traceparent,
        received_at, message_id, body_sha256
    from input order by id_pa, receipt_id
    on conflict (id_pa, receipt_id, version) do nothing
    returning message_id";

/// Columns of a batch, for `unnest`.
#[derive(Default)]
struct Columns<'a> {
    id_pa: Vec<&'a str>,
    receipt_id: Vec<&'a str>,
    content_hash: Vec<&'a [u8]>,
    state: Vec<&'static str>,
    answered: Vec<bool>,
    shard: Vec<i16>,
    findings: Vec<String>,
    traceparent: Vec<Option<&'a str>>,
    received_at: Vec<Timestamp>,
    message_id: Vec<Uuid>,
    peer: Vec<&'a str>,
    request_id: Vec<&'a str>,
    path_station: Vec<&'a str>,
    charset: Vec<Option<&'a str>>,
    body: Vec<&'a [u8]>,
}

/// Commits a batch; tells which messages got a row.
pub(super) async fn insert_batch(pool: &PgPool, batch: &[NewReceipt]) -> sqlx::Result<Vec<Uuid>> {
    let mut columns = Columns::default();
    for new in batch {
        columns.push(new);
    }
    sqlx::query_scalar(INSERT_BATCH)
        .bind(columns.id_pa)
        .bind(columns.receipt_id)
        .bind(columns.content_hash)
        .bind(columns.state)
        .bind(columns.answered)
        .bind(columns.shard)
        .bind(columns.findings)
        .bind(columns.traceparent)
        .bind(columns.received_at)
        .bind(columns.message_id)
        .bind(columns.peer)
        .bind(columns.request_id)
        .bind(columns.path_station)
        .bind(columns.charset)
        .bind(columns.body)
        .fetch_all(pool)
        .await
}

/// Adds a row, and its raw message, unless it is committed: it is not where it equals the message of an earlier row.
///
/// # Errors
/// What the database says.
pub(super) async fn insert_version(
    connection: &mut PgConnection,
    new: &NewReceipt,
    version: i32,
    finding: Option<CaseKind>,
) -> sqlx::Result<i32> {
    let findings = new.findings.iter().chain(finding.as_ref()).map(CaseKind::as_str).collect::<Vec<_>>();
    sqlx::query_scalar(
        "with message as ( \
             insert into receipt_message (id_pa, received_at, id, peer, request_id, path_station, charset, body) \
             values ($1, $10, $11, $12, $13, $14, $15, $16) on conflict do nothing \
         ) \
         insert into receipt_inbox \
         (id_pa, receipt_id, version, content_hash, state, answered, shard, findings, traceparent, received_at, message_id, \
         body_sha256) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, sha256($16)) \
         returning version",
    )
    .bind(&new.key.id_pa)
    .bind(&new.key.receipt_id)
    .bind(version)
    .bind(&new.content_hash[..])
    .bind(state(new))
    .bind(new.judged)
    .bind(new.key.shard())
    .bind(findings)
    .bind(&new.traceparent)
    .bind(new.message.received_at.to_sqlx())
    .bind(new.message.id)
    .bind(&new.message.peer)
    .bind(&new.message.request_id)
    .bind(&new.message.path_station)
    .bind(&new.message.charset)
    .bind(&new.message.body[..])
    .fetch_one(connection)
    .await
}

const fn state(new: &NewReceipt) -> &'static str {
    if new.judged { "ready" } else { "waiting" }
}

// === impl Columns ===

impl<'a> Columns<'a> {
    fn push(&mut self, new: &'a NewReceipt) {
        self.id_pa.push(&new.key.id_pa);
        self.receipt_id.push(&new.key.receipt_id);
        self.content_hash.push(&new.content_hash);
        self.state.push(state(new));
        self.answered.push(new.judged);
        self.shard.push(new.key.shard());
        self.findings.push(new.findings.iter().map(CaseKind::as_str).collect::<Vec<_>>().join(","));
        self.traceparent.push(new.traceparent.as_deref());
        self.received_at.push(new.message.received_at.to_sqlx());
        self.message_id.push(new.message.id);
        self.peer.push(&new.message.peer);
        self.request_id.push(&new.message.request_id);
        self.path_station.push(&new.message.path_station);
        self.charset.push(new.message.charset.as_deref());
        self.body.push(&new.message.body);
    }
}
