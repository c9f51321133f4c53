//! A message as it came, and what it says.

use fiorino_kit::{kafka::Envelope, trace};
use fiorino_proto::{payments::v1::PaymentRecorded, topics};
use jiff::{SignedDuration, Timestamp};
use prost::Message as _;
use tracing::Span;

use crate::{
    payment::{Payment, Unreadable},
    store::Parked,
};

/// A message, out of the client's buffers.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    envelope: Option<Envelope>,
    key: Vec<u8>,
    payload: Vec<u8>,
    /// Read once; the reason is kept with the message.
    pub(crate) content: Result<Payment, String>,
}

// === impl Message ===

impl Message {
    pub(crate) fn read(message: &impl rdkafka::Message) -> Self {
        let envelope = Envelope::read(message);
        let payload = message.payload().unwrap_or_default().to_vec();
        Self {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            content: content(envelope.as_ref(), &payload),
            envelope,
            key: message.key().unwrap_or_default().to_vec(),
            payload,
        }
    }

    /// The same message, which cannot be taken in.
    pub(crate) fn refused(self, reason: &str) -> Self {
        Self { content: Err(reason.to_owned()), ..self }
    }

    /// Its row, if it is to be parked.
    pub(crate) fn parked(&self, reason: &str) -> Parked {
        let (event_id, event_type) = match &self.envelope {
            Some(envelope) => (legible(&envelope.id), legible(&envelope.event_type)),
            None => (String::new(), String::new()),
        };
        Parked {
            topic: self.topic.clone(),
            partition: self.partition,
            offset: self.offset,
            event_id,
            event_type,
            traceparent: self.traceparent().map(legible),
            key: self.key.clone(),
            payload: self.payload.clone(),
            reason: reason.to_owned(),
        }
    }

    /// What it takes to process it, as the next part of its producer's trace.
    pub(crate) fn span(&self) -> Span {
        let span = tracing::info_span!(
            "consume",
            otel.name = "process payment",
            otel.kind = "consumer",
            messaging.system = "kafka",
            messaging.operation.type = "process",
            messaging.destination.name = self.topic,
            messaging.destination.partition.id = self.partition,
            messaging.kafka.offset = self.offset,
            messaging.message.id = self.envelope.as_ref().map(|envelope| envelope.id.as_str()),
        );
        if let Some(traceparent) = self.traceparent() {
            trace::set_parent(&span, traceparent);
        }
        span
    }

    /// Time since its event.
    pub(crate) fn delay(&self, now: Timestamp) -> Option<SignedDuration> {
        Some(now.duration_since(self.happened()?))
    }

    /// When tenant recorded its event; `None` = it does not say.
    pub(crate) fn happened(&self) -> Option<Timestamp> {
        self.envelope.as_ref()?.time.parse().ok()
    }

    fn traceparent(&self) -> Option<&str> {
        self.envelope.as_ref()?.traceparent.as_deref()
    }
}

/// What a message says, or which field breaks which rule: the one reader, for what comes and for what was parked.
pub(crate) fn content(envelope: Option<&Envelope>, payload: &[u8]) -> Result<Payment, String> {
    read(envelope, payload).map_err(|unreadable| unreadable.to_string())
}

fn read(envelope: Option<&Envelope>, payload: &[u8]) -> Result<Payment, Unreadable> {
    let envelope = envelope.ok_or_else(|| Unreadable::new("headers", "ce_id and ce_type must be told"))?;
    if envelope.event_type != topics::PAYMENTS.event_type {
        return Err(Unreadable::new("ce_type", format!("must be {}", topics::PAYMENTS.event_type)));
    }
    PaymentRecorded::decode(payload).map_err(|error| Unreadable::new("payload", error.to_string()))?.try_into()
}

/// A header may hold what a column cannot.
fn legible(text: impl AsRef<str>) -> String {
    text.as_ref().replace('\0', "\u{fffd}")
}
