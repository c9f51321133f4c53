//! One payment, told by both versions of the message: a main station of version 1 beside a broadcast station of version 2, or a station that
//! pagoPA moves from one to the other while receipts are repeated (pagopa.md 2.7).
//!
//! The two have other fields, and therefore other hashes. When a key comes again with another hash, and only then, the raw messages are
//! compared by what both versions have. So nothing is computed for receipts that come once, and rows of before are recognised as well.

use fiorino_kit::store;
use fiorino_wire::{Limits, Version, shared_hash};
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

use super::inbox::{NewReceipt, Row};
use crate::parse::SMALL_BYTES;

/// Versions that are compared, the latest first: whoever sends more of them gets further ones.
const COMPARED_MAX: usize = 4;

/// The version of which this is the same payment, told by the other version of the message; remembered in its row. Long messages are not
/// compared: reading them would keep up everybody else, and a message of version 1 has no stamps to be long by.
pub(super) async fn find(connection: &mut PgConnection, new: &NewReceipt, rows: &[Row]) -> sqlx::Result<Option<Row>> {
    if rows.is_empty() {
        return Ok(None);
    }
    let Some((version, hash)) = hash_of(&new.message.body, new.message.charset.as_deref()) else { return Ok(None) };
    let latest: Vec<_> = rows.iter().rev().take(COMPARED_MAX).collect();
    let known: Vec<(Uuid, Vec<u8>, Option<String>)> = sqlx::query_as(
        "select message.id, body, charset from unnest($2::timestamptz[], $3::uuid[]) as known (received_at, id) \
         join receipt_message message \
             on message.id_pa = $1 and message.received_at = known.received_at and message.id = known.id \
         where octet_length(body) <= $4",
    )
    .bind(&new.key.id_pa)
    .bind(latest.iter().map(|row| row.message().0.to_sqlx()).collect::<Vec<_>>())
    .bind(latest.iter().map(|row| row.message().1).collect::<Vec<_>>())
    .bind(i32::try_from(SMALL_BYTES).unwrap_or(i32::MAX))
    .fetch_all(&mut *connection)
    .instrument(store::span("compare versions of the message"))
    .await?;
    let is_twin = |(_, body, charset): &&(Uuid, Vec<u8>, Option<String>)| {
        hash_of(body, charset.as_deref()).is_some_and(|(other, same)| other != version && same == hash)
    };
    let twin = known.iter().find(is_twin).and_then(|(id, ..)| latest.iter().find(|row| row.message().1 == *id));
    let Some(twin) = twin else { return Ok(None) };
    remember(connection, new, twin.version).await?;
    Ok(Some((*twin).clone()))
}

fn hash_of(body: &[u8], charset: Option<&str>) -> Option<(Version, [u8; 32])> {
    (body.len() <= SMALL_BYTES).then(|| shared_hash(body, charset, &Limits::default()).ok()).flatten()
}

/// So that it is known the next time without a look into the messages, and not kept again.
async fn remember(connection: &mut PgConnection, new: &NewReceipt, version: i32) -> sqlx::Result<()> {
    sqlx::query(
        "update receipt_inbox set twin_hash = $4, twin_sha256 = sha256($5) \
         where id_pa = $1 and receipt_id = $2 and version = $3 and twin_hash is null",
    )
    .bind(&new.key.id_pa)
    .bind(&new.key.receipt_id)
    .bind(version)
    .bind(&new.content_hash[..])
    .bind(&new.message.body[..])
    .execute(connection)
    .instrument(store::span("remember version of the message"))
    .await
    .map(drop)
}
