//! Names held by one replica at a time, spread fairly over those that live, by the database's time.
//!
//! Table, in each service's own migration:
//! ```sql
//! create table lease (name text primary key, holder text not null, expires_at timestamptz not null)
//! ```
//!
//! Beside the names themselves each replica keeps a row `member/<set>/<holder>`, so that the others can count who lives. Every third of
//! `ttl` a replica renews what it has, gives up what exceeds its share (first within the process, one round later in the table, so that
//! work on it can end), and takes free names up to its share. What could not be renewed is given up by the process's own clock before the
//! database lets somebody else have it.

mod store;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sqlx::PgPool;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::store::Store;
use crate::clock::Clock;

/// Rounds within one `ttl`.
const ROUNDS_PER_TTL: u32 = 3;

/// The leases of one kind of work, as this replica sees them; cheap to clone.
#[derive(Debug, Clone)]
pub struct LeaseSet {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    ttl: Duration,
    clock: Clock,
    /// What is held, and until when by [`Clock::monotonic`].
    leases: Mutex<BTreeMap<String, Duration>>,
    told: watch::Sender<Arc<[String]>>,
}

// === impl LeaseSet ===

impl LeaseSet {
    /// A set that wants its share of `names` for `holder`, a name that no other process has (e.g. replica and boot id).
    ///
    /// All replicas of a service give the same names; a set is known by the first one. When a holder dies, its names are taken by others
    /// within `ttl` and a third of it.
    pub fn new(pool: PgPool, holder: impl Into<String>, names: Vec<String>, ttl: Duration) -> Self {
        let shared = Shared {
            store: Store::new(pool, holder.into(), names, ttl),
            ttl,
            clock: Clock::system(),
            leases: Mutex::default(),
            told: watch::Sender::new(Arc::from([])),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Takes, renews and hands over until `token` is cancelled, then releases everything. Cancel it after the work has stopped.
    pub async fn run(&self, token: CancellationToken) {
        let mut leaving = Vec::new();
        while !token.is_cancelled() {
            let round = self.round(&mut leaving);
            match token.run_until_cancelled(tokio::time::timeout(self.shared.ttl, round)).await {
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(error))) => {
                    crate::store::note(&error);
                    tracing::warn!(error = &error as &dyn std::error::Error, "failed to renew leases");
                }
                Some(Err(_)) => tracing::warn!("failed to renew leases in time"),
                None => break,
            }
            self.tell();
            token.run_until_cancelled(self.pause()).await;
            self.tell();
        }
        self.shared.lock().clear();
        self.tell();
        match tokio::time::timeout(self.shared.ttl, self.shared.store.release_all()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(error = &error as &dyn std::error::Error, "failed to release leases"),
            Err(_) => tracing::warn!("failed to release leases in time"),
        }
    }

    /// What this replica holds now, sorted.
    pub fn held(&self) -> Vec<String> {
        let now = self.shared.clock.monotonic();
        let leases = self.shared.lock();
        leases.iter().filter(|(_, until)| **until > now).map(|(name, _)| name.clone()).collect()
    }

    /// Whether this replica holds `name` now.
    pub fn holds(&self, name: &str) -> bool {
        let now = self.shared.clock.monotonic();
        self.shared.lock().get(name).is_some_and(|until| *until > now)
    }

    /// Tells each change of [`LeaseSet::held`], an expiry within a third of `ttl`.
    pub fn changed(&self) -> watch::Receiver<Arc<[String]>> {
        self.shared.told.subscribe()
    }

    /// One round; `leaving` is what was given up within the process in the round before.
    async fn round(&self, leaving: &mut Vec<String>) -> sqlx::Result<()> {
        let shared = &self.shared;
        if !leaving.is_empty() {
            shared.store.release(leaving).await?;
            leaving.clear();
        }
        // Read before the statement: the database's expiry is never earlier than this process's.
        let until = shared.clock.monotonic().saturating_add(shared.ttl);
        let renewed = shared.store.renew().await?;
        let share = renewed.share;
        let mut held = renewed.held;
        held.sort();
        *leaving = held.split_off(share.min(held.len()));
        shared.hold(held.iter().cloned(), until);
        if held.len() < share {
            let until = shared.clock.monotonic().saturating_add(shared.ttl);
            let taken = shared.store.take(share - held.len()).await?;
            shared.lock().extend(taken.into_iter().map(|name| (name, until)));
        }
        Ok(())
    }

    fn tell(&self) {
        let held: Arc<[String]> = self.held().into();
        self.shared.told.send_if_modified(|told| {
            let changed = *told != held;
            *told = held;
            changed
        });
    }

    /// Until the next round, spread so that replicas do not fall into step.
    async fn pause(&self) {
        let round = self.shared.ttl / ROUNDS_PER_TTL;
        tokio::time::sleep(round.mul_f64(rand::random_range(0.8..1.0))).await;
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Duration>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(&self, names: impl Iterator<Item = String>, until: Duration) {
        *self.lock() = names.map(|name| (name, until)).collect();
    }
}
