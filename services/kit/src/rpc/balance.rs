//! Which connection a call takes.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::Uri;
use hyper::client::conn::http2::SendRequest;
use rustls_pki_types::ServerName;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;

use super::{Error, Result, connection};
use crate::{clock::Clock, tls::Identity};

/// How often names are looked up and certificates reloaded.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(5);
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// Addresses of one channel; more are left out.
const ADDRESSES_MAX: usize = 128;

/// How long a connection on which a call hung or was refused comes last.
const AVOIDED: Duration = Duration::from_secs(1);

/// `host:port` of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    authority: String,
}

/// Whom every connection must reach, and as whom.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) server_name: ServerName<'static>,
    pub(super) identity: Identity,
}

/// The connections of a channel.
#[derive(Debug)]
pub(super) struct Balancer {
    endpoints: Vec<Endpoint>,
    target: Arc<Target>,
    clock: Clock,
    slots: Mutex<BTreeMap<SocketAddr, Member>>,
    /// A connection became live, or there are other addresses.
    changed: Notify,
    lookup_trouble: Mutex<Option<String>>,
}

#[derive(Debug)]
struct Member {
    slot: Arc<Slot>,
    token: CancellationToken,
}

/// One address and, while it lives, its connection.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) address: SocketAddr,
    state: Mutex<State>,
    in_work: AtomicUsize,
    /// The connection takes no more calls.
    pub(super) broken: Notify,
}

#[derive(Debug, Default)]
struct State {
    sender: Option<SendRequest<Body>>,
    /// Counts connections, so that a call on an old one cannot break a new one.
    generation: u64,
    trouble: Option<String>,
    avoided_until: Duration,
}

/// A connection chosen for one call. Dropped without a word (the caller gave up) it counts as hung.
#[derive(Debug)]
pub(super) struct Chosen {
    slot: Arc<Slot>,
    sender: SendRequest<Body>,
    generation: u64,
    clock: Clock,
    settled: bool,
}

// === impl Endpoint ===

impl Endpoint {
    pub(super) fn parse(endpoint: &str) -> Result<Self> {
        let refused = || Error::Endpoint { endpoint: endpoint.to_owned() };
        let uri: Uri = endpoint.parse().map_err(|_| refused())?;
        let authority = uri.authority().filter(|authority| authority.port_u16().is_some()).ok_or_else(refused)?;
        if uri.scheme_str() != Some("https") || !matches!(uri.path(), "" | "/") || authority.as_str().contains('@') {
            return Err(refused());
        }
        Ok(Self { authority: authority.to_string() })
    }

    async fn addresses(&self) -> std::io::Result<Vec<SocketAddr>> {
        let looked_up = tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host(&self.authority)).await??;
        Ok(looked_up.collect())
    }
}

// === impl Balancer ===

impl Balancer {
    /// Starts looking up and connecting in the background, until `token` is cancelled.
    pub(super) fn start(endpoints: Vec<Endpoint>, target: Target, clock: Clock, token: CancellationToken) -> Arc<Self> {
        let balancer = Arc::new(Self {
            endpoints,
            target: Arc::new(target),
            clock,
            slots: Mutex::default(),
            changed: Notify::new(),
            lookup_trouble: Mutex::default(),
        });
        tokio::spawn(Arc::clone(&balancer).keep_addresses(token));
        balancer
    }

