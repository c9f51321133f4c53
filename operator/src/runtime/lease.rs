//! Who leads: one holder of a Kubernetes Lease at a time.
//!
//! Clocks of different machines are never compared: a candidate measures with its own monotonic clock how long the Lease has not
//! changed. A holder stops before others may take over: it gives up when it could not renew for [`RENEW_DEADLINE`], and whatever it
//! writes asks its [`Term`] first, because a process that was stopped and wakes has not been told yet.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use fiorino_kit::{clock::Clock, error::chain};
use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease as Object, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, api::PostParams};
use tokio_util::sync::CancellationToken;

/// How long a Lease is valid after its last renewal.
pub const DURATION: Duration = Duration::from_secs(15);
const RENEW_INTERVAL: Duration = Duration::from_secs(5);
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// Result of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the process no longer leads.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else holds the Lease, or it was deleted.
    #[error("the lease {name} was taken by {holder:?}")]
    Taken {
        /// Name of the Lease.
        name: String,
        /// Who holds it now; empty when it is gone.
        holder: String,
    },
    /// The API server did not take a renewal in time.
    #[error("failed to renew the lease {name} for {} s", RENEW_DEADLINE.as_secs())]
    NotRenewed {
        /// Name of the Lease.
        name: String,
        /// The last failure.
        source: Failure,
    },
}

/// Why a call about the Lease failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The API server refused it or could not be reached.
    #[error("failed to call the api server")]
    Call(#[from] kube::Error),
    /// The API server did not answer.
    #[error("the api server did not answer for {} s", CALL_TIMEOUT.as_secs())]
    Silence(#[from] tokio::time::error::Elapsed),
}

/// One candidate for a Lease.
#[derive(Debug, Clone)]
pub struct Election {
    api: Api<Object>,
    name: String,
    identity: String,
    clock: Clock,
    term: Term,
}

/// How long the holder may write without asking: always less than others wait before they take over. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Term {
    clock: Clock,
    /// Monotonic, in milliseconds; a moment before the Lease was renewed.
    renewed_at: Arc<AtomicU64>,
}

/// What the holder holds: tenant's fence is asked for with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// `metadata.name` of the Lease.
    pub name: String,
    /// `metadata.uid` of the Lease: another one in a rebuilt cluster.
    pub uid: String,
    /// How often the holder changed.
    pub transitions: i64,
    /// When the Lease was made, by the API server's clock: how old the cluster is, as far as this platform goes.
    pub created_at: Option<Timestamp>,
}

/// A state of the Lease and when it was first seen.
#[derive(Debug)]
struct Observed {
    version: Option<String>,
    since: Duration,
}

// === impl Term ===

impl Term {
    fn new(clock: Clock) -> Self {
        Self { clock, renewed_at: Arc::default() }
    }

    /// Whether the Lease was not renewed for so long that somebody else may hold it soon.
    pub fn is_over(&self) -> bool {
        let renewed_at = Duration::from_millis(self.renewed_at.load(Ordering::Acquire));
        self.clock.monotonic().saturating_sub(renewed_at) >= RENEW_DEADLINE
    }

    fn renewed(&self, at: Duration) {
        self.renewed_at.store(u64::try_from(at.as_millis()).unwrap_or_default(), Ordering::Release);
    }
}

// === impl Election ===

impl Election {
    /// A candidate named `identity`, which no other process has, for the Lease `name` in `namespace`.
    pub fn new(client: Client, namespace: &str, name: &str, identity: String, clock: Clock) -> Self {
        let term = Term::new(clock.clone());
        Self { api: Api::namespaced(client, namespace), name: name.to_owned(), identity, clock, term }
    }

    /// Whether this process, once it leads, may write.
    pub fn term(&self) -> Term {
        self.term.clone()
    }

    /// Waits until this process leads; `None` when `token` is cancelled first.
    pub async fn acquire(&self, token: &CancellationToken) -> Option<Held> {
        let mut observed = Observed { version: None, since: self.clock.monotonic() };
        loop {
            let asked_at = self.clock.monotonic();
            match timely(self.try_acquire(&mut observed)).await {
                Ok(Some(held)) => {
                    self.term.renewed(asked_at);
                    tracing::info!(
                        lease = self.name,
                        identity = self.identity,
                        transitions = held.transitions,
                        "leading"
                    );
                    return Some(held);
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(lease = self.name, error = chain(&error), "failed to try for the lease"),
            }
            token.run_until_cancelled(tokio::time::sleep(RETRY_INTERVAL)).await?;
        }
    }

    /// Renews until `token` is cancelled, then gives the Lease free.
    ///
    /// # Errors
    /// When the process no longer leads: whatever it was doing must stop at once.
    pub async fn hold(&self, held: &Held, token: &CancellationToken) -> Result<()> {
        let mut renewed_at = self.clock.monotonic();
        let mut pause = RENEW_INTERVAL;
        while token.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
            let asked_at = self.clock.monotonic();
            match timely(self.renew(held)).await {
                Ok(None) => {
                    self.term.renewed(asked_at);
                    renewed_at = asked_at;
                    pause = RENEW_INTERVAL;
                }
                Ok(Some(holder)) => return Err(Error::Taken { name: self.name.clone(), holder }),
                Err(source) if self.clock.monotonic().saturating_sub(renewed_at) >= RENEW_DEADLINE => {
                    return Err(Error::NotRenewed { name: self.name.clone(), source });
                }
                Err(error) => {
                    tracing::warn!(lease = self.name, error = chain(&error), "failed to renew the lease");
                    pause = RETRY_INTERVAL;
                }
            }
        }
        if let Err(error) = timely(self.release(held)).await {
            tracing::warn!(lease = self.name, error = chain(&error), "failed to give the lease free");
        }
        Ok(())
    }

