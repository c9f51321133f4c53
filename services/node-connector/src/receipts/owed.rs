//! Receipts whose caller got no final answer although they may be in the inbox as answered: the time was over while the database
//! was writing. The next repetition is answered OK, not called a duplicate (ARCHITECTURE.md 4.4).
//!
//! Remembered here at once, and taken back in the inbox as soon as the database answers, so that every replica knows.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use fiorino_kit::clock::Clock;

use super::inbox::{Inbox, Key};

/// How long a write that nobody waits for may still come through.
const REMEMBERED: Duration = Duration::from_mins(10);
/// Receipts remembered at once.
const OWED_MAX: usize = 4_096;

/// Which receipt: key, and hash of the business fields.
type Content = (Key, [u8; 32]);

/// The answers that are owed; one per process.
#[derive(Debug)]
pub(crate) struct Owed {
    /// Until when, in monotonic time.
    receipts: Mutex<HashMap<Content, Duration>>,
    clock: Clock,
}

/// Owes the answer of a receipt until [`Debt::paid`].
#[derive(Debug)]
pub(super) struct Debt<'a> {
    owed: &'a Owed,
    content: Option<Content>,
}

// === impl Owed ===

impl Owed {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { receipts: Mutex::default(), clock }
    }

    /// From here on the answer is owed, unless the debt is paid.
    pub(super) fn debt(&self, key: &Key, content_hash: [u8; 32]) -> Debt<'_> {
        Debt { owed: self, content: Some((key.clone(), content_hash)) }
    }

    /// Whether an answer is owed.
    pub(super) fn is_owed(&self, key: &Key, content_hash: [u8; 32]) -> bool {
        self.lock().contains_key(&(key.clone(), content_hash))
    }

    /// Rows that say that their answer was given are told that it was not.
    pub(crate) async fn take_back(&self, inbox: &Inbox) -> sqlx::Result<()> {
        let now = self.clock.monotonic();
        let owed: Vec<Content> = {
            let mut receipts = self.lock();
            receipts.retain(|_, until| now < *until);
            receipts.keys().cloned().collect()
        };
        if owed.is_empty() { Ok(()) } else { inbox.not_answered(&owed).await }
    }

    fn remember(&self, content: Content) {
        let now = self.clock.monotonic();
        let mut receipts = self.lock();
        if receipts.len() >= OWED_MAX {
            receipts.retain(|_, until| now < *until);
        }
        if receipts.len() < OWED_MAX {
            receipts.insert(content, now + REMEMBERED);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Content, Duration>> {
        self.receipts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Debt ===

impl Debt<'_> {
    /// A final answer goes out: nothing is owed any more.
    pub(super) fn paid(mut self) {
        if let Some(content) = self.content.take() {
            self.owed.lock().remove(&content);
        }
    }
}

impl Drop for Debt<'_> {
    fn drop(&mut self) {
        if let Some(content) = self.content.take() {
            self.owed.remember(content);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(receipt_id: &str) -> Key {
        Key { id_pa: "77777777777".into(), receipt_id: receipt_id.into() }
    }

    #[test]
    fn an_answer_that_was_not_given_is_owed_once() {
        let owed = Owed::new(Clock::system());
        owed.debt(&key("paid"), [0; 32]).paid();
        drop(owed.debt(&key("owed"), [0; 32]));
        assert!(!owed.is_owed(&key("paid"), [0; 32]));
        assert!(!owed.is_owed(&key("owed"), [1; 32]), "another content");
        assert!(owed.is_owed(&key("owed"), [0; 32]));
        owed.debt(&key("owed"), [0; 32]).paid();
        assert!(!owed.is_owed(&key("owed"), [0; 32]));
    }

    #[test]
    fn memory_is_bounded() {
        let owed = Owed::new(Clock::system());
        for number in 0..2 * OWED_MAX {
            drop(owed.debt(&key(&number.to_string()), [0; 32]));
        }
        assert_eq!(owed.lock().len(), OWED_MAX);
    }
}
