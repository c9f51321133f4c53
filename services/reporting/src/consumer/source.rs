//! The topic as this replica reads it: partitions by lease, places by PostgreSQL.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

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
use uuid::Uuid;

use super::{Error, batch::Batch, message::Message};
use crate::store::{self, Topic};

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
    /// Kafka's id of the topic that the offsets belong to.
    id: Uuid,
    /// Next offset by assigned partition, as PostgreSQL has it.
    known: BTreeMap<i32, i64>,
    /// Partitions of this topic that lost their end: what comes again is taken in again.
    shortened: BTreeSet<i32>,
    /// Kafka is away; told once.
    failing: bool,
    leasing: JoinHandle<()>,
    ended: CancellationToken,
}

/// What happens next.
#[derive(Debug)]
pub(super) enum Event {
    /// Kafka was asked about the topic.
    Checked {
        /// It got more partitions, or was deleted and made anew.
        other: bool,
    },
    /// A message from before the known offset: the topic begins anew, or lost its end.
    Before {
        /// Where it came from.
        partition: i32,
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
        let (partitions, id) = (partitions(&consumer, &topic).await?, identity(&consumer, &topic).await?);
        let names = (0..partitions).map(|partition| format!("{topic}/{partition:05}")).collect();
        let leases = LeaseSet::new(pool.clone(), holder, names, LEASE);
        let mut held = leases.changed();
        held.mark_changed();
        let ended = CancellationToken::new();
        let leasing = tokio::spawn({
            let ended = ended.clone();
            async move { leases.run(ended).await }
        });
        Ok(Self {
            topic,
            consumer,
            pool: pool.clone(),
            partitions,
            held,
            id,
            known: BTreeMap::new(),
            shortened: BTreeSet::new(),
            failing: false,
            leasing,
            ended,
        })
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

    pub(super) fn topic(&self) -> Topic<'_> {
        Topic { name: &self.topic, id: self.id }
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
            if let Some(partition) = self.take(received, &mut batch)? {
                return Ok(Event::Before { partition });
            }
        }
        // No waiting from here on: what has come meanwhile goes along.
        while batch.len() < BATCH {
            let Some(received) = self.consumer.recv().now_or_never() else { break };
            let received = received.map(|message| Message::read(&message));
            if let Some(partition) = self.take(received, &mut batch)? {
                // What was read until here is read again: nothing of it is recorded.
                return Ok(Event::Before { partition });
            }
        }
        Ok(Event::Messages(batch))
    }

    /// Whether the topic has more partitions than are shared among the replicas, or is not the one that was opened. While Kafka is away
    /// nobody can say.
    pub(super) async fn is_another(&self) -> bool {
        let asked = async {
            let partitions = partitions(&self.consumer, &self.topic).await?;
            Ok::<_, Error>(partitions > self.partitions || identity(&self.consumer, &self.topic).await? != self.id)
        };
        asked.await.unwrap_or_else(|error| {
            tracing::debug!(error = &error as &dyn std::error::Error, "failed to ask about the topic");
            false
        })
    }

    /// A message came from before the known offset. Of another topic everything is read; of the same one, which lost its end as after a
    /// restore of Kafka, what comes after the loss.
    pub(super) async fn read_before(&mut self, partition: i32) -> Result<(), Error> {
        if identity(&self.consumer, &self.topic).await? == self.id {
            tracing::error!(topic = self.topic, partition, "topic is shorter than it was, reading what is there");
            store::shortened(&self.pool, self.topic(), partition).await?;
            self.shortened.insert(partition);
        }
        self.assign().await
    }

    /// Reads on where PostgreSQL says, in the partitions that are held now.
    pub(super) async fn assign(&mut self) -> Result<(), Error> {
        let id = identity(&self.consumer, &self.topic).await?;
        if std::mem::replace(&mut self.id, id) != id {
            self.shortened.clear();
        }
        let held = self.held.borrow_and_update().clone();
        let partitions: Vec<i32> = held.iter().filter_map(|name| name.rsplit('/').next()?.parse().ok()).collect();
        self.known = store::offsets(&self.pool, self.topic(), &partitions).await?;
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

    /// Adds a message to the batch, unless it comes from before what is known of its partition: `Some` with that.
    fn take(&mut self, received: Result<Message, KafkaError>, batch: &mut Batch) -> Result<Option<i32>, Error> {
        match received {
            Ok(message) => {
                self.failing = false;
                let partition = message.partition;
                // A partition that was given away may still have had messages on their way.
                let Some(&known) = self.known.get(&partition) else { return Ok(None) };
                let expected = batch.reaches(partition).unwrap_or(known);
                if message.offset < expected && !self.shortened.contains(&partition) {
                    return Ok(Some(partition));
                }
                batch.push(message, known);
                Ok(None)
            }
            Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) => Err(error.into()),
            Err(error) => {
                // librdkafka goes on by itself, and says so again and again.
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(error = %error, "failed to read from Kafka, going on");
                }
                Ok(None)
            }
        }
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

async fn identity(consumer: &Arc<StreamConsumer<Quiet>>, topic: &str) -> Result<Uuid, Error> {
    let (consumer, topic) = (Arc::clone(consumer), topic.to_owned());
    let asked = tokio::task::spawn_blocking(move || kafka::topic_id(consumer.client(), &topic, METADATA_TIMEOUT));
    Ok(asked.await??)
}
