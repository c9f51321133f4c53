//! Who asks, and how often: by the visitor's address.

mod networks;

use std::{net::IpAddr, num::NonZeroU32, sync::Once, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
};
use http::HeaderMap;
use ipnet::IpNet;

use self::networks::{NEIGHBOURS, Networks, network};

/// Pages without a notice are cheap: so many times the number of notices.
const PAGES_PER_LOOKUP: u32 = 10;
/// How often who has not asked for a while is forgotten.
const FORGET_EVERY: Duration = Duration::from_mins(1);
/// Entries of `X-Forwarded-For` that are looked at.
const HOPS_MAX: usize = 16;
/// Before it the address would be a proxy's.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Page,
    Lookup,
}

/// How long to wait before asking again, in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooOften {
    pub(crate) seconds: u64,
}

/// What each address may still ask.
#[derive(Debug)]
pub(crate) struct Limits {
    pages: Allowances,
    lookups: Allowances,
    trusted: Vec<IpNet>,
    /// Somebody was told of a proxy that is not among them.
    told: Once,
    clock: DefaultClock,
}

type Allowances = RateLimiter<IpAddr, Networks, DefaultClock>;

// === impl Limits ===

impl Limits {
    pub(crate) fn new(lookups_per_minute: NonZeroU32, trusted: Vec<IpNet>) -> Self {
        let pages = lookups_per_minute.saturating_mul(NonZeroU32::MIN.saturating_add(PAGES_PER_LOOKUP - 1));
        let clock = DefaultClock::default();
        let allowances = |quota| Allowances::new(Quota::per_minute(quota), Networks::new(), clock.clone());
        Self { pages: allowances(pages), lookups: allowances(lookups_per_minute), trusted, told: Once::new(), clock }
    }

    /// The visitor's address. Who is no proxy of ours can write what he likes into the header: then it is the connection's.
    pub(crate) fn visitor(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut visitor = peer.to_canonical();
        // Each proxy appends whom it was called by: from the end, the first that is none of ours.
        let lines = headers.get_all(FORWARDED_FOR).iter().rev();
        let hops = lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.rsplit(','));
        for hop in hops.take(HOPS_MAX) {
            if !self.trusts(visitor) {
                break;
            }
            let Ok(before) = hop.trim().parse::<IpAddr>() else { break };
            visitor = before.to_canonical();
        }
        visitor
    }

    /// Whether the connection's other end tells of visitors and is not believed. If it is a proxy of ours, all of them share one
    /// allowance: the first time that is logged, with what mends it.
    pub(crate) fn ignores(&self, peer: IpAddr, headers: &HeaderMap) -> bool {
        let peer = peer.to_canonical();
        let ignored = headers.contains_key(FORWARDED_FOR) && !self.trusts(peer);
        if ignored {
            self.told.call_once(|| {
                tracing::warn!(
                    network = %network(peer, NEIGHBOURS),
                    "ignored X-Forwarded-For of a peer that is no trusted proxy: if it is yours, name its network in \
                     --trusted-proxies, or all visitors behind it share one allowance"
                );
            });
        }
        ignored
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }

    /// Takes one from the visitor's allowance.
    ///
    /// # Errors
    /// It is empty.
    pub(crate) fn take(&self, kind: Kind, visitor: IpAddr) -> Result<(), TooOften> {
        let allowances = match kind {
            Kind::Page => &self.pages,
            Kind::Lookup => &self.lookups,
        };
        allowances.check_key(&visitor).map_err(|until| {
            let wait = until.wait_time_from(self.clock.now());
            TooOften { seconds: wait.as_secs() + 1 }
        })
    }

    /// Forgets, for ever, whoever has his whole allowance again.
    pub(crate) async fn forget(&self) {
        loop {
            tokio::time::sleep(FORGET_EVERY).await;
            for allowances in [&self.pages, &self.lookups] {
                allowances.retain_recent();
                allowances.shrink_to_fit();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn limits(per_minute: u32) -> Limits {
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap()).to_vec();
        Limits::new(NonZeroU32::new(per_minute).unwrap(), trusted)
    }

    #[rstest]
    #[case::direct("198.51.100.7", &[], "198.51.100.7")]
    #[case::a_stranger_s_word_is_nothing("198.51.100.7", &["203.0.113.1"], "198.51.100.7")]
    #[case::by_our_proxy("10.1.2.3", &["203.0.113.1"], "203.0.113.1")]
    #[case::what_the_visitor_wrote_is_passed_over("10.1.2.3", &["1.1.1.1, 203.0.113.1"], "203.0.113.1")]
    #[case::two_proxies("10.1.2.3", &["1.1.1.1, 203.0.113.1, 10.9.9.9"], "203.0.113.1")]
    #[case::two_lines("10.1.2.3", &["1.1.1.1", "203.0.113.1"], "203.0.113.1")]
    #[case::mapped("::ffff:10.1.2.3", &["::ffff:203.0.113.1"], "203.0.113.1")]
    #[case::nonsense("10.1.2.3", &["unknown"], "10.1.2.3")]
    #[case::nobody_else("10.1.2.3", &[], "10.1.2.3")]
    fn the_visitor(#[case] peer: &str, #[case] lines: &[&'static str], #[case] visitor: &str) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, line.parse().unwrap());
        }
        assert_eq!(limits(1).visitor(peer.parse().unwrap(), &headers), visitor.parse::<IpAddr>().unwrap());
    }

    #[test]
    fn each_address_has_its_own_allowance_and_is_told_when_to_come_again() {
        let limits = limits(2);
        let [one, other] = ["203.0.113.1", "203.0.113.2"].map(|address| address.parse().unwrap());
        limits.take(Kind::Lookup, one).unwrap();
        limits.take(Kind::Lookup, one).unwrap();
        let TooOften { seconds } = limits.take(Kind::Lookup, one).unwrap_err();
        assert!((1..=31).contains(&seconds), "{seconds}");
        limits.take(Kind::Lookup, other).unwrap();
        for _ in 0..20 {
            limits.take(Kind::Page, one).unwrap();
        }
        limits.take(Kind::Page, one).unwrap_err();
    }

    #[test]
    fn a_subscriber_s_ipv6_addresses_are_one() {
        let limits = limits(1);
        limits.take(Kind::Lookup, "2001:db8:1:2::1".parse().unwrap()).unwrap();
        limits.take(Kind::Lookup, "2001:db8:1:2:ffff::9".parse().unwrap()).unwrap_err();
        limits.take(Kind::Lookup, "2001:db8:1:3::1".parse().unwrap()).unwrap();
    }
}
