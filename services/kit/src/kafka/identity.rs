//! Which topic a name stands for: the id that Kafka gives a topic when it is made. One that is deleted and made anew under the same name
//! has another, whatever its offsets say.
#![expect(unsafe_code, reason = "librdkafka tells a topic's id, and the crate that wraps it does not pass it on yet")]

use std::{ffi::CString, ptr, time::Duration};

use rdkafka::{
    ClientContext,
    bindings::{
        rd_kafka_AdminOptions_destroy, rd_kafka_AdminOptions_new, rd_kafka_AdminOptions_set_request_timeout,
        rd_kafka_AdminOptions_t, rd_kafka_DescribeTopics, rd_kafka_DescribeTopics_result_topics,
        rd_kafka_TopicCollection_destroy, rd_kafka_TopicCollection_of_topic_names, rd_kafka_TopicCollection_t,
        rd_kafka_TopicDescription_error, rd_kafka_TopicDescription_topic_id, rd_kafka_Uuid_least_significant_bits,
        rd_kafka_Uuid_most_significant_bits, rd_kafka_error_code, rd_kafka_event_DescribeTopics_result,
        rd_kafka_event_destroy, rd_kafka_event_error, rd_kafka_event_t, rd_kafka_queue_destroy, rd_kafka_queue_new,
        rd_kafka_queue_poll, rd_kafka_queue_t,
    },
    client::Client,
    error::RDKafkaErrorCode,
    types::{RDKafka, RDKafkaAdminOp},
};
use uuid::Uuid;

/// Beyond the request's own time, for the answer to come through librdkafka's queue.
const QUEUE_TIME: Duration = Duration::from_secs(1);

/// Why a topic's id is not known.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name holds U+0000.
    #[error("failed to ask for the id of a topic: its name holds U+0000")]
    Name(#[from] std::ffi::NulError),
    /// There is no such topic, or Kafka is away.
    #[error("failed to ask for the id of topic {topic}")]
    Kafka {
        /// Its full name.
        topic: String,
        /// What the broker or the client says.
        source: RDKafkaErrorCode,
    },
    /// Brokers before Kafka 2.8 give topics no id.
    #[error("topic {topic} has no id: brokers of Kafka 2.8 or newer are needed")]
    Nameless {
        /// Its full name.
        topic: String,
    },
}

/// Something of librdkafka that is given back when it is dropped.
struct Owned<T> {
    pointer: *mut T,
    destroy: unsafe extern "C" fn(*mut T),
}

/// The id of a topic, by its full name. Blocks for up to `timeout` and a second.
///
/// # Errors
/// Kafka is away, or has no such topic, or gives topics no id.
pub fn topic_id<C: ClientContext>(client: &Client<C>, topic: &str, timeout: Duration) -> Result<Uuid, Error> {
    let name = CString::new(topic)?;
    let kafka = |source| Error::Kafka { topic: topic.to_owned(), source };
    let event = describe(client.native_ptr(), &name, timeout).map_err(kafka)?;
    let id = read(&event).map_err(kafka)?;
    if id.is_nil() { Err(Error::Nameless { topic: topic.to_owned() }) } else { Ok(id) }
}

/// Asks, and waits for the answer.
fn describe(
    client: *mut RDKafka,
    name: &CString,
    timeout: Duration,
) -> Result<Owned<rd_kafka_event_t>, RDKafkaErrorCode> {
    let mut names = [name.as_ptr()];
    // SAFETY: the caller's client lives as long as the call; the names are copied; what is made is owned, and destroyed once.
    unsafe {
        let topics: Owned<rd_kafka_TopicCollection_t> = Owned {
            pointer: rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len()),
            destroy: rd_kafka_TopicCollection_destroy,
        };
        let options: Owned<rd_kafka_AdminOptions_t> = Owned {
            pointer: rd_kafka_AdminOptions_new(client, RDKafkaAdminOp::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS),
            destroy: rd_kafka_AdminOptions_destroy,
        };
        let queue: Owned<rd_kafka_queue_t> =
            Owned { pointer: rd_kafka_queue_new(client), destroy: rd_kafka_queue_destroy };
        let refused =
            rd_kafka_AdminOptions_set_request_timeout(options.pointer, milliseconds(timeout), ptr::null_mut(), 0);
        checked(refused.into())?;
        rd_kafka_DescribeTopics(client, topics.pointer, options.pointer, queue.pointer);
        let event = rd_kafka_queue_poll(queue.pointer, milliseconds(timeout + QUEUE_TIME));
        if event.is_null() {
            return Err(RDKafkaErrorCode::OperationTimedOut);
        }
        Ok(Owned { pointer: event, destroy: rd_kafka_event_destroy })
    }
}

/// The id of the one topic that the answer is about.
fn read(event: &Owned<rd_kafka_event_t>) -> Result<Uuid, RDKafkaErrorCode> {
    // SAFETY: everything that is read belongs to the event, which outlives this; null pointers and counts are looked at first.
    unsafe {
        checked(rd_kafka_event_error(event.pointer).into())?;
        let result = rd_kafka_event_DescribeTopics_result(event.pointer);
        if result.is_null() {
            return Err(RDKafkaErrorCode::BadMessage);
        }
        let mut count = 0;
        let topics = rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if topics.is_null() || count != 1 {
            return Err(RDKafkaErrorCode::BadMessage);
        }
        let topic = *topics;
        let error = rd_kafka_TopicDescription_error(topic);
        if !error.is_null() {
            checked(rd_kafka_error_code(error).into())?;
        }
        let id = rd_kafka_TopicDescription_topic_id(topic);
        if id.is_null() {
            return Ok(Uuid::nil());
        }
        let (high, low) = (rd_kafka_Uuid_most_significant_bits(id), rd_kafka_Uuid_least_significant_bits(id));
        Ok(Uuid::from_u64_pair(high.cast_unsigned(), low.cast_unsigned()))
    }
}

fn checked(code: RDKafkaErrorCode) -> Result<(), RDKafkaErrorCode> {
    if code == RDKafkaErrorCode::NoError { Ok(()) } else { Err(code) }
}

fn milliseconds(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}

// === impl Owned ===

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if !self.pointer.is_null() {
            // SAFETY: made by librdkafka, owned by this alone, and destroyed by the function that belongs to it.
            unsafe { (self.destroy)(self.pointer) }
        }
    }
}
