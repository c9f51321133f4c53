//! What the operator remembers between reconciles, so that an unchanged institution costs no write. All of it can be lost: it is
//! found out again by asking tenant and the API server.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use fiorino_proto::config::v1::{ApplyBundleResponse, ApplyResult};
use prost::bytes::Bytes;
use serde_json::Value;

use super::bundle::Bundle;

/// How tenant answered the last bundle of an institution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// Of the bundle that was sent.
    pub digest: [u8; 32],
    /// Sequence of the institution's latest change.
    pub config_seq: i64,
    /// By uid, those that were not taken.
    pub verdicts: BTreeMap<String, Verdict>,
    /// The whole bundle was unreadable to tenant: its words.
    pub refused: Option<String>,
}

/// Why tenant did not take a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Hash of the resource that was judged: another one is not judged yet.
    pub hash: Bytes,
    /// What tenant decided.
    pub result: ApplyResult,
    /// In tenant's words: what is wrong, with whom it collides, the remedy.
    pub message: String,
}

/// By uid.
#[derive(Debug, Default)]
pub struct Memory {
    institutions: Mutex<HashMap<String, Remembered>>,
    written: Mutex<HashMap<String, Written>>,
    told: Mutex<HashMap<String, String>>,
}

/// A status whose writing gave the object `version`: until the watch brings that one, this is the object's status.
#[derive(Debug, Clone)]
struct Written {
    version: u64,
    status: Value,
}

// === impl Remembered ===

impl Remembered {
    /// From tenant's answer to a bundle.
    pub fn answered(bundle: &Bundle, response: &ApplyBundleResponse) -> Self {
        let hashes: BTreeMap<&str, &Bytes> =
            bundle.resources().map(|resource| (resource.uid.as_str(), &resource.hash)).collect();
        let refused = response.outcomes.iter().filter_map(|outcome| {
            let hash = (*hashes.get(outcome.uid.as_str())?).clone();
            match outcome.result() {
                ApplyResult::Applied | ApplyResult::Unchanged => None,
                result => Some((outcome.uid.clone(), Verdict { hash, result, message: outcome.message.clone() })),
            }
        });
        let verdicts = refused.collect();
        Self { digest: bundle.digest(), config_seq: response.config_seq, verdicts, refused: None }
    }

    /// Tenant could not read the bundle.
    pub fn unreadable(bundle: &Bundle, words: String) -> Self {
        Self { digest: bundle.digest(), config_seq: 0, verdicts: BTreeMap::new(), refused: Some(words) }
    }

    /// Whether tenant holds everything that was sent.
    pub fn settled(&self) -> bool {
        self.verdicts.is_empty() && self.refused.is_none()
    }

    /// Without the verdicts on what `bundle` does not hold as it was judged.
    #[must_use]
    pub fn still_about(mut self, bundle: &Bundle) -> Self {
        self.verdicts.retain(|uid, verdict| {
            bundle.resources().any(|resource| resource.uid == *uid && resource.hash == verdict.hash)
        });
        if self.digest != bundle.digest() {
            self.refused = None;
        }
        self
    }
}

// === impl Memory ===

impl Memory {
    /// How tenant answered the last bundle of an institution.
    pub fn remembered(&self, uid: &str) -> Option<Remembered> {
        lock(&self.institutions).get(uid).cloned()
    }

    /// Notes tenant's answer.
    pub fn remember(&self, uid: &str, answer: Remembered) {
        lock(&self.institutions).insert(uid.to_owned(), answer);
    }

    /// Tenant's store is another one: what was answered before is asked again.
    pub fn forget_answers(&self) {
        lock(&self.institutions).clear();
    }

    /// Notes a status; `version` is that of the object once it was written.
    pub fn wrote(&self, uid: &str, status: Value, version: &str) {
        if let Ok(version) = version.parse() {
            lock(&self.written).insert(uid.to_owned(), Written { version, status });
        }
    }

    /// The status of an object that was read at `version`, where the watch has not brought back yet what was written. (Versions of one
    /// object are numbers that grow: Kubernetes API conventions, since 1.35.)
    pub fn written(&self, uid: &str, version: &str) -> Option<Value> {
        let read: u64 = version.parse().ok()?;
        let mut written = lock(&self.written);
        let entry = written.get(uid)?;
        if read < entry.version {
            return Some(entry.status.clone());
        }
        written.remove(uid);
        None
    }

    /// Whether this is news about an object that cannot be read.
    pub fn is_news(&self, uid: &str, words: &str) -> bool {
        lock(&self.told).insert(uid.to_owned(), words.to_owned()).is_none_or(|before| before != words)
    }

    /// The object is gone.
    pub fn forget(&self, uid: &str) {
        lock(&self.institutions).remove(uid);
        lock(&self.written).remove(uid);
        lock(&self.told).remove(uid);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
