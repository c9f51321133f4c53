//! When pagoPA's registry is read again (ARCHITECTURE.md 3.5): at once after a change, then 1 s doubling to 10 minutes while
//! something waits, then daily.

use std::time::Duration;

/// The limits of the cadence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intervals {
    /// After the first reading that still finds something waiting, and the least time between two readings.
    pub shortest: Duration,
    /// What doubling ends at.
    pub longest: Duration,
    /// While nothing waits.
    pub settled: Duration,
}

/// What a reading ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// An institution still waits for pagoPA.
    Waiting,
    /// Nothing waits.
    Settled,
    /// The registry or tenant could not be reached, or refused.
    Failed {
        /// What the registry asked for (`Retry-After`).
        retry_after: Option<Duration>,
    },
}

/// The state of one broker's cadence.
#[derive(Debug, Clone)]
pub(crate) struct Cadence {
    intervals: Intervals,
    next: Duration,
}

// === impl Intervals ===

impl Default for Intervals {
    fn default() -> Self {
        Self { shortest: Duration::from_secs(1), longest: Duration::from_mins(10), settled: Duration::from_hours(24) }
    }
}

// === impl Cadence ===

impl Cadence {
    pub(crate) const fn new(intervals: Intervals) -> Self {
        Self { intervals, next: intervals.shortest }
    }

    /// The configuration changed: doubling begins anew.
    pub(crate) const fn changed(&mut self) {
        self.next = self.intervals.shortest;
    }

    /// How soon after a reading a change may lead to the next one: what the registry asked for holds in any case.
    pub(crate) fn soonest(&self, reading: Reading) -> Duration {
        self.intervals.shortest.max(self.asked(reading))
    }

    /// How long to wait after a reading.
    pub(crate) fn after(&mut self, reading: Reading) -> Duration {
        match reading {
            Reading::Waiting => self.double(),
            Reading::Failed { .. } => self.double().max(self.asked(reading)),
            Reading::Settled => {
                self.changed();
                self.intervals.settled
            }
        }
    }

    /// What the registry asked to wait, a day at most.
    fn asked(&self, reading: Reading) -> Duration {
        match reading {
            Reading::Failed { retry_after: Some(asked) } => asked.min(self.intervals.settled),
            Reading::Failed { retry_after: None } | Reading::Waiting | Reading::Settled => Duration::ZERO,
        }
    }

    fn double(&mut self) -> Duration {
        let delay = self.next;
        self.next = delay.saturating_mul(2).min(self.intervals.longest);
        delay
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(cadence: &mut Cadence, reading: Reading) -> u64 {
        cadence.after(reading).as_secs()
    }

    #[test]
    fn waiting_doubles_from_a_second_to_ten_minutes() {
        let mut cadence = Cadence::new(Intervals::default());
        let delays: Vec<u64> = (0..12).map(|_| seconds(&mut cadence, Reading::Waiting)).collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
    }

    #[test]
    fn settled_is_daily_and_begins_anew() {
        let mut cadence = Cadence::new(Intervals::default());
        cadence.after(Reading::Waiting);
        cadence.after(Reading::Waiting);
        assert_eq!(seconds(&mut cadence, Reading::Settled), 24 * 60 * 60);
        assert_eq!(seconds(&mut cadence, Reading::Waiting), 1);
    }

    #[test]
    fn a_change_begins_anew() {
        let mut cadence = Cadence::new(Intervals::default());
        cadence.after(Reading::Waiting);
        cadence.after(Reading::Waiting);
        cadence.changed();
        assert_eq!(seconds(&mut cadence, Reading::Waiting), 1);
    }

    #[test]
    fn retry_after_is_honoured_when_it_is_longer() {
        let mut cadence = Cadence::new(Intervals::default());
        assert_eq!(seconds(&mut cadence, Reading::Failed { retry_after: Some(Duration::from_secs(30)) }), 30);
        assert_eq!(seconds(&mut cadence, Reading::Failed { retry_after: None }), 2);
        let years = Reading::Failed { retry_after: Some(Duration::from_secs(u64::MAX)) };
        assert_eq!(seconds(&mut cadence, years), 24 * 60 * 60);
    }

    #[test]
    fn a_change_does_not_shorten_what_the_registry_asked_for() {
        let cadence = Cadence::new(Intervals::default());
        let failed = |retry_after| Reading::Failed { retry_after };
        assert_eq!(cadence.soonest(failed(Some(Duration::from_secs(30)))), Duration::from_secs(30));
        for reading in [failed(None), failed(Some(Duration::ZERO)), Reading::Waiting, Reading::Settled] {
            assert_eq!(cadence.soonest(reading), Duration::from_secs(1));
        }
    }

    proptest! {
        #[test]
        fn a_delay_stays_within_the_limits(waiting in proptest::collection::vec(any::<bool>(), 1..64)) {
            let intervals = Intervals::default();
            let mut cadence = Cadence::new(intervals);
            for waits in waiting {
                let delay = cadence.after(if waits { Reading::Waiting } else { Reading::Failed { retry_after: None } });
                prop_assert!(delay >= intervals.shortest && delay <= intervals.longest);
            }
        }
    }
}
