//! Secrets, read by name and never listed; each is asked for again after a while, so that a rotated key is noticed. A value is sealed when it
//! is read: nothing that could be used is kept.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use fiorino_crds::reference::SecretKeyReference;
use fiorino_kit::{clock::Clock, error::chain};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

use crate::{runtime::call::timely, seal::SealKey};

/// How long a Secret is believed: many institutions share a broker.
const FRESH: Duration = Duration::from_secs(30);
/// How long an absence is believed: whoever creates the Secret next wants to see it taken.
const ABSENT: Duration = Duration::from_secs(2);
/// How long a value that nobody asks for is kept.
const KEPT: Duration = Duration::from_hours(1);
/// Longest key; pagoPA's have 32 characters.
const VALUE_MAX_BYTES: usize = 512;

/// A value as it is sent, sealed; or why there is none.
pub type Value = Result<Vec<u8>, Problem>;

/// Why a reference to a Secret leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// There is no such Secret.
    NoSecret,
    /// The Secret has no such key.
    NoKey,
    /// The value is empty, too long or no visible ASCII.
    NoText,
    /// The value cannot be sealed.
    NotSealed,
    /// The operator may not read it.
    Forbidden,
    /// The API server does not answer.
    Unanswered,
}

/// Reads Secrets; cheap to clone.
#[derive(Clone)]
pub struct Secrets {
    client: Client,
    clock: Clock,
    seal_key: SealKey,
    read: Arc<Mutex<BTreeMap<Key, Read>>>,
}

/// Namespace and reference.
type Key = (String, SecretKeyReference);

#[derive(Clone)]
struct Read {
    /// Believed so long (monotonic).
    until: Duration,
    value: Value,
}

// === impl Problem ===

impl Problem {
    /// What is wrong and who can mend it.
    pub fn text(self, namespace: &str, reference: &SecretKeyReference) -> String {
        let SecretKeyReference { name, key } = reference;
        match self {
            Self::NoSecret => format!("Secret {namespace}/{name} does not exist: create it with the key {key}"),
            Self::NoKey => format!("Secret {namespace}/{name} has no key {key}: add it or name another"),
            Self::NoText => {
                format!("key {key} of Secret {namespace}/{name} is no subscription key: put the text that pagoPA gave")
            }
            Self::NotSealed => {
                format!(
                    "key {key} of Secret {namespace}/{name} cannot be sealed: compare the operator's seal public key"
                )
            }
            Self::Unanswered => format!("the API server does not answer for Secret {namespace}/{name}"),
            Self::Forbidden => {
                format!(
                    "the operator may not read Secret {namespace}/{name}: name it in subscriptionKeySecrets of its chart"
                )
            }
        }
    }
}

// === impl Secrets ===

impl Secrets {
    /// A reader without anything read yet, that seals to `seal_key`.
    pub fn new(client: Client, clock: Clock, seal_key: SealKey) -> Self {
        Self { client, clock, seal_key, read: Arc::default() }
    }

    /// The value that a reference of `namespace` names. While the API server does not answer, what it said before holds.
    ///
    /// # Errors
    /// [`Problem`]: there is none, and why.
    pub async fn value(&self, namespace: &str, reference: &SecretKeyReference) -> Value {
        let key = (namespace.to_owned(), reference.clone());
        let now = self.clock.monotonic();
        let known = self.read().get(&key).cloned();
        if let Some(Read { value, .. }) = known.as_ref().filter(|known| now < known.until) {
            return value.clone();
        }
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let value = match timely(api.get_opt(&reference.name)).await {
            Ok(Some(secret)) => self.sealed(&secret, &reference.key),
            Ok(None) => Err(Problem::NoSecret),
            Err(kube::Error::Api(status)) if status.is_forbidden() => Err(Problem::Forbidden),
            Err(error) => {
                tracing::warn!(namespace, secret = reference.name, error = chain(&error), "failed to read a secret");
                let value = known.map_or(Err(Problem::Unanswered), |known| known.value);
                return self.believe(key, value, now + ABSENT);
            }
        };
        let until = now + if value.is_ok() { FRESH } else { ABSENT };
        self.believe(key, value, until)
    }

    fn believe(&self, key: Key, value: Value, until: Duration) -> Value {
        let mut read = self.read();
        read.retain(|_, known| known.until + KEPT > until);
        read.insert(key, Read { until, value: value.clone() });
        value
    }

    fn sealed(&self, secret: &Secret, key: &str) -> Value {
        let data = secret.data.as_ref().and_then(|data| data.get(key)).ok_or(Problem::NoKey)?;
        let text = std::str::from_utf8(&data.0).map_err(|_| Problem::NoText)?.trim();
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if text.is_empty() || text.len() > VALUE_MAX_BYTES || !visible {
            return Err(Problem::NoText);
        }
        self.seal_key.seal(text.as_bytes()).map_err(|_| Problem::NotSealed)
    }

    fn read(&self) -> MutexGuard<'_, BTreeMap<Key, Read>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}
