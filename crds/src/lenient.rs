//! Statuses are written by whichever version of the operator leads: after a rollback the older one reads what the newer one wrote. Words that
//! it does not know are left out, and with them what cannot be said without; the next status is its own.

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;

/// The entries that this version knows.
pub(crate) fn list<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let entries = Vec::<Value>::deserialize(deserializer)?;
    Ok(entries.into_iter().filter_map(known).collect())
}

/// The word, if this version knows it.
pub(crate) fn word<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(Option::<Value>::deserialize(deserializer)?.and_then(known))
}

/// What a JSON value says, if this version knows all of it.
pub(crate) fn known<T: DeserializeOwned>(value: Value) -> Option<T> {
    serde_json::from_value(value).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{InstitutionStatus, ObjectStatus, Reason, status::Stage};

    fn condition(kind: &str, reason: &str) -> serde_json::Value {
        json!({
            "type": kind, "status": "True", "observedGeneration": 1, "lastTransitionTime": "2026-11-22T10:42:00Z",
            "reason": reason, "message": "",
        })
    }

    fn waiting(party: &str, action: &str) -> serde_json::Value {
        json!({"party": party, "action": action, "since": "2026-11-22T10:42:00Z", "textEn": "x", "textIt": "x"})
    }

    #[test]
    fn what_a_newer_version_wrote_is_read_without_its_words() {
        let written = json!({
            "observedGeneration": 4, "stage": "Audited", "phase": "Merged", "waitingFor": waiting("Notary", "Audit"),
            "services": [{"code": "MENSA", "state": "Active"}, {"code": "TARI", "state": "Frozen"}],
            "conditions": [condition("Ready", "Acknowledged"), condition("Audited", "Valid"), condition("Payable", "Blessed")],
            "audits": 3,
        });
        let status: InstitutionStatus = serde_json::from_value(written.clone()).unwrap();
        assert_eq!((status.observed_generation, status.stage, status.phase), (Some(4), None, None));
        assert_eq!(status.waiting_for, None);
        assert_eq!(status.services.iter().map(|it| it.code.as_str()).collect::<Vec<_>>(), ["MENSA"]);
        assert_eq!(status.conditions.iter().map(|it| it.reason).collect::<Vec<_>>(), [Reason::Acknowledged]);
        let status: ObjectStatus = serde_json::from_value(written).unwrap();
        assert_eq!(status.conditions.len(), 1);
    }

    #[test]
    fn what_is_known_is_read_whole() {
        let written = json!({
            "stage": "Tested", "phase": "Live", "waitingFor": waiting("Broker", "GoLive"),
            "conditions": [condition("Ready", "Acknowledged")],
        });
        let status: InstitutionStatus = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(status.stage, Some(Stage::Tested));
        assert_eq!(serde_json::to_value(status).unwrap(), written);
        let none: InstitutionStatus = serde_json::from_value(json!({"waitingFor": null})).unwrap();
        assert_eq!(none, InstitutionStatus::default());
    }
}
