//! The connections of a listener: how many there are, how far each is, and which goes when there is no room.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

/// What a listener holds, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Connections open at once; when all are taken the one that has done the least for the longest time goes.
    pub connections: usize,
    /// For the TLS handshake, where there is one.
    pub handshake_within: Duration,
    /// Between two requests, or before the first: proxies keep idle connections for a minute.
    pub idle: Duration,
    /// For the head of a request, from its first byte.
    pub head_within: Duration,
    /// For an answer to be taken by the peer, once it no longer takes all of it at once.
    pub send_within: Duration,
}

/// The open connections; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Connections {
    slots: Arc<Semaphore>,
    open: Arc<Mutex<HashMap<u64, Arc<Progress>>>>,
    clock: Clock,
    next: Arc<AtomicU64>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    id: u64,
    connections: Connections,
    pub(super) progress: Arc<Progress>,
    _permit: OwnedSemaphorePermit,
}

/// How far a connection is.
#[derive(Debug)]
pub struct Progress {
    /// Class and time: the lowest goes first.
    rank: AtomicU64,
    /// A head is whole and its answer is not yet begun.
    in_request: AtomicBool,
    whole_heads: AtomicU64,
    evicted: CancellationToken,
    clock: Clock,
}

/// No whole request so far: handshakes, silence, heads and bodies that trickle.
const UNPROVEN: u64 = 0;
/// Waits for its next request.
const WAITING: u64 = 1;
/// A request is being answered: never evicted.
const BUSY: u64 = 2;
/// Milliseconds take the bits below the class.
const CLASS_SHIFT: u32 = 56;

// === impl Bounds ===

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 1_024,
            handshake_within: Duration::from_secs(5),
            idle: Duration::from_secs(75),
            head_within: Duration::from_secs(10),
            send_within: Duration::from_secs(10),
        }
    }
}

// === impl Connections ===

impl Connections {
    pub(super) fn new(bounds: &Bounds, clock: Clock) -> Self {
        let slots = Arc::new(Semaphore::new(bounds.connections));
        Self { slots, open: Arc::default(), clock, next: Arc::default() }
    }

    /// Room for one more. Without any, somebody else goes; while everybody is being answered, it is waited for.
    pub(super) async fn admit(&self) -> (Slot, bool) {
        let free = Arc::clone(&self.slots).try_acquire_owned().ok();
        let evicted = free.is_none() && self.evict();
        let permit = match free {
            Some(permit) => permit,
            None => Arc::clone(&self.slots).acquire_owned().await.expect("it is never closed"),
        };
        let progress = Arc::new(Progress::new(self.clock.clone()));
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(id, Arc::clone(&progress));
        (Slot { id, connections: self.clone(), progress, _permit: permit }, evicted)
    }

    /// Ends the connection that has done the least for the longest time; false when everybody is being answered.
    pub(super) fn evict(&self) -> bool {
        let open = self.lock();
        let idle = open.values().filter(|progress| !progress.evicted.is_cancelled());
        let longest = idle.min_by_key(|progress| progress.rank.load(Ordering::Relaxed));
        let Some(longest) = longest.filter(|progress| progress.rank.load(Ordering::Relaxed) >> CLASS_SHIFT < BUSY)
        else {
            return false;
        };
        longest.evicted.cancel();
        true
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Progress>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Slot ===

impl Drop for Slot {
    fn drop(&mut self) {
        self.connections.lock().remove(&self.id);
    }
}

// === impl Progress ===

impl Progress {
    fn new(clock: Clock) -> Self {
        let progress = Self {
            rank: AtomicU64::new(0),
            in_request: AtomicBool::new(false),
            whole_heads: AtomicU64::new(0),
            evicted: CancellationToken::new(),
            clock,
        };
        progress.rank(UNPROVEN);
        progress
    }

    /// A request is whole, with its body.
    pub fn busy(&self) {
        self.rank(BUSY);
    }

    pub(super) fn head_is_whole(&self) {
        self.in_request.store(true, Ordering::Relaxed);
        self.whole_heads.fetch_add(1, Ordering::Relaxed);
    }

    /// An answer is on its way. Who never sent a whole request stays where it was.
    pub(super) fn answered(&self) {
        self.in_request.store(false, Ordering::Relaxed);
        if self.rank.load(Ordering::Relaxed) >> CLASS_SHIFT == BUSY {
            self.rank(WAITING);
        }
    }

    pub(super) fn is_in_request(&self) -> bool {
        self.in_request.load(Ordering::Relaxed)
    }

    pub(super) fn whole_heads(&self) -> u64 {
        self.whole_heads.load(Ordering::Relaxed)
    }

    /// Somebody else needs the room.
    pub(super) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }

    fn rank(&self, class: u64) {
        let now = u64::try_from(self.clock.monotonic().as_millis()).unwrap_or(u64::MAX);
        self.rank.store(class << CLASS_SHIFT | now & ((1 << CLASS_SHIFT) - 1), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(room: usize) -> (Connections, crate::clock::ManualClock) {
        let (clock, hand) = Clock::manual(jiff::Timestamp::UNIX_EPOCH);
        (Connections::new(&Bounds { connections: room, ..Bounds::default() }, clock), hand)
    }

    #[tokio::test]
    async fn who_has_done_the_least_for_the_longest_time_goes() {
        let (connections, hand) = connections(3);
        let (served, _) = connections.admit().await;
        served.progress.busy();
        served.progress.answered();
        hand.advance(Duration::from_secs(1));
        let (silent, _) = connections.admit().await;
        hand.advance(Duration::from_secs(1));
        let (newer, evicted) = connections.admit().await;
        assert!(!evicted, "there was room");
        assert!(connections.evict());
        assert!(silent.progress.evicted.is_cancelled(), "the oldest of those that were never served");
        assert!(connections.evict());
        assert!(newer.progress.evicted.is_cancelled() && !served.progress.evicted.is_cancelled());
        assert!(connections.evict());
        assert!(served.progress.evicted.is_cancelled());
    }

    #[tokio::test]
    async fn who_is_being_answered_stays_and_others_wait() {
        let (connections, _hand) = connections(1);
        let (busy, _) = connections.admit().await;
        busy.progress.busy();
        assert!(!connections.evict());
        let waiting = connections.admit();
        tokio::pin!(waiting);
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        drop(busy);
        let (_slot, evicted) = waiting.await;
        assert!(!evicted);
        assert_eq!(connections.lock().len(), 1);
    }
}
