//! Takes payments in from Kafka: each message once, whatever is delivered twice, and none stops the others.
//!
//! ```text
//!  leases: which partitions are this replica's --> assign at the offsets of PostgreSQL
//!  messages --> Batch --> one transaction: payments, parked messages, offsets --> next batch
//!                            | refused value: message by message, the refused one is parked
//!                            | another replica read on: assign anew
//!                            + database away: the same batch again, for as long as it takes
//! ```
//!
//! Leases only spread the work. That nothing is taken in twice or left out holds by the offset, which is compared in the transaction,
//! and by the version of a payment (ARCHITECTURE.md 4.9: consumer offsets live in PostgreSQL, in the effect's transaction).

mod batch;
pub(crate) mod message;
mod metrics;
mod source;

use std::time::Duration;

use fiorino_kit::{
    backoff::{Backoff, Retry},
    clock::Clock,
    fault, kafka,
    options::KafkaOptions,
    trace,
};
use rdkafka::error::KafkaError;
use sqlx::PgPool;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

use self::{
    batch::Batch,
    metrics::Metrics,
    source::{Event, Source},
};
use crate::store::{self, Topic};

/// Takes payments in until it is told to end.
#[derive(Debug)]
pub(crate) struct Consumer {
    pool: PgPool,
    kafka: KafkaOptions,
    /// A name that no other process has.
    holder: String,
    clock: Clock,
    metrics: Metrics,
}

/// Why reading broke off and must begin anew.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// Topic or client.
    #[error("failed to prepare the consumer")]
    Kafka(#[from] kafka::Error),
    /// Which topic it is.
    #[error("failed to tell the topic from another one of its name")]
    Identity(#[from] kafka::IdentityError),
    /// The client is beyond repair, or its broker does not answer.
    #[error("failed to read from Kafka")]
    Client(#[from] KafkaError),
    /// Offsets could not be read.
    #[error("failed to read offsets")]
    Database(#[from] sqlx::Error),
    /// The partitions are shared no more.
    #[error("failed to share partitions: leasing ended")]
    Leases(#[source] watch::error::RecvError),
    /// A task of the runtime was cancelled.
    #[error("failed to ask Kafka: the runtime ends")]
    Ended(#[from] tokio::task::JoinError),
}

/// How a batch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It is in the tables.
    Recorded,
    /// Partitions must be assigned anew.
    Overtaken,
    /// The process ends; whoever reads next begins with this batch.
    Cancelled,
}

/// How often Kafka is asked whether the topic has grown, or is another one.
const TOPIC_CHECK: Duration = Duration::from_secs(10);

// === impl Consumer ===

impl Consumer {
    pub(crate) fn new(pool: PgPool, kafka: KafkaOptions, holder: String, clock: Clock) -> Self {
        Self { pool, kafka, holder, clock, metrics: Metrics::new() }
    }

    /// Never fails: what does not work is tried again. A batch that is being recorded when `token` is cancelled is finished, unless
    /// the database is away.
    pub(crate) async fn run(self, token: CancellationToken) {
        let mut retry = Backoff::BACKGROUND.retry();
        while !token.is_cancelled() {
            let Err(error) = self.follow(&token, &mut retry).await else { continue };
            tracing::warn!(error = &error as &dyn std::error::Error, "failed to read payments, trying again");
            token.run_until_cancelled(retry.wait()).await;
        }
    }

    /// Reads until `token` is cancelled, the topic got more partitions, or it is another one.
    async fn follow(&self, token: &CancellationToken, retry: &mut Retry) -> Result<(), Error> {
        let opening = Source::open(&self.kafka, &self.pool, &self.holder);
        let Some(mut source) = token.run_until_cancelled(opening).await.transpose()? else { return Ok(()) };
        let outcome = self.read(&mut source, token, retry).await;
        source.close().await;
        outcome
    }

    async fn read(&self, source: &mut Source, token: &CancellationToken, retry: &mut Retry) -> Result<(), Error> {
        let mut check = tokio::time::interval(TOPIC_CHECK);
        check.reset();
        loop {
            let event = tokio::select! {
                biased;
                () = token.cancelled() => return Ok(()),
                _ = check.tick() => Event::Checked { other: source.is_another().await },
                event = source.next() => event?,
            };
            retry.reset();
            match event {
                Event::Checked { other: true } => return Ok(()),
                Event::Checked { other: false } => {}
                Event::Leases => source.assign().await?,
                Event::Before { partition } => source.read_before(partition).await?,
                Event::Messages(batch) => match self.record(source.topic(), &batch, token).await {
                    Outcome::Recorded => source.advance(&batch),
                    Outcome::Overtaken => source.assign().await?,
                    Outcome::Cancelled => return Ok(()),
                },
            }
        }
    }

    /// Brings a batch into the tables, however long that takes.
    async fn record(&self, topic: Topic<'_>, batch: &Batch, token: &CancellationToken) -> Outcome {
        let mut retry = Backoff::BACKGROUND.retry();
        loop {
            let error = match self.write(topic, batch).await {
                Ok(()) => return Outcome::Recorded,
                Err(store::Error::Overtaken) => return Outcome::Overtaken,
                Err(store::Error::Database(error)) if store::refuses_value(&error) => {
                    match self.record_singly(topic, batch).await {
                        Ok(()) => return Outcome::Recorded,
                        Err(store::Error::Overtaken) => return Outcome::Overtaken,
                        Err(store::Error::Database(error)) => error,
                    }
                }
                Err(store::Error::Database(error)) => error,
            };
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                messages = batch.len(),
                "failed to record payments, trying again"
            );
            if token.run_until_cancelled(retry.wait()).await.is_none() {
                return Outcome::Cancelled;
            }
        }
    }

    /// Message by message: what the database refuses is parked. Stops at the first failure of another kind; what was recorded until
    /// then makes the batch look overtaken when it is tried again, and it is read once more from there.
    async fn record_singly(&self, topic: Topic<'_>, batch: &Batch) -> Result<(), store::Error> {
        for single in batch.singles() {
            match self.write(topic, &single).await {
                Err(store::Error::Database(error)) => {
                    let reason = store::refusal(&error).ok_or(error)?;
                    self.write(topic, &single.refused(&reason)).await?;
                }
                outcome => outcome?,
            }
        }
        Ok(())
    }

    async fn write(&self, topic: Topic<'_>, batch: &Batch) -> Result<(), store::Error> {
        let spans = batch.spans();
        let changes = batch.changes();
        let began = self.clock.monotonic();
        let written = store::record(&self.pool, topic, &changes).instrument(statement(&spans)).await;
        let took = self.clock.monotonic().saturating_sub(began);
        self.metrics.processed(written.as_ref().err(), took);
        let written = written?;
        fault::point("payments-recorded");
        self.metrics.recorded(&changes, written, batch.delays(self.clock.now()));
        for parked in &changes.parked {
            let store::Parked { topic, partition, offset, event_id, reason, .. } = parked;
            tracing::error!(topic, partition, offset, event_id, reason, "message cannot be taken in and was parked");
        }
        for store::Expired { topic, partition, from, to, .. } in &changes.expired {
            tracing::error!(
                topic,
                partition,
                from,
                to,
                "messages were gone before they were read, compare with tenant"
            );
        }
        Ok(())
    }
}

/// The transaction, in the trace of the first message that is traced.
fn statement(messages: &[Span]) -> Span {
    trace::shared(messages, |first| first.in_scope(|| fiorino_kit::store::span("record payments")))
}
