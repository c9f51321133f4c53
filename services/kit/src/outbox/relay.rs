//! From the table to Kafka.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, LazyLock},
    time::Duration,
};

use jiff_sqlx::Timestamp;
use opentelemetry::{
    KeyValue, global,
    metrics::{Counter, Gauge},
};
use rdkafka::{error::KafkaError, producer::FutureRecord};
use sqlx::PgPool;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::Span;
use uuid::Uuid;

use super::{SHARDS, Waker, lease_name};
use crate::{
    backoff::{Backoff, Retry},
    fault,
    kafka::{self, Envelope, Producer},
    lease::LeaseSet,
    trace,
};

/// Rows of one shard in one pass: with 16 shards and the largest payloads 128 MiB.
const ROWS_PER_SHARD: i64 = 32;
const POLL_INTERVAL: Duration = Duration::from_millis(100);

static RELAYED: LazyLock<Counter<u64>> = LazyLock::new(|| {
    let meter = global::meter("fiorino");
    meter.u64_counter("fiorino.outbox.relayed").with_description("Messages acknowledged by Kafka, by topic").build()
});
static OLDEST: LazyLock<Gauge<f64>> = LazyLock::new(|| {
    let meter = global::meter("fiorino");
    let gauge = meter.f64_gauge("fiorino.outbox.oldest.age").with_unit("s");
    gauge.with_description("Age of the oldest message in the shards that this replica relays").build()
});

/// Sends the outbox of one database to Kafka.
#[derive(Debug)]
pub struct Relay {
    pool: PgPool,
    producer: Producer,
    source: String,
    leases: LeaseSet,
    woken: Arc<Notify>,
}

/// Why a pass did not empty what it read.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("failed to read or delete messages")]
    Database(#[from] sqlx::Error),
    #[error("failed to produce {failed} of {read} messages")]
    Produce { failed: usize, read: usize, source: KafkaError },
    #[error("failed to rebuild the producer")]
    Rebuild(#[from] kafka::Error),
}

#[derive(Debug, sqlx::FromRow)]
struct Row {
    shard: i16,
    id: i64,
    topic: String,
    key: String,
    event_id: Uuid,
    event_type: String,
    payload: Vec<u8>,
    traceparent: Option<String>,
    created_at: Timestamp,
    age_s: f64,
}

/// What a pass did.
#[derive(Debug, PartialEq, Eq)]
enum Pass {
    /// Some shard may have more.
    Full,
    /// Everything that was there is gone.
    Drained,
}

// === impl Relay ===

impl Relay {
    /// A relay of `pool`'s outbox; `source` becomes `ce_source` (e.g. `fiorino/tenant`). It runs `leases` itself.
    pub fn new(pool: PgPool, producer: Producer, source: &str, leases: LeaseSet) -> Self {
        Self { pool, producer, source: source.to_owned(), leases, woken: Arc::default() }
    }

    /// Wakes the relay after a commit, so that events leave at once; without it they leave within 100 ms.
    pub fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.woken))
    }

    /// Relays until `token` is cancelled, then finishes its pass and releases its shards. Never fails: what does not work is tried again.
    pub async fn run(self, token: CancellationToken) {
        // Its own token: the shards are released after the last pass.
        let release = CancellationToken::new();
        let leasing = tokio::spawn({
            let (leases, release) = (self.leases.clone(), release.clone());
            async move { leases.run(release).await }
        });
        let mut retry = Backoff::BACKGROUND.retry();
        while !token.is_cancelled() {
            self.step(&mut retry, &token).await;
        }
        release.cancel();
        if let Err(error) = leasing.await {
            tracing::error!(error = %error, "failed to release the shards");
        }
    }

    async fn step(&self, retry: &mut Retry, token: &CancellationToken) {
        match self.pass().await {
            Ok(Pass::Full) => retry.reset(),
            Ok(Pass::Drained) => {
                retry.reset();
                let wake = tokio::time::timeout(POLL_INTERVAL, self.woken.notified());
                token.run_until_cancelled(wake).await;
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    failures = retry.failures(),
                    "relay is held up"
                );
                token.run_until_cancelled(retry.wait()).await;
            }
        }
    }

    /// Reads, produces, awaits and deletes one batch of each shard held.
    async fn pass(&self) -> Result<Pass, Error> {
        let shards: Vec<_> = (0..SHARDS).filter(|shard| self.leases.holds(&lease_name(*shard))).collect();
        if shards.is_empty() {
            return Ok(Pass::Drained);
        }
        let rows = self.read(&shards).await?;
        OLDEST.record(rows.iter().map(|row| row.age_s).fold(0.0, f64::max), &[]);
        if rows.is_empty() {
            return Ok(Pass::Drained);
        }
        let outcomes = self.produce(&rows).await;
        fault::point("events-produced");
        let acknowledged = rows.iter().zip(&outcomes).map(|(row, outcome)| (row.key.as_str(), outcome.is_ok()));
        self.delete(settled(acknowledged).into_iter().map(|index| &rows[index]).collect()).await?;
        let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
        if let Some(source) = outcomes.into_iter().find_map(Result::err) {
            self.producer.rebuild_if_fatal()?;
            return Err(Error::Produce { failed, read: rows.len(), source });
        }
        Ok(if is_full(&rows) { Pass::Full } else { Pass::Drained })
    }

    async fn read(&self, shards: &[i16]) -> sqlx::Result<Vec<Row>> {
        sqlx::query_as(
            "select message.shard, message.id, message.topic, message.key, message.event_id, message.event_type, message.payload,
                 message.traceparent, message.created_at, extract(epoch from now() - message.created_at)::float8 as age_s
             from unnest($1::smallint[]) as held (shard)
             cross join lateral (
                 select o.shard, o.id, o.topic, o.key, o.event_id, o.event_type, o.payload, o.traceparent, o.created_at
                 from outbox o where o.shard = held.shard order by o.id limit $2
             ) as message
             order by message.shard, message.id",
        )
        .bind(shards)
        .bind(ROWS_PER_SHARD)
        .fetch_all(&self.pool)
        .await
    }

    /// One outcome per row. A key whose message could not even be queued takes no further ones: they would overtake it.
    async fn produce(&self, rows: &[Row]) -> Vec<Result<(), KafkaError>> {
        let producer = self.producer.current();
        let mut stuck: HashMap<&str, KafkaError> = HashMap::new();
        let mut sent = Vec::with_capacity(rows.len());
        for row in rows {
            if let Some(error) = stuck.get(row.key.as_str()) {
                sent.push(Err(error.clone()));
                continue;
            }
            let span = row.span();
            let topic = self.producer.topic(&row.topic);
            let headers = row.envelope(&self.source, &span).headers();
            let record = FutureRecord::to(&topic).key(&row.key).payload(&row.payload).headers(headers);
            sent.push(producer.send_result(record).map(|delivery| (delivery, span)).map_err(|(error, _)| {
                stuck.insert(&row.key, error.clone());
                error
            }));
        }
        let mut outcomes = Vec::with_capacity(rows.len());
        for (row, delivery) in rows.iter().zip(sent) {
            let outcome = match delivery {
                // The span ends with the ack.
                Ok((delivery, _span)) => match delivery.await {
                    Ok(delivered) => delivered.map(drop).map_err(|(error, _)| error),
                    Err(_) => Err(KafkaError::Canceled),
                },
                Err(error) => Err(error),
            };
            if outcome.is_ok() {
                RELAYED.add(1, &[KeyValue::new("topic", row.topic.clone())]);
            }
            outcomes.push(outcome);
        }
        outcomes
    }

    async fn delete(&self, rows: Vec<&Row>) -> sqlx::Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "delete from outbox using unnest($1::smallint[], $2::bigint[]) as sent (shard, id)
             where outbox.shard = sent.shard and outbox.id = sent.id",
        )
        .bind(rows.iter().map(|row| row.shard).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.id).collect::<Vec<_>>())
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

