//! Secrets, read by name and never listed; each is asked for again after a while, so that a rotated key is noticed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use fiorino_crds::reference::SecretKeyReference;
use fiorino_kit::clock::Clock;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use secrecy::SecretString;

/// How long a Secret is believed: many institutions share a broker.
const FRESH: Duration = Duration::from_secs(30);
/// How long an absence is believed: whoever creates the Secret next wants to see it taken.
const ABSENT: Duration = Duration::from_secs(2);
/// Longest key; pagoPA's have 32 characters.
const VALUE_MAX_BYTES: usize = 512;

/// A value, or in words why there is none.
pub type Value = Result<SecretString, Problem>;

/// Why a reference to a Secret leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// There is no such Secret.
    NoSecret,
    /// The Secret has no such key.
    NoKey,
    /// The value is empty, too long or no visible ASCII.
    NoText,
    /// The operator may not read it.
    Forbidden,
}

/// Reads Secrets; cheap to clone.
#[derive(Clone)]
pub struct Secrets {
    client: Client,
    clock: Clock,
    read: Arc<Mutex<HashMap<(String, String), Read>>>,
}

#[derive(Clone)]
struct Read {
    at: Duration,
    content: Content,
}

type Content = Result<Arc<Secret>, Problem>;

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
    /// A reader without anything read yet.
    pub fn new(client: Client, clock: Clock) -> Self {
        Self { client, clock, read: Arc::default() }
    }

    /// The value that a reference of `namespace` names.
    ///
    /// # Errors
    /// When the API server cannot be asked; what it answers is a [`Value`].
    pub async fn value(&self, namespace: &str, reference: &SecretKeyReference) -> kube::Result<Value> {
        let content = self.content(namespace, &reference.name).await?;
        Ok(content.and_then(|secret| {
            let data = secret.data.as_ref().and_then(|data| data.get(&reference.key)).ok_or(Problem::NoKey)?;
            let text = std::str::from_utf8(&data.0).map_err(|_| Problem::NoText)?.trim();
            let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
            if text.is_empty() || text.len() > VALUE_MAX_BYTES || !visible {
                return Err(Problem::NoText);
            }
            Ok(SecretString::from(text))
        }))
    }

    async fn content(&self, namespace: &str, name: &str) -> kube::Result<Content> {
        let key = (namespace.to_owned(), name.to_owned());
        let now = self.clock.monotonic();
        let known = self.read.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(Read { at, content }) = known {
            let believed = if content.is_ok() { FRESH } else { ABSENT };
            if now.saturating_sub(at) < believed {
                return Ok(content);
            }
        }
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let content = match api.get_opt(name).await {
            Ok(Some(secret)) => Ok(Arc::new(secret)),
            Ok(None) => Err(Problem::NoSecret),
            Err(kube::Error::Api(status)) if status.is_forbidden() => Err(Problem::Forbidden),
            Err(error) => return Err(error),
        };
        let read = Read { at: now, content: content.clone() };
        self.read.lock().unwrap_or_else(PoisonError::into_inner).insert(key, read);
        Ok(content)
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}
