//! Allowances that are remembered, by network: a flood from many addresses fills no memory, and takes nothing from who is known.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use governor::{
    nanos::Nanos,
    state::{StateStore, keyed::ShrinkableKeyedStateStore},
};
use ipnet::IpNet;

/// Bits that the sharers of one allowance have in common, of IPv4 and of IPv6, from the narrowest network to the widest. Who has an IPv6
/// address has 2^64 of them; a site has a /48, a provider a /32. The last is the whole: it is shared when all else is full.
const PREFIXES: [[u8; 2]; 4] = [[32, 64], NEIGHBOURS, [16, 32], [0, 0]];
/// Of who is near each other, and nobody in particular.
pub(super) const NEIGHBOURS: [u8; 2] = [24, 48];
/// Subscribers that are remembered, and networks of each wider kind: as many as there are IPv4 networks of 16 bits, or more.
const REMEMBERED_MAX: usize = 100_000;

/// Until when each network has used its allowance. Those that are not known while there is no room share one with their neighbours, of as
/// narrow a network as there is room for.
#[derive(Debug)]
pub(super) struct Networks {
    most: usize,
    used: Mutex<[HashMap<IpNet, Nanos>; PREFIXES.len()]>,
}

/// The network of so many bits that an address is in.
pub(super) fn network(address: IpAddr, [v4, v6]: [u8; 2]) -> IpNet {
    let bits = if address.is_ipv4() { v4 } else { v6 };
    IpNet::new(address, bits).map_or_else(|_| address.into(), |network| network.trunc())
}

// === impl Networks ===

impl Networks {
    pub(super) fn new() -> Self {
        Self::bounded(REMEMBERED_MAX)
    }

    fn bounded(most: usize) -> Self {
        Self { most, used: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, [HashMap<IpNet, Nanos>; PREFIXES.len()]> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateStore for Networks {
    type Key = IpAddr;

    fn measure_and_replace<T, F, E>(&self, visitor: &IpAddr, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut used = self.lock();
        let whole = PREFIXES.len() - 1;
        let sharers = PREFIXES.map(|bits| network(*visitor, bits));
        let fits = |at: &usize| *at == whole || used[*at].len() < self.most || used[*at].contains_key(&sharers[*at]);
        let at = (0..whole).find(fits).unwrap_or(whole);
        let (outcome, until) = measure(used[at].get(&sharers[at]).copied())?;
        used[at].insert(sharers[at], until);
        Ok(outcome)
    }
}

impl ShrinkableKeyedStateStore<IpAddr> for Networks {
    fn retain_recent(&self, drop_below: Nanos) {
        self.lock().iter_mut().for_each(|used| used.retain(|_, until| *until > drop_below));
    }

    fn shrink_to_fit(&self) {
        self.lock().iter_mut().for_each(HashMap::shrink_to_fit);
    }

    fn len(&self) -> usize {
        self.lock().iter().map(HashMap::len).sum()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv6Addr, num::NonZeroU32, time::Duration};

    use governor::{Quota, RateLimiter, clock::FakeRelativeClock, middleware::NoOpMiddleware, nanos::Nanos};
    use rstest::rstest;

    use super::*;

    /// Of each kind.
    const ROOM: usize = 4;

    type Limiter = RateLimiter<IpAddr, Networks, FakeRelativeClock, NoOpMiddleware<Nanos>>;

    /// Two questions a minute, and room for few.
    fn limiter() -> (Limiter, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let quota = Quota::per_minute(NonZeroU32::new(2).unwrap());
        (RateLimiter::new(quota, Networks::bounded(ROOM), clock.clone()), clock)
    }

    fn ipv4(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[rstest]
    #[case::of_one_site(64)]
    #[case::of_one_provider(80)]
    #[case::of_many_providers(96)]
    fn a_flood_takes_nothing_from_who_is_known_nor_from_newcomers_elsewhere(#[case] bits: u32) {
        let (limiter, clock) = limiter();
        let known = ipv4("192.0.2.1");
        limiter.check_key(&known).unwrap();
        let flood = |nth: u128| IpAddr::from(Ipv6Addr::from_bits((0x2001_0db8 << 96) + (nth << bits)));
        let served = (0..1_000).filter(|&nth| limiter.check_key(&flood(nth)).is_ok()).count();
        assert!(served <= 3 * ROOM + 2, "{served} of the flood were served");
        assert!(limiter.len() <= 3 * ROOM + 2, "{} are remembered", limiter.len());
        limiter.check_key(&known).unwrap();
        limiter.check_key(&known).unwrap_err();
        for newcomer in ["198.51.100.1", "198.51.100.2"] {
            limiter.check_key(&ipv4(newcomer)).unwrap();
        }
        limiter.check_key(&flood(1_001)).unwrap_err();
        clock.advance(Duration::from_mins(10));
        limiter.retain_recent();
        limiter.shrink_to_fit();
        assert!(limiter.is_empty());
    }

    #[test]
    fn newcomers_share_with_their_neighbours_alone() {
        let (limiter, _clock) = limiter();
        for known in ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"] {
            limiter.check_key(&ipv4(known)).unwrap();
        }
        let told = ["203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.114.1"];
        assert_eq!(told.map(|newcomer| limiter.check_key(&ipv4(newcomer)).is_ok()), [true, true, false, true]);
    }
}