/// Which rows (key, acknowledged) may go: no earlier one of the same key still has to be sent, for it would arrive after them, and they
/// must follow it once more.
fn settled<'a>(rows: impl Iterator<Item = (&'a str, bool)>) -> Vec<usize> {
    let mut unsent = HashSet::new();
    rows.enumerate()
        .filter_map(|(index, (key, acknowledged))| {
            if !acknowledged {
                unsent.insert(key);
            }
            (!unsent.contains(key)).then_some(index)
        })
        .collect()
}

fn is_full(rows: &[Row]) -> bool {
    let limit = usize::try_from(ROWS_PER_SHARD).unwrap_or(usize::MAX);
    rows.chunk_by(|a, b| a.shard == b.shard).any(|shard| shard.len() >= limit)
}

// === impl Row ===

impl Row {
    fn span(&self) -> Span {
        let Some(traceparent) = &self.traceparent else { return Span::none() };
        let span = tracing::info_span!(
            parent: None,
            "publish",
            otel.name = format!("publish {}", self.topic),
            otel.kind = "producer",
            messaging.system = "kafka",
            messaging.destination.name = self.topic,
            messaging.message.id = %self.event_id,
        );
        trace::set_parent(&span, traceparent);
        span
    }

    fn envelope(&self, source: &str, span: &Span) -> Envelope {
        Envelope {
            id: self.event_id.to_string(),
            event_type: self.event_type.clone(),
            source: source.to_owned(),
            time: self.created_at.to_jiff().to_string(),
            traceparent: trace::traceparent(span).or_else(|| self.traceparent.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn only_an_acknowledged_run_from_the_start_of_each_key_goes(
            rows in prop::collection::vec((prop::sample::select(vec!["a", "b", "c"]), any::<bool>()), 0..40),
        ) {
            let gone = settled(rows.iter().copied());
            for key in ["a", "b", "c"] {
                let of_key: Vec<_> = (0..rows.len()).filter(|index| rows[*index].0 == key).collect();
                let run = of_key.iter().take_while(|index| rows[**index].1).copied().collect::<Vec<_>>();
                let gone = gone.iter().filter(|index| rows[**index].0 == key).copied().collect::<Vec<_>>();
                prop_assert_eq!(gone, run);
            }
        }
    }
}