    /// The live connection with the fewest calls in work, those to be avoided last; waits until there is one.
    pub(super) async fn choose(&self) -> Chosen {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(chosen) = self.choose_now() {
                return chosen;
            }
            changed.await;
        }
    }

    /// Why no connection lives, for the caller's error.
    pub(super) fn trouble(&self) -> String {
        let mut troubles: Vec<_> = lock(&self.lookup_trouble).iter().cloned().collect();
        troubles.extend(lock(&self.slots).values().map(|member| {
            let trouble = lock(&member.slot.state).trouble.clone();
            format!("{}: {}", member.slot.address, trouble.as_deref().unwrap_or("not connected yet"))
        }));
        troubles.join("; ")
    }

    pub(super) fn notify(&self) {
        self.changed.notify_waiters();
    }

    fn choose_now(&self) -> Option<Chosen> {
        let now = self.clock.monotonic();
        let slots = lock(&self.slots);
        let (_, slot, (sender, generation)) = slots
            .values()
            .filter_map(|member| {
                let state = lock(&member.slot.state);
                let sender = state.sender.clone().filter(|sender| !sender.is_closed())?;
                let sender = (sender, state.generation);
                // Of those to be avoided the one that failed longest ago.
                let avoided = if state.avoided_until > now { state.avoided_until } else { Duration::ZERO };
                let rank = (avoided, member.slot.in_work.load(Ordering::Relaxed), rand::random::<u8>());
                Some((rank, &member.slot, sender))
            })
            .min_by_key(|(rank, ..)| *rank)?;
        slot.in_work.fetch_add(1, Ordering::Relaxed);
        Some(Chosen { slot: Arc::clone(slot), sender, generation, clock: self.clock.clone(), settled: false })
    }

    async fn keep_addresses(self: Arc<Self>, token: CancellationToken) {
        loop {
            self.look_up(&token).await;
            if let Err(error) = self.target.identity.refresh().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "failed to reload certificates");
            }
            if token.run_until_cancelled(tokio::time::sleep(LOOKUP_INTERVAL)).await.is_none() {
                return;
            }
        }
    }

    /// Connects to new addresses and leaves those that are gone; when a name cannot be looked up everything stays as it is.
    async fn look_up(self: &Arc<Self>, token: &CancellationToken) {
        let mut addresses = Vec::new();
        for endpoint in &self.endpoints {
            match endpoint.addresses().await {
                Ok(found) => addresses.extend(found),
                Err(error) => {
                    tracing::debug!(endpoint = endpoint.authority, error = %error, "failed to look up an endpoint");
                    *lock(&self.lookup_trouble) = Some(format!("{}: {error}", endpoint.authority));
                    let slots = lock(&self.slots);
                    addresses.extend(slots.keys());
                }
            }
        }
        addresses.truncate(ADDRESSES_MAX);
        let mut slots = lock(&self.slots);
        slots.retain(|address, member| {
            let kept = addresses.contains(address);
            if !kept {
                member.token.cancel();
            }
            kept
        });
        for address in addresses {
            slots.entry(address).or_insert_with(|| self.add(address, token.child_token()));
        }
    }

    fn add(self: &Arc<Self>, address: SocketAddr, token: CancellationToken) -> Member {
        let slot =
            Arc::new(Slot { address, state: Mutex::default(), in_work: AtomicUsize::new(0), broken: Notify::new() });
        let keep = connection::keep(Arc::clone(self), Arc::clone(&slot), Arc::clone(&self.target));
        let until = token.clone();
        tokio::spawn(async move { until.run_until_cancelled(keep).await });
        Member { slot, token }
    }
}

// === impl Slot ===

impl Slot {
    pub(super) fn connected(&self, sender: SendRequest<Body>) {
        let mut state = lock(&self.state);
        *state = State { sender: Some(sender), generation: state.generation + 1, ..State::default() };
    }

    pub(super) fn disconnected(&self, trouble: String) {
        let mut state = lock(&self.state);
        state.sender = None;
        state.trouble = Some(trouble);
    }
}

// === impl Chosen ===

impl Chosen {
    pub(super) fn sender(&mut self) -> &mut SendRequest<Body> {
        &mut self.sender
    }

    /// The call got its answer.
    pub(super) fn settle(mut self) {
        self.settled = true;
    }

    /// The call was answered that the replica cannot work: others first, for a while.
    pub(super) fn avoid(mut self) {
        self.settled = true;
        self.put_last();
    }

    /// The connection takes no more calls: another one is made.
    pub(super) fn broke(mut self) {
        self.settled = true;
        let mut state = lock(&self.slot.state);
        if state.generation == self.generation && state.sender.take().is_some() {
            self.slot.broken.notify_one();
        }
    }

    fn put_last(&self) {
        lock(&self.slot.state).avoided_until = self.clock.monotonic().saturating_add(AVOIDED);
    }
}

impl Drop for Chosen {
    fn drop(&mut self) {
        self.slot.in_work.fetch_sub(1, Ordering::Relaxed);
        if !self.settled {
            self.put_last();
        }
    }
}

/// What the locks guard is whole between statements, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("https://tenant:8443", Some("tenant:8443"))]
    #[case("https://127.0.0.1:1/", Some("127.0.0.1:1"))]
    #[case("https://[::1]:8443", Some("[::1]:8443"))]
    #[case("http://tenant:8443", None)]
    #[case("https://tenant", None)]
    #[case("https://tenant:8443/path", None)]
    #[case("https://user@tenant:8443", None)]
    #[case("tenant:8443", None)]
    #[case("", None)]
    fn endpoints_are_https_with_a_port(#[case] text: &str, #[case] authority: Option<&str>) {
        let parsed = Endpoint::parse(text).ok().map(|endpoint| endpoint.authority);
        assert_eq!(parsed.as_deref(), authority);
    }
}
