//! The reader of events, which nothing else needs to see: for the fuzz targets (docs/fuzzing.md).

use jiff::Timestamp;
use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};

use crate::{consumer::message::Message, payment::Payment};

/// Reads an event as the consumer does, and makes the row that it would be parked as.
///
/// # Errors
/// Why it would be parked.
pub fn event(headers: &[(&str, &[u8])], key: &[u8], payload: &[u8]) -> Result<Payment, String> {
    let told = headers.iter().fold(OwnedHeaders::new_with_capacity(headers.len()), |told, (key, value)| {
        told.insert(Header { key, value: Some(*value) })
    });
    let (key, payload) = (Some(key.to_vec()), Some(payload.to_vec()));
    let message =
        OwnedMessage::new(payload, key, "fuzz".to_owned(), rdkafka::Timestamp::NotAvailable, 0, 0, Some(told));
    let message = Message::read(&message);
    let _span = message.span().entered();
    let _delay = message.delay(Timestamp::UNIX_EPOCH);
    let _row = message.parked("fuzz");
    message.content
}
