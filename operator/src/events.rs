//! Kubernetes Events: what is news, so that a quiet institution is a quiet one, and what was mended is not said again.

use fiorino_crds::{Condition, ConditionStatus, ConditionType, Reason};
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

/// Conditions whose change is an Event, causes first; the others are in the status of whoever asks.
const PUBLISHED: [ConditionType; 5] = [
    ConditionType::Validated,
    ConditionType::Stalled,
    ConditionType::Ready,
    ConditionType::Payable,
    ConditionType::Paused,
];

/// Publishes Events; cheap to clone.
#[derive(Clone)]
pub struct Events {
    client: Client,
    reporter: Reporter,
}

// === impl Events ===

impl Events {
    /// A publisher that calls itself `instance`.
    pub fn new(client: Client, instance: &str) -> Self {
        let reporter = Reporter { controller: FIELD_MANAGER.to_owned(), instance: Some(instance.to_owned()) };
        Self { client, reporter }
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
        // A recorder that lives longer takes two Events of one reason for one, whatever their notes: it would count the old text up while
        // another thing is wrong.
        let recorder = Recorder::new(self.client.clone(), self.reporter.clone());
        let published = timely(recorder.publish(&event, &notice.subject.reference())).await;
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

/// What is news between two states of the conditions. One cause is one Event: a condition that only repeats what another one says is left out.
pub fn transitions(subject: &Subject, before: &[Condition], after: &[Condition]) -> Vec<Notice> {
    let find = |conditions: &[Condition], kind| conditions.iter().find(|condition| condition.kind == kind).cloned();
    let published: Vec<Condition> = PUBLISHED.iter().filter_map(|kind| find(after, *kind)).collect();
    let is_news =
        |now: &Condition| find(before, now.kind).map_or_else(|| is_first_news(now), |before| differs(&before, now));
    let mut notices = Vec::new();
    for (place, now) in published.iter().enumerate() {
        let repeats =
            is_bad(now) && published[..place].iter().any(|cause| is_bad(cause) && cause.message == now.message);
        if !repeats && is_news(now) {
            notices.push(notice(subject, now));
        }
    }
    notices
}

/// Another text of what is wrong is news; what is on its way changes its text with each step.
fn differs(before: &Condition, now: &Condition) -> bool {
    let another = (before.status, before.reason) != (now.status, now.reason);
    another || (before.message != now.message && is_bad(now) && now.reason != Reason::Pending)
}

/// What a new object says at once: that something is wrong, or that it works.
fn is_first_news(condition: &Condition) -> bool {
    match condition.kind {
        ConditionType::Validated => is_bad(condition),
        _ => condition.status == ConditionStatus::True,
    }
}

/// Somebody should look at it.
fn is_bad(condition: &Condition) -> bool {
    let good = match condition.kind {
        ConditionType::Stalled | ConditionType::Paused => ConditionStatus::False,
        _ => ConditionStatus::True,
    };
    condition.status != good || condition.reason == Reason::Doubtful
}

fn notice(subject: &Subject, condition: &Condition) -> Notice {
    Notice {
        subject: subject.clone(),
        warning: is_bad(condition),
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

    fn news(before: Vec<Draft>, after: Vec<Draft>) -> Vec<(String, bool)> {
        let notices = transitions(&subject(), &conditions(before), &conditions(after));
        notices.into_iter().map(|notice| (notice.note, notice.warning)).collect()
    }

    fn wrong(text: &str) -> Draft {
        Draft::no(ConditionType::Validated, Reason::InvalidReference, text)
    }

    #[test]
    fn nothing_new_is_no_event() {
        let ready = || vec![Draft::yes(ConditionType::Ready, Reason::Acknowledged, "all")];
        assert!(news(ready(), ready()).is_empty());
        assert!(news(vec![], vec![Draft::unknown(ConditionType::Ready, Reason::Pending, "one")]).is_empty());
        let waiting = Draft::no(ConditionType::AccountsRegistered, Reason::NotRegistered, "one");
        assert!(news(vec![], vec![waiting]).is_empty());
    }

    #[test]
    fn a_change_has_its_weight() {
        let pending = vec![Draft::unknown(ConditionType::Ready, Reason::Pending, "one")];
        let ready = vec![Draft::yes(ConditionType::Ready, Reason::Acknowledged, "all")];
        assert_eq!(news(pending.clone(), ready.clone()), [("Ready is True: all".to_owned(), false)]);
        assert_eq!(news(ready, pending), [("Ready is Unknown: one".to_owned(), true)]);
        let invalid = vec![Draft::no(ConditionType::Validated, Reason::InvalidField, "iban")];
        assert_eq!(news(vec![], invalid), [("Validated is False: iban".to_owned(), true)]);
        let stalled = vec![Draft::yes(ConditionType::Stalled, Reason::Conflict, "two")];
        assert_eq!(news(vec![], stalled), [("Stalled is True: two".to_owned(), true)]);
    }

    /// A missing station was corrected, then a profile is missing: the same reason, another thing to mend.
    #[test]
    fn another_text_of_what_is_wrong_is_another_event() {
        let profile = "Profile comune-standard/9 does not exist";
        let after = news(vec![wrong("Station valdarda-02 does not exist")], vec![wrong(profile)]);
        assert_eq!(after, [(format!("Validated is False: {profile}"), true)]);
        let steps = [
            Draft::unknown(ConditionType::Ready, Reason::Pending, "node-connector, reporting"),
            Draft::unknown(ConditionType::Ready, Reason::Pending, "reporting"),
        ];
        assert!(news(vec![steps[0].clone()], vec![steps[1].clone()]).is_empty(), "what is on its way is no news");
    }

    #[test]
    fn one_cause_is_one_event() {
        let cause = wrong("Iban tesoreria does not exist");
        let told = [ConditionType::Ready, ConditionType::Stalled].map(|kind| cause.about(kind));
        let stalled = Draft { status: ConditionStatus::True, ..told[1].clone() };
        let before = vec![Draft::yes(ConditionType::Ready, Reason::Acknowledged, "all")];
        let after = news(before, vec![cause, told[0].clone(), stalled]);
        assert_eq!(after, [("Validated is False: Iban tesoreria does not exist".to_owned(), true)]);
    }

    #[test]
    fn a_doubt_is_a_warning_although_nothing_is_refused() {
        let doubt = || vec![Draft::yes(ConditionType::Validated, Reason::Doubtful, "to be looked at: spec.fiscalCode")];
        assert_eq!(news(vec![], doubt()), [("Validated is True: to be looked at: spec.fiscalCode".to_owned(), true)]);
        assert!(news(doubt(), doubt()).is_empty());
    }
}
