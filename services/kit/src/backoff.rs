//! The one way to wait before trying again.

use std::time::Duration;

use rand::RngExt as _;

/// Exponential delays between `min` and `max`, each spread by `jitter` so that many waiters do not return together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// Delay after the first failure.
    pub min: Duration,
    /// Longest delay before jitter.
    pub max: Duration,
    /// Share of the delay, in percent (0-100), that is added or taken away at random.
    pub jitter: u8,
}

/// The state of one retried thing: how often in a row it failed.
#[derive(Debug, Clone)]
pub struct Retry {
    backoff: Backoff,
    failures: u32,
}

// === impl Backoff ===

impl Backoff {
    /// For what stands on the way of a live call: 50 ms to 1 s, +-25 %.
    pub const FAST: Self = Self { min: Duration::from_millis(50), max: Duration::from_secs(1), jitter: 25 };

    /// For background work against another part: 200 ms to 10 s, +-25 %.
    pub const BACKGROUND: Self = Self { min: Duration::from_millis(200), max: Duration::from_secs(10), jitter: 25 };

    /// The delay after failure number `attempt`, counted from 0: `min * 2^attempt`, at most `max`, with jitter.
    pub fn delay(&self, attempt: u32) -> Duration {
        let spread = u32::from(self.jitter.min(100));
        let percent = rand::rng().random_range(100 - spread..=100 + spread);
        self.base(attempt).saturating_mul(percent) / 100
    }

    /// A fresh count of failures over these delays.
    pub fn retry(self) -> Retry {
        Retry { backoff: self, failures: 0 }
    }

    fn base(&self, attempt: u32) -> Duration {
        let factor = 1_u32.checked_shl(attempt.min(31)).unwrap_or(u32::MAX);
        self.min.saturating_mul(factor).min(self.max)
    }
}

// === impl Retry ===

impl Retry {
    /// Counts a failure and tells how long to wait.
    pub fn next_delay(&mut self) -> Duration {
        let delay = self.backoff.delay(self.failures);
        self.failures = self.failures.saturating_add(1);
        delay
    }

    /// Counts a failure and waits.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.next_delay()).await;
    }

    /// Failures since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Forgets the failures: it worked.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn delays_stay_within_the_bounds_and_their_jitter(
            min in 1_u64..1_000, span in 0_u64..100_000, jitter in 0_u8..=100, attempt: u32,
        ) {
            let backoff =
                Backoff { min: Duration::from_millis(min), max: Duration::from_millis(min + span), jitter };
            let (base, delay) = (backoff.base(attempt), backoff.delay(attempt));
            prop_assert!(base >= backoff.min && base <= backoff.max);
            prop_assert!(delay >= base * u32::from(100 - jitter) / 100);
            prop_assert!(delay <= base * u32::from(100 + jitter) / 100);
        }
    }

    #[test]
    fn failures_double_the_delay_until_a_success() {
        let backoff = Backoff { min: Duration::from_millis(100), max: Duration::from_secs(1), jitter: 0 };
        let mut retry = backoff.retry();
        let delays: Vec<_> = (0..5).map(|_| retry.next_delay().as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1000]);
        assert_eq!(retry.failures(), 5);
        retry.reset();
        assert_eq!(retry.next_delay().as_millis(), 100);
    }
}
