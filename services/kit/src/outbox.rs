//! Events leave through a table: written in the transaction of their cause, relayed to Kafka afterwards (ARCHITECTURE.md 4.8).
//!
//! ```text
//!  transaction: state, key, outbox rows -> commit -> Waker -+
//!                                                           v
//!  LeaseSet (16 shards) -> Relay: read without lock -> produce -> await every ack -> delete by id
//! ```
//!
//! Table, in each service's own migration:
//! ```sql
//! create table outbox (
//!     shard smallint not null, id bigint generated always as identity, topic text not null, key text not null,
//!     event_id uuid not null, event_type text not null, payload bytea not null, traceparent text,
//!     created_at timestamptz not null default now(), primary key (shard, id))
//! ```
//!
//! Every message leaves at least once. Those of one key leave in the order of their ids, which is the order of their causes when the cause
//! locks its aggregate before it writes here; after a failure some are repeated. Consumers know a repetition by its id, and trust the
//! aggregate's version rather than the order.

mod relay;

use std::sync::Arc;

use bytes::Bytes;
use sqlx::{PgConnection, PgPool};
use tokio::sync::Notify;
use uuid::Uuid;

pub use self::relay::Relay;
use crate::lease::LeaseSet;

/// Number of shards; part of the data, never changed.
pub const SHARDS: i16 = 16;

/// Largest payload, in bytes: far below Kafka's 1 MB, and what bounds a relay's memory.
pub const PAYLOAD_MAX: usize = 256 << 10;

const LEASE_TTL: std::time::Duration = std::time::Duration::from_secs(3);

/// An event on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Topic without the installation's prefix, which the relay adds.
    pub topic: String,
    /// Partitioning key: events of one key stay in order.
    pub key: String,
    /// `ce_id`: what consumers know a repetition by.
    pub event_id: Uuid,
    /// `ce_type`
    pub event_type: String,
    /// Protobuf, at most [`PAYLOAD_MAX`] bytes.
    pub payload: Bytes,
    /// The trace that caused it.
    pub traceparent: Option<String>,
}

/// Wakes the relay of this process after a commit; cheap to clone. One made by `default()` wakes nobody: for tests of what commits.
#[derive(Debug, Clone, Default)]
pub struct Waker(Arc<Notify>);

/// A message that no relay would take.
#[derive(Debug, thiserror::Error)]
#[error("failed to write a {event_type} of {bytes} bytes to the outbox: expected at most {PAYLOAD_MAX}")]
struct TooLarge {
    event_type: String,
    bytes: usize,
}

/// Writes the messages in one statement, in the caller's transaction.
///
/// # Errors
/// What the database says; `sqlx::Error::Encode` for a payload of more than [`PAYLOAD_MAX`] bytes, before anything is written.
pub async fn insert(connection: &mut PgConnection, messages: &[Message]) -> sqlx::Result<()> {
    if let Some(large) = messages.iter().find(|message| message.payload.len() > PAYLOAD_MAX) {
        let refused = TooLarge { event_type: large.event_type.clone(), bytes: large.payload.len() };
        return Err(sqlx::Error::Encode(Box::new(refused)));
    }
    if messages.is_empty() {
        return Ok(());
    }
    let column = |of: fn(&Message) -> &str| messages.iter().map(of).collect::<Vec<_>>();
    sqlx::query(
        "insert into outbox (shard, topic, key, event_id, event_type, payload, traceparent)
         select shard, topic, key, event_id, event_type, payload, traceparent
         from unnest($1::smallint[], $2::text[], $3::text[], $4::uuid[], $5::text[], $6::bytea[], $7::text[])
              with ordinality as message (shard, topic, key, event_id, event_type, payload, traceparent, position)
         order by position",
    )
    .bind(messages.iter().map(|message| shard(&message.key)).collect::<Vec<_>>())
    .bind(column(|message| &message.topic))
    .bind(column(|message| &message.key))
    .bind(messages.iter().map(|message| message.event_id).collect::<Vec<_>>())
    .bind(column(|message| &message.event_type))
    .bind(messages.iter().map(|message| message.payload.as_ref()).collect::<Vec<&[u8]>>())
    .bind(messages.iter().map(|message| message.traceparent.as_deref()).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// The leases of the 16 shards, ready for [`Relay::new`]: `holder` is a name that no other process has.
pub fn leases(pool: PgPool, holder: impl Into<String>) -> LeaseSet {
    LeaseSet::new(pool, holder, (0..SHARDS).map(lease_name).collect(), LEASE_TTL)
}

fn lease_name(shard: i16) -> String {
    format!("outbox/{shard:02}")
}

/// FNV-1a with its bits mixed once more: the same for ever and in every version, which `std`'s hashers do not promise.
fn shard(key: &str) -> i16 {
    let hash = key
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    i16::try_from(mixed >> 60).unwrap_or_default() % SHARDS
}

// === impl Message ===

impl Message {
    /// A message with a new id and the current trace.
    pub fn new(topic: &str, key: impl Into<String>, event_type: &str, payload: impl Into<Bytes>) -> Self {
        Self {
            topic: topic.to_owned(),
            key: key.into(),
            event_id: Uuid::now_v7(),
            event_type: event_type.to_owned(),
            payload: payload.into(),
            traceparent: crate::trace::current_traceparent(),
        }
    }
}

// === impl Waker ===

impl Waker {
    /// Wakes the relay.
    pub fn wake(&self) {
        self.0.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("", 8)]
    #[case("a", 8)]
    #[case("foobar", 6)]
    fn the_shard_of_a_key_never_changes(#[case] key: &str, #[case] expected: i16) {
        assert_eq!(shard(key), expected);
    }

    #[test]
    fn keys_spread_over_every_shard() {
        let mut counts = [0; SHARDS as usize];
        for notice in 0..16_000 {
            counts[usize::try_from(shard(&format!("77777777777/3{notice:017}"))).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (700..1_300).contains(count)), "{counts:?}");
    }
}
