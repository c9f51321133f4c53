//! Conditions that keep the time of their last change.

use fiorino_crds::{Condition, ConditionStatus, ConditionType, Reason};
use jiff::Timestamp;

/// Longest message, in characters: the schema allows 8,192 bytes of up to four per character.
const MESSAGE_MAX: usize = 2_000;

/// A statement before it has a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// What is stated.
    pub kind: ConditionType,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why, as a code.
    pub reason: Reason,
    /// Why, in words.
    pub message: String,
}

// === impl Draft ===

impl Draft {
    /// It holds.
    pub fn yes(kind: ConditionType, reason: Reason, message: impl Into<String>) -> Self {
        Self { kind, status: ConditionStatus::True, reason, message: message.into() }
    }

    /// It does not hold.
    pub fn no(kind: ConditionType, reason: Reason, message: impl Into<String>) -> Self {
        Self { status: ConditionStatus::False, ..Self::yes(kind, reason, message) }
    }

    /// Nobody can tell.
    pub fn unknown(kind: ConditionType, reason: Reason, message: impl Into<String>) -> Self {
        Self { status: ConditionStatus::Unknown, ..Self::yes(kind, reason, message) }
    }

    /// The same about another type.
    #[must_use]
    pub fn about(&self, kind: ConditionType) -> Self {
        Self { kind, ..self.clone() }
    }

    /// The condition; an unchanged status keeps the time of its last change.
    pub fn settle(self, previous: &[Condition], generation: i64, now: Timestamp) -> Condition {
        let before = previous.iter().find(|condition| condition.kind == self.kind);
        let unchanged = before.filter(|condition| condition.status == self.status);
        Condition {
            kind: self.kind,
            status: self.status,
            observed_generation: generation,
            last_transition_time: unchanged.map_or(now, |condition| condition.last_transition_time),
            reason: self.reason,
            message: shortened(self.message),
        }
    }
}

/// Conditions in the order of their types; those that are not stated go.
pub fn settle(drafts: Vec<Draft>, previous: &[Condition], generation: i64, now: Timestamp) -> Vec<Condition> {
    let mut conditions: Vec<Condition> =
        drafts.into_iter().map(|draft| draft.settle(previous, generation, now)).collect();
    conditions.sort_by_key(|condition| condition.kind);
    conditions
}

fn shortened(message: String) -> String {
    match message.char_indices().nth(MESSAGE_MAX) {
        Some((end, _)) => format!("{}...", &message[..end]),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn only_a_change_of_status_moves_the_time() {
        let first = settle(vec![Draft::no(ConditionType::Ready, Reason::Pending, "waiting")], &[], 1, at(10));
        let second = settle(vec![Draft::no(ConditionType::Ready, Reason::Refused, "no")], &first, 2, at(20));
        assert_eq!((second[0].last_transition_time, second[0].observed_generation), (at(10), 2));
        let third = settle(vec![Draft::yes(ConditionType::Ready, Reason::Acknowledged, "")], &second, 2, at(30));
        assert_eq!(third[0].last_transition_time, at(30));
    }

    #[test]
    fn the_order_does_not_depend_on_who_speaks_first() {
        let ready = Draft::yes(ConditionType::Ready, Reason::Acknowledged, "");
        let paused = Draft::yes(ConditionType::Paused, Reason::PausedByAnnotation, "");
        let one = settle(vec![ready.clone(), paused.clone()], &[], 1, at(1));
        assert_eq!(one, settle(vec![paused, ready], &[], 1, at(1)));
    }

    #[test]
    fn a_long_message_fits() {
        let message = "è".repeat(10_000);
        let condition = Draft::yes(ConditionType::Ready, Reason::Refused, message).settle(&[], 1, at(1));
        assert!(condition.message.len() <= 8_192 && condition.message.ends_with("..."));
    }
}
