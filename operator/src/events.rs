//! Kubernetes Events: transitions only, so that a quiet institution is a quiet one.

use fiorino_crds::{Condition, ConditionStatus, ConditionType};
use fiorino_kit::error::chain;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};

use crate::{
    institution::{apply::FIELD_MANAGER, plan::Notice, subject::Subject},
    runtime::call::timely,
};

/// Longest note that the API server takes, in bytes.
const NOTE_MAX: usize = 1_024;

/// Conditions whose change is told; the others are in the status of whoever asks.
const TOLD: [ConditionType; 5] = [
    ConditionType::Validated,
    ConditionType::Ready,
    ConditionType::Payable,
    ConditionType::Stalled,
    ConditionType::Paused,
];

/// Publishes Events; cheap to clone.
#[derive(Clone)]
pub struct Events {
    recorder: Recorder,
}

// === impl Events ===

impl Events {
    /// A publisher that calls itself `instance`.
    pub fn new(client: Client, instance: &str) -> Self {
        let reporter = Reporter { controller: FIELD_MANAGER.to_owned(), instance: Some(instance.to_owned()) };
        Self { recorder: Recorder::new(client, reporter) }
    }

    /// Publishes an Event. One that is lost is logged: the status says the same.
    pub async fn publish(&self, notice: &Notice) {
        let event = Event {
            type_: if notice.warning { EventType::Warning } else { EventType::Normal },
            reason: notice.reason.clone(),
            note: Some(shortened(&notice.note)),
            action: notice.action.clone(),
            secondary: None,
        };
        let published = timely(self.recorder.publish(&event, &notice.subject.reference())).await;
        if let Err(error) = published {
            tracing::warn!(object = %notice.subject, reason = notice.reason, error = chain(&error), "failed to publish an event");
        }
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

/// What changed between two states of the conditions.
pub fn transitions(subject: &Subject, before: &[Condition], after: &[Condition]) -> Vec<Notice> {
    let told = after.iter().filter(|condition| TOLD.contains(&condition.kind));
    let changed = told.filter(|now| {
        let before = before.iter().find(|condition| condition.kind == now.kind);
        before.map_or_else(|| is_first_news(now), |before| before.status != now.status || before.reason != now.reason)
    });
    changed.map(|condition| notice(subject, condition)).collect()
}

/// What a new object tells at once: that something is wrong, or that it works.
fn is_first_news(condition: &Condition) -> bool {
    match condition.kind {
        ConditionType::Validated => condition.status == ConditionStatus::False,
        _ => condition.status == ConditionStatus::True,
    }
}

fn notice(subject: &Subject, condition: &Condition) -> Notice {
    let good = match condition.kind {
        ConditionType::Stalled | ConditionType::Paused => ConditionStatus::False,
        _ => ConditionStatus::True,
    };
    Notice {
        subject: subject.clone(),
        warning: condition.status != good,
        reason: condition.reason.to_string(),
        action: condition.kind.to_string(),
        note: format!("{} is {}: {}", condition.kind, condition.status, condition.message),
    }
}

fn shortened(note: &str) -> String {
    let mut end = note.len().min(NOTE_MAX);
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    note[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use fiorino_crds::Reason;
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::conditions::{Draft, settle};

    fn subject() -> Subject {
        let station: fiorino_crds::Station = serde_json::from_value(json!({
            "apiVersion": "fiorino.dev/v1alpha1", "kind": "Station", "metadata": {"name": "valdarda-01"},
            "spec": {"id": "91073550427_01", "brokerRef": {"name": "valdarda"}},
        }))
        .unwrap();
        Subject::of(&station)
    }

    fn conditions(drafts: Vec<Draft>) -> Vec<Condition> {
        settle(drafts, &[], 1, Timestamp::UNIX_EPOCH)
    }

    fn told(before: Vec<Draft>, after: Vec<Draft>) -> Vec<(String, bool)> {
        let notices = transitions(&subject(), &conditions(before), &conditions(after));
        notices.into_iter().map(|notice| (notice.note, notice.warning)).collect()
    }

    #[test]
    fn nothing_new_is_not_told() {
        let ready = || vec![Draft::yes(ConditionType::Ready, Reason::Acknowledged, "all")];
        assert!(told(ready(), ready()).is_empty());
        assert!(told(vec![], vec![Draft::unknown(ConditionType::Ready, Reason::Pending, "one")]).is_empty());
        let waiting = Draft::no(ConditionType::AccountsRegistered, Reason::NotRegistered, "one");
        assert!(told(vec![], vec![waiting]).is_empty());
    }

    #[test]
    fn a_change_is_told_with_its_weight() {
        let pending = vec![Draft::unknown(ConditionType::Ready, Reason::Pending, "one")];
        let ready = vec![Draft::yes(ConditionType::Ready, Reason::Acknowledged, "all")];
        assert_eq!(told(pending.clone(), ready.clone()), [("Ready is True: all".to_owned(), false)]);
        assert_eq!(told(ready, pending), [("Ready is Unknown: one".to_owned(), true)]);
        let wrong = vec![Draft::no(ConditionType::Validated, Reason::InvalidField, "iban")];
        assert_eq!(told(vec![], wrong), [("Validated is False: iban".to_owned(), true)]);
        let stalled = vec![Draft::yes(ConditionType::Stalled, Reason::Conflict, "two")];
        assert_eq!(told(vec![], stalled), [("Stalled is True: two".to_owned(), true)]);
    }
}
