//! The topics of a world: what is in them, and what should not be.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fiorino_proto::topics;
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    message::Headers,
    producer::{FutureProducer, FutureRecord},
};

use super::Town;

const TIMEOUT: Duration = Duration::from_secs(20);

/// A header of a message.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) key: String,
    pub(super) value: Vec<u8>,
}

/// Puts a payload where payments are told.
pub(super) async fn produce(town: &Town, key: &str, payload: &[u8]) -> Result<()> {
    let topic = payments(town);
    let producer: FutureProducer = config(town).create()?;
    let record = FutureRecord::to(&topic).key(key).payload(payload);
    producer.send(record, TIMEOUT).await.map(drop).map_err(|(error, _)| error.into())
}

/// The headers of every payment that was told.
pub(super) async fn headers(town: &Town) -> Result<Vec<Header>> {
    let (topic, config) = (payments(town), config(town));
    // The client waits with blocking calls.
    tokio::task::spawn_blocking(move || read(&topic, config)).await?
}

fn read(topic: &str, mut config: ClientConfig) -> Result<Vec<Header>> {
    let consumer: BaseConsumer = config.set("group.id", "headers").create()?;
    let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT)?;
    let partitions = metadata.topics().first().context("no such topic")?.partitions();
    let (mut assignment, mut left) = (TopicPartitionList::new(), 0);
    for partition in partitions {
        let (low, high) = consumer.fetch_watermarks(topic, partition.id(), TIMEOUT)?;
        left += high - low;
        assignment.add_partition_offset(topic, partition.id(), Offset::Beginning)?;
    }
    consumer.assign(&assignment)?;
    let mut headers = Vec::new();
    while left > 0 {
        let message = consumer.poll(TIMEOUT).context("messages are missing")??;
        left -= 1;
        for header in message.headers().into_iter().flat_map(Headers::iter) {
            headers.push(Header { key: header.key.to_owned(), value: header.value.unwrap_or_default().to_vec() });
        }
    }
    ensure!(!headers.is_empty(), "no message has a header");
    Ok(headers)
}

fn payments(town: &Town) -> String {
    topics::PAYMENTS.full_name(&town.world.addresses().topic_prefix)
}

fn config(town: &Town) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &town.world.addresses().kafka_brokers);
    config
}
