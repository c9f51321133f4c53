//! How long an institution waits after a failure.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use fiorino_kit::backoff::{Backoff, Retry};

/// After a failure: 1 s, doubling to 5 minutes, +-25 %.
pub const FAILURE: Backoff = Backoff { min: Duration::from_secs(1), max: Duration::from_mins(5), jitter: 25 };

/// For a Secret that is not there: 1 s, doubling to a minute, +-25 %. Secrets are not watched, they are found by asking.
pub const ABSENCE: Backoff = Backoff { min: Duration::from_secs(1), max: Duration::from_mins(1), jitter: 25 };

/// The failures of each institution, by uid. A new generation starts anew: whoever mends a manifest does not wait for the old one.
#[derive(Debug)]
pub struct Backoffs {
    delays: Backoff,
    failures: Mutex<HashMap<String, Failures>>,
}

#[derive(Debug)]
struct Failures {
    generation: i64,
    retry: Retry,
}

// === impl Backoffs ===

impl Backoffs {
    /// No failures so far; they wait by `delays`.
    pub fn new(delays: Backoff) -> Self {
        Self { delays, failures: Mutex::default() }
    }

    /// Counts a failure of a generation and tells how long to wait.
    pub fn failed(&self, uid: &str, generation: i64) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Failures { generation, retry: self.delays.retry() };
        let entry = failures.entry(uid.to_owned()).or_insert_with(fresh);
        if entry.generation != generation {
            *entry = fresh();
        }
        entry.retry.next_delay()
    }

    /// Forgets the failures: it worked, or the object is gone.
    pub fn succeeded(&self, uid: &str) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(delay: Duration) -> std::ops::RangeInclusive<Duration> {
        delay * 75 / 100..=delay * 125 / 100
    }

    #[test]
    fn the_same_generation_waits_longer_each_time_up_to_five_minutes() {
        let backoffs = Backoffs::new(FAILURE);
        for expected in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            let delay = backoffs.failed("a", 1);
            assert!(seconds(Duration::from_secs(expected)).contains(&delay), "{delay:?} after {expected}");
        }
    }

    #[test]
    fn a_missing_secret_is_looked_for_each_minute_in_the_end() {
        let backoffs = Backoffs::new(ABSENCE);
        for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
            let delay = backoffs.failed("a", 1);
            assert!(seconds(Duration::from_secs(expected)).contains(&delay), "{delay:?} after {expected}");
        }
    }

    #[test]
    fn success_a_new_generation_and_another_object_start_anew() {
        let backoffs = Backoffs::new(FAILURE);
        let first = seconds(Duration::from_secs(1));
        for _ in 0..5 {
            backoffs.failed("a", 1);
        }
        assert!(first.contains(&backoffs.failed("b", 1)));
        assert!(first.contains(&backoffs.failed("a", 2)));
        backoffs.failed("a", 2);
        backoffs.succeeded("a");
        assert!(first.contains(&backoffs.failed("a", 2)));
    }
}
