//! The topic as this replica reads it: partitions by lease, places by PostgreSQL.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fiorino_kit::{
    kafka::{self, Quiet},
    lease::LeaseSet,
    options::KafkaOptions,
};
use fiorino_proto::topics::PAYMENTS;
use futures::FutureExt as _;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{Consumer as _, StreamConsumer},
    error::{KafkaError, RDKafkaErrorCode},
};
use sqlx::PgPool;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{Error, batch::Batch, message::Message};
use crate::store;

/// Messages recorded together at most.
const BATCH: usize = 500;

/// How long a replica that died keeps its partitions.
const LEASE: Duration = Duration::from_secs(3);

/// How long Kafka may take to tell about the topic.
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);

/// The open topic.
pub(super) struct Source {
    topic: String,
    consumer: Arc<StreamConsumer<Quiet>>,
    pool: PgPool,
    partitions: usize,
    held: watch::Receiver<Arc<[String]>>,
    /// Next offset by assigned partition, as PostgreSQL has it.
    known: BTreeMap<i32, i64>,
    /// Kafka is away; told once.
    failing: bool,
    leasing: JoinHandle<()>,
    ended: CancellationToken,
}

/// What happens next.
#[derive(Debug)]
pub(super) enum Event {
    /// Kafka was asked whether the topic got more partitions.
    Checked {
        /// It did.
        grown: bool,
    },
    /// The replica holds other partitions than it did.
    Leases,
    /// Messages to record; at least one.
    Messages(Batch),
}

// === impl Source ===

impl Source {
    /// Makes sure that there is a topic, and takes part in sharing its partitions among the replicas.
    pub(super) async fn open(kafka: &KafkaOptions, pool: &PgPool, holder: &str) -> Result<Self, Error> {
        kafka::ensure_topics(kafka, &[(PAYMENTS.name, PAYMENTS.partitions, PAYMENTS.retention)]).await?;
        let topic = PAYMENTS.full_name(&kafka.kafka_topic_prefix);
        let group = format!("{}fiorino-reporting", kafka.kafka_topic_prefix);
        let consumer = Arc::new(kafka::consumer(kafka, &group)?);
        let partitions = partitions(&consumer, &topic).await?;
        let names = (0..partitions).map(|partition| format!("{topic}/{partition:05}")).collect();
        let leases = LeaseSet::new(pool.clone(), holder, names, LEASE);
        let mut held = leases.changed();
        held.mark_changed();
        let ended = CancellationToken::new();
        let leasing = tokio::spawn({
            let ended = ended.clone();
            async move { leases.run(ended).await }
        });
        let known = BTreeMap::new();
        Ok(Self { topic, consumer, pool: pool.clone(), partitions, held, known, failing: false, leasing, ended })
    }

    /// Gives the partitions back.
    pub(super) async fn close(self) {
        let Self { consumer, leasing, ended, .. } = self;
        ended.cancel();
        // Closing waits for the client's threads.
        let closing = tokio::task::spawn_blocking(move || drop(consumer));
        if leasing.await.is_err() || closing.await.is_err() {
            tracing::warn!("failed to give partitions back: others take them when the leases expire");
        }
    }

    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    /// Waits for what happens next. Dropping the future loses no message.
    pub(super) async fn next(&mut self) -> Result<Event, Error> {
        let mut batch = Batch::default();
        while batch.len() == 0 {
            let received = tokio::select! {
                biased;
                changed = self.held.changed() => return changed.map(|()| Event::Leases).map_err(Error::Leases),
                received = self.consumer.recv() => received.map(|message| Message::read(&message)),
            };
            self.take(received, &mut batch)?;
        }
        // No waiting from here on: what has come meanwhile goes along.
        while batch.len() < BATCH {
            let Some(received) = self.consumer.recv().now_or_never() else { break };
            let received = received.map(|message| Message::read(&message));
            self.take(received, &mut batch)?;
        }
        Ok(Event::Messages(batch))
    }

    /// Whether the topic has more partitions than are shared among the replicas. While Kafka is away nobody can say.
    pub(super) async fn has_grown(&self) -> bool {
        match partitions(&self.consumer, &self.topic).await {
            Ok(partitions) => partitions > self.partitions,
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "failed to ask for the topic's partitions");
                false
            }
        }
    }

    /// Reads on where PostgreSQL says, in the partitions that are held now.
    pub(super) async fn assign(&mut self) -> Result<(), Error> {
        let held = self.held.borrow_and_update().clone();
        let partitions: Vec<i32> = held.iter().filter_map(|name| name.rsplit('/').next()?.parse().ok()).collect();
        self.known = store::offsets(&self.pool, &self.topic, &partitions).await?;
        let mut assignment = TopicPartitionList::with_capacity(self.known.len());
        for (&partition, &offset) in &self.known {
            let offset = if offset == 0 { Offset::Beginning } else { Offset::Offset(offset) };
            assignment.add_partition_offset(&self.topic, partition, offset)?;
        }
        self.consumer.assign(&assignment)?;
        tracing::info!(partitions = ?partitions, "reading payments");
        Ok(())
    }

    /// Remembers how far the batch went.
    pub(super) fn advance(&mut self, batch: &Batch) {
        self.known.extend(batch.advances().into_iter().map(|advance| (advance.partition, advance.to)));
    }

    fn take(&mut self, received: Result<Message, KafkaError>, batch: &mut Batch) -> Result<(), Error> {
        match received {
            Ok(message) => {
                self.failing = false;
                // A partition that was given away may still have had messages on their way.
                let Some(&known) = self.known.get(&message.partition) else { return Ok(()) };
                report_anew(&message, batch.reaches(message.partition).unwrap_or(known));
                batch.push(message, known);
                Ok(())
            }
            Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) => Err(error.into()),
            Err(error) => {
                // librdkafka goes on by itself, and says so again and again.
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(error = %error, "failed to read from Kafka, going on");
                }
                Ok(())
            }
        }
    }
}

/// The topic was made anew: its offsets begin again.
fn report_anew(message: &Message, expected: i64) {
    let Message { topic, partition, offset, .. } = message;
    if *offset < expected {
        tracing::warn!(topic, partition, expected, offset, "topic begins anew");
    }
}

async fn partitions(consumer: &Arc<StreamConsumer<Quiet>>, topic: &str) -> Result<usize, Error> {
    let (consumer, topic) = (Arc::clone(consumer), topic.to_owned());
    let asked = tokio::task::spawn_blocking(move || {
        let metadata = consumer.fetch_metadata(Some(&topic), METADATA_TIMEOUT)?;
        Ok::<_, KafkaError>(metadata.topics().iter().map(|topic| topic.partitions().len()).sum())
    });
    Ok(asked.await??)
}
