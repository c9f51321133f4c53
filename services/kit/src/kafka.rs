//! Kafka: producer, consumer, topics, and the CloudEvents envelope in headers.
//!
//! At least once and nothing more: idempotent producer, all acks, consumers that keep their offsets in PostgreSQL. No Kafka transactions
//! (ARCHITECTURE.md 8.4).

mod identity;

use std::{fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use rdkafka::{
    ClientConfig, ClientContext,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    config::RDKafkaLogLevel,
    consumer::{ConsumerContext, StreamConsumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, Headers as _, OwnedHeaders},
    producer::{FutureProducer, Producer as _},
};

pub use self::identity::{Error as IdentityError, topic_id};
use crate::{options::KafkaOptions, trace::TRACEPARENT};

const ADMIN_TIMEOUT: Duration = Duration::from_secs(10);
const SPECVERSION: &str = "1.0";
const PROTOBUF: &str = "application/protobuf";

/// Why something could not be done with Kafka.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A client could not be made.
    #[error("failed to create the Kafka client")]
    Client(#[source] KafkaError),
    /// Topics could not be created.
    #[error("failed to create topics")]
    Admin(#[source] KafkaError),
    /// One topic could not be created.
    #[error("failed to create topic {topic}")]
    Topic {
        /// Its full name.
        topic: String,
        /// What the broker says.
        source: RDKafkaErrorCode,
    },
}

/// `Result` of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An idempotent producer that can be rebuilt after a fatal error; cheap to clone.
#[derive(Clone)]
pub struct Producer {
    options: Arc<KafkaOptions>,
    current: Arc<ArcSwap<FutureProducer<Quiet>>>,
}

/// Sends librdkafka's own log lines to ours: what it says about brokers that are away is detail, results tell the rest.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

/// The CloudEvents attributes of a message (binary mode: headers `ce_*`), and its trace context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// `ce_id`: what a repetition is known by.
    pub id: String,
    /// `ce_type`
    pub event_type: String,
    /// `ce_source`
    pub source: String,
    /// `ce_time`, RFC 3339
    pub time: String,
    /// `traceparent`
    pub traceparent: Option<String>,
}

/// An idempotent producer: all acks, at most 10,000 messages or 64 MiB waiting, 10 s for a message to be acknowledged.
///
/// # Errors
/// [`Error::Client`] when librdkafka refuses its configuration.
pub fn producer(options: &KafkaOptions) -> Result<Producer> {
    let first = build(options)?;
    Ok(Producer { options: Arc::new(options.clone()), current: Arc::new(ArcSwap::from_pointee(first)) })
}

/// A consumer of group `group` that commits nothing by itself and begins at the earliest message: offsets live in PostgreSQL, in the
/// effect's transaction (ARCHITECTURE.md 4.9). At most 16 MiB wait to be read.
///
/// # Errors
/// [`Error::Client`] when librdkafka refuses its configuration.
pub fn consumer(options: &KafkaOptions, group: &str) -> Result<StreamConsumer<Quiet>> {
    consumer_with(options, group, Quiet)
}

/// Like [`consumer`], with the caller's context: whoever must know when partitions come and go.
///
/// # Errors
/// [`Error::Client`] when librdkafka refuses its configuration.
pub fn consumer_with<C>(options: &KafkaOptions, group: &str, context: C) -> Result<StreamConsumer<C>>
where
    C: ConsumerContext + 'static,
{
    base(options)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed")
        .set("queued.max.messages.kbytes", "16384")
        .set("session.timeout.ms", "10000")
        .set("fetch.wait.max.ms", "100")
        .create_with_context(context)
        .map_err(Error::Client)
}

/// Creates the topics (name without prefix, partitions, retention) that are missing; leaves the others as they are.
///
/// # Errors
/// [`Error::Admin`] when Kafka is away, [`Error::Topic`] for the first topic that it refuses.
pub async fn ensure_topics(options: &KafkaOptions, topics: &[(&str, i32, Duration)]) -> Result<()> {
    let admin: AdminClient<Quiet> = base(options).create_with_context(Quiet).map_err(Error::Client)?;
    let wanted: Vec<_> = topics
        .iter()
        .map(|(name, partitions, retention)| (options.topic(name), *partitions, retention.as_millis().to_string()))
        .collect();
    let wanted = wanted.iter().map(|(name, partitions, retention)| {
        // -1: as the brokers are set up, 3 with 2 in sync in production.
        NewTopic::new(name, *partitions, TopicReplication::Fixed(-1)).set("retention.ms", retention)
    });
    let wanted: Vec<_> = wanted.collect();
    let admin_options = AdminOptions::new().operation_timeout(Some(ADMIN_TIMEOUT)).request_timeout(Some(ADMIN_TIMEOUT));
    for result in admin.create_topics(&wanted, &admin_options).await.map_err(Error::Admin)? {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, source)) => return Err(Error::Topic { topic, source }),
        }
    }
    Ok(())
}