    /// Takes the Lease if it is free, was given free, or did not change for as long as it says.
    async fn try_acquire(&self, observed: &mut Observed) -> kube::Result<Option<Held>> {
        let Some(mut lease) = self.api.get_opt(&self.name).await? else {
            let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
            let lease = Object { metadata, spec: Some(self.spec(0)) };
            return won(self.api.create(&PostParams::default(), &lease).await);
        };
        if lease.metadata.resource_version != observed.version {
            *observed = Observed { version: lease.metadata.resource_version.clone(), since: self.clock.monotonic() };
        }
        let spec = lease.spec.take().unwrap_or_default();
        let free = spec.holder_identity.as_deref().unwrap_or_default().is_empty();
        let valid_for = Duration::from_secs(spec.lease_duration_seconds.unwrap_or_default().unsigned_abs().into());
        if !free && self.clock.monotonic().saturating_sub(observed.since) < valid_for {
            return Ok(None);
        }
        lease.spec = Some(self.spec(spec.lease_transitions.unwrap_or_default().saturating_add(1)));
        won(self.api.replace(&self.name, &PostParams::default(), &lease).await)
    }

    /// Renews; the holder's name when it is somebody else.
    async fn renew(&self, held: &Held) -> kube::Result<Option<String>> {
        match self.mine(held).await? {
            Ok(mut lease) => {
                let spec = lease.spec.get_or_insert_default();
                spec.renew_time = Some(MicroTime(self.clock.now()));
                self.api.replace(&self.name, &PostParams::default(), &lease).await?;
                Ok(None)
            }
            Err(holder) => Ok(Some(holder)),
        }
    }

    async fn release(&self, held: &Held) -> kube::Result<()> {
        if let Ok(mut lease) = self.mine(held).await? {
            let spec = lease.spec.get_or_insert_default();
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
            self.api.replace(&self.name, &PostParams::default(), &lease).await?;
            tracing::info!(lease = self.name, "gave the lease free");
        }
        Ok(())
    }

    /// The Lease as this process holds it, else who does.
    async fn mine(&self, held: &Held) -> kube::Result<Result<Object, String>> {
        let Some(lease) = self.api.get_opt(&self.name).await? else { return Ok(Err(String::new())) };
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
        let same = holder == self.identity && lease.metadata.uid.as_deref() == Some(held.uid.as_str());
        Ok(if same { Ok(lease) } else { Err(holder) })
    }

    fn spec(&self, transitions: i32) -> LeaseSpec {
        let now = MicroTime(self.clock.now());
        LeaseSpec {
            acquire_time: Some(now.clone()),
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            lease_transitions: Some(transitions),
            renew_time: Some(now),
            ..LeaseSpec::default()
        }
    }
}

/// A write of the Lease that lost against another candidate's is no error.
fn won(written: kube::Result<Object>) -> kube::Result<Option<Held>> {
    match written {
        Ok(lease) => {
            let transitions = lease.spec.and_then(|spec| spec.lease_transitions).unwrap_or_default();
            let ObjectMeta { name, uid, creation_timestamp, .. } = lease.metadata;
            let created_at = creation_timestamp.map(|created| created.0);
            let (name, uid) = (name.unwrap_or_default(), uid.unwrap_or_default());
            Ok(Some(Held { name, uid, transitions: transitions.into(), created_at }))
        }
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => Ok(None),
        Err(error) => Err(error),
    }
}

async fn timely<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
    Ok(tokio::time::timeout(CALL_TIMEOUT, call).await??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_ends_before_others_may_take_over() {
        let (clock, hand) = Clock::manual("2026-11-25T10:00:00Z".parse().unwrap());
        let term = Term::new(clock.clone());
        hand.advance(Duration::from_mins(1));
        term.renewed(clock.monotonic());
        hand.advance(RENEW_DEADLINE.saturating_sub(Duration::from_millis(1)));
        assert!(!term.is_over());
        hand.advance(Duration::from_millis(1));
        assert!(term.is_over());
        term.renewed(clock.monotonic());
        assert!(!term.is_over());
        assert!(RENEW_DEADLINE + CALL_TIMEOUT < DURATION);
    }
}
