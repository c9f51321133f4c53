//! Messages that are recorded together.

use std::collections::{BTreeMap, btree_map::Entry};

use fiorino_domain::institution::InstitutionCode;
use jiff::{SignedDuration, Timestamp};
use tracing::Span;

use super::message::Message;
use crate::{
    payment::Payment,
    store::{Advance, Changes, Expired},
};

/// Messages in the order of each partition, and where each partition's reading began.
#[derive(Debug, Clone, Default)]
pub(crate) struct Batch {
    messages: Vec<Message>,
    /// Known next offset by partition, before the batch.
    known: BTreeMap<i32, i64>,
}

// === impl Batch ===

impl Batch {
    /// Adds a message of a partition whose next offset was `known` before this batch.
    pub(crate) fn push(&mut self, message: Message, known: i64) {
        self.known.entry(message.partition).or_insert(known);
        self.messages.push(message);
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Offset after the last message of a partition, if there is one.
    pub(crate) fn reaches(&self, partition: i32) -> Option<i64> {
        self.messages.iter().rev().find(|message| message.partition == partition).map(|message| message.offset + 1)
    }

    /// What the batch does to the tables. Pure.
    pub(crate) fn changes(&self) -> Changes {
        let mut changes = Changes { advances: self.advances(), expired: self.expired(), ..Changes::default() };
        for message in &self.messages {
            match &message.content {
                Ok(payment) => keep_latest(&mut changes.payments, payment),
                Err(reason) => changes.parked.push(message.parked(reason)),
            }
        }
        changes
    }

    /// How far each partition is read with this batch.
    pub(crate) fn advances(&self) -> Vec<Advance> {
        let mut advances: BTreeMap<i32, Advance> = BTreeMap::new();
        for message in &self.messages {
            let Message { partition, offset, .. } = *message;
            let from = self.known.get(&partition).copied().unwrap_or_default();
            let latest = advances.get(&partition).and_then(|advance| advance.event_at);
            let event_at = message.happened().max(latest);
            advances.insert(partition, Advance { partition, from, to: offset + 1, event_at });
        }
        advances.into_values().collect()
    }

    /// Offsets that are missing before a message. A partition that was never read begins at 0: what is missing there is gone as well.
    fn expired(&self) -> Vec<Expired> {
        let mut next = self.known.clone();
        let gap = |message: &Message| {
            let Message { partition, offset, .. } = *message;
            let from = next.insert(partition, offset + 1).unwrap_or_default();
            (offset > from).then(|| Expired {
                topic: message.topic.clone(),
                partition,
                from,
                to: offset,
                until: message.happened(),
            })
        };
        self.messages.iter().filter_map(gap).collect()
    }

    /// The same messages one by one, each beginning where the one before it ends.
    pub(crate) fn singles(&self) -> Vec<Self> {
        let mut known = self.known.clone();
        let single = |message: &Message| {
            let before = known.insert(message.partition, message.offset + 1).unwrap_or_default();
            let mut batch = Self::default();
            batch.push(message.clone(), before);
            batch
        };
        self.messages.iter().map(single).collect()
    }

    /// The same messages, none of which can be taken in.
    pub(crate) fn refused(&self, reason: &str) -> Self {
        let refused = |message: &Message| message.clone().refused(reason);
        Self { messages: self.messages.iter().map(refused).collect(), known: self.known.clone() }
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        self.messages.iter().map(Message::span).collect()
    }

    /// Time since the event, by message.
    pub(crate) fn delays(&self, now: Timestamp) -> impl Iterator<Item = SignedDuration> {
        self.messages.iter().filter_map(move |message| message.delay(now))
    }
}

/// One statement cannot write a row twice.
fn keep_latest(payments: &mut BTreeMap<(InstitutionCode, String), Payment>, told: &Payment) {
    match payments.entry((told.institution, told.receipt_id.clone())) {
        Entry::Vacant(entry) => {
            entry.insert(told.clone());
        }
        Entry::Occupied(mut entry) if told.is_news_after(entry.get()) => {
            entry.insert(told.clone());
        }
        Entry::Occupied(_) => {}
    }
}