fn base(options: &KafkaOptions) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &options.kafka_brokers)
        .set("client.id", "fiorino")
        .set("allow.auto.create.topics", "false")
        .set("reconnect.backoff.max.ms", "2000")
        .set("socket.keepalive.enable", "true")
        .set_log_level(RDKafkaLogLevel::Warning);
    config
}

fn build(options: &KafkaOptions) -> Result<FutureProducer<Quiet>> {
    base(options)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("max.in.flight.requests.per.connection", "5")
        .set("linger.ms", "5")
        .set("message.timeout.ms", "10000")
        .set("queue.buffering.max.messages", "10000")
        .set("queue.buffering.max.kbytes", "65536")
        // As the Java clients do, so that everybody's producers agree on the partition of a key.
        .set("partitioner", "murmur2_random")
        .create_with_context(Quiet)
        .map_err(Error::Client)
}

// === impl Producer ===

impl Producer {
    /// The producer of now; ask again for each batch.
    pub fn current(&self) -> Arc<FutureProducer<Quiet>> {
        self.current.load_full()
    }

    /// The topic's name in this installation.
    pub fn topic(&self, name: &str) -> String {
        self.options.topic(name)
    }

    /// Replaces the producer when librdkafka gave it up for good; tells whether it did.
    ///
    /// # Errors
    /// [`Error::Client`] when a new one cannot be made; the old one stays.
    pub fn rebuild_if_fatal(&self) -> Result<bool> {
        let Some((code, reason)) = self.current().client().fatal_error() else { return Ok(false) };
        tracing::error!(code = %code, reason, "Kafka producer failed for good, rebuilding it");
        self.current.store(Arc::new(build(&self.options)?));
        Ok(true)
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("options", &self.options).finish_non_exhaustive()
    }
}

// === impl Quiet ===

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(facility, detail = message, "librdkafka");
            }
            _ => tracing::debug!(facility, detail = message, "librdkafka"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(error = %error, reason, "librdkafka");
    }
}

impl ConsumerContext for Quiet {}

// === impl Envelope ===

impl Envelope {
    /// Reads the headers of a message; `None` when `ce_id` or `ce_type` is missing.
    pub fn read(message: &impl rdkafka::Message) -> Option<Self> {
        let headers = message.headers()?;
        let find = |name: &str| {
            let header = headers.iter().find(|header| header.key == name)?;
            std::str::from_utf8(header.value?).ok().map(str::to_owned)
        };
        Some(Self {
            id: find("ce_id")?,
            event_type: find("ce_type")?,
            source: find("ce_source").unwrap_or_default(),
            time: find("ce_time").unwrap_or_default(),
            traceparent: find(TRACEPARENT),
        })
    }

    /// The headers of a message.
    pub fn headers(&self) -> OwnedHeaders {
        let known = [
            ("ce_id", self.id.as_str()),
            ("ce_type", &self.event_type),
            ("ce_source", &self.source),
            ("ce_specversion", SPECVERSION),
            ("ce_time", &self.time),
            ("content-type", PROTOBUF),
        ];
        let traceparent = self.traceparent.as_deref().map(|traceparent| (TRACEPARENT, traceparent));
        known.into_iter().chain(traceparent).fold(OwnedHeaders::new_with_capacity(7), |headers, (key, value)| {
            headers.insert(Header { key, value: Some(value) })
        })
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::{Timestamp, message::OwnedMessage};

    use super::*;

    fn message(headers: OwnedHeaders) -> OwnedMessage {
        OwnedMessage::new(None, None, "topic".to_owned(), Timestamp::NotAvailable, 0, 0, Some(headers))
    }

    #[rstest::rstest]
    #[case(Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"))]
    #[case(None)]
    fn an_envelope_survives_its_headers(#[case] traceparent: Option<&str>) {
        let envelope = Envelope {
            id: "1".to_owned(),
            event_type: "dev.fiorino.payments.v1.PaymentRecorded".to_owned(),
            source: "fiorino/tenant".to_owned(),
            time: "2026-07-14T10:42:00Z".to_owned(),
            traceparent: traceparent.map(str::to_owned),
        };
        assert_eq!(Envelope::read(&message(envelope.headers())), Some(envelope));
    }

    #[test]
    fn a_message_without_id_is_no_event() {
        let headers = OwnedHeaders::new().insert(Header { key: "ce_type", value: Some("x") });
        assert_eq!(Envelope::read(&message(headers)), None);
    }
}
