//! Time as a parameter: the only place that reads the machine's clocks.
//!
//! Business time comes from a [`Clock`] so that tests move it by hand. Leases and heartbeats use the database's time instead
//! (ARCHITECTURE.md 5.5).

use std::{
    fmt,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};

use crate::fault;

/// The zone of every legal date (ARCHITECTURE.md 5.5).
static ROME: TimeZone = jiff::tz::get!("Europe/Rome");

#[expect(clippy::disallowed_types, reason = "the one place that reads the monotonic clock")]
static STARTED: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);

/// A source of time, cheap to clone.
#[derive(Clone)]
pub struct Clock {
    source: Source,
}

/// Moves the time of the [`Clock`]s made with it.
#[derive(Debug, Clone)]
pub struct ManualClock {
    state: Arc<Mutex<ManualState>>,
}

#[derive(Clone)]
enum Source {
    System,
    Manual(ManualClock),
}

#[derive(Debug)]
struct ManualState {
    now: Timestamp,
    monotonic: Duration,
}

// === impl Clock ===

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        LazyLock::force(&STARTED);
        Self { source: Source::System }
    }

    /// A clock that stands at `now` until its [`ManualClock`] moves it.
    pub fn manual(now: Timestamp) -> (Self, ManualClock) {
        let manual = ManualClock { state: Arc::new(Mutex::new(ManualState { now, monotonic: Duration::ZERO })) };
        (Self { source: Source::Manual(manual.clone()) }, manual)
    }

    /// This instant.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn now(&self) -> Timestamp {
        match &self.source {
            Source::System => {
                let now = Timestamp::now();
                now.checked_add(fault::clock()).unwrap_or(now)
            }
            Source::Manual(manual) => manual.read(|state| state.now),
        }
    }

    /// The legal date of this instant: Europe/Rome.
    pub fn today(&self) -> Date {
        self.now().to_zoned(ROME.clone()).date()
    }

    /// Time since the process started; never goes back, whatever happens to the wall clock.
    pub fn monotonic(&self) -> Duration {
        match &self.source {
            Source::System => STARTED.elapsed(),
            Source::Manual(manual) => manual.read(|state| state.monotonic),
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.source {
            Source::System => "Clock(system)",
            Source::Manual(_) => "Clock(manual)",
        })
    }
}

// === impl ManualClock ===

impl ManualClock {
    /// Moves wall and monotonic time forward; both stop at their last representable instant.
    pub fn advance(&self, by: Duration) {
        self.change(|state| {
            state.monotonic = state.monotonic.saturating_add(by);
            state.now = SignedDuration::try_from(by)
                .ok()
                .and_then(|by| state.now.checked_add(by).ok())
                .unwrap_or(Timestamp::MAX);
        });
    }

    /// Sets the wall clock, forward or back; monotonic time is left alone.
    pub fn set(&self, now: Timestamp) {
        self.change(|state| state.now = now);
    }

    fn read<T>(&self, read: impl FnOnce(&ManualState) -> T) -> T {
        read(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: impl FnOnce(&mut ManualState)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_legal_day_begins_at_midnight_in_rome() {
        let (clock, hand) = Clock::manual("2026-07-14T21:59:59Z".parse().unwrap());
        assert_eq!(clock.today(), jiff::civil::date(2026, 7, 14));
        hand.advance(Duration::from_secs(1));
        assert_eq!(clock.today(), jiff::civil::date(2026, 7, 15));
        hand.set("2026-01-14T22:59:59Z".parse().unwrap());
        assert_eq!(clock.today(), jiff::civil::date(2026, 1, 14));
        hand.set("2026-01-14T23:00:00Z".parse().unwrap());
        assert_eq!(clock.today(), jiff::civil::date(2026, 1, 15));
    }

    #[test]
    fn setting_the_wall_clock_back_leaves_monotonic_time_alone() {
        let (clock, hand) = Clock::manual(Timestamp::UNIX_EPOCH);
        hand.advance(Duration::from_millis(1500));
        hand.set(Timestamp::UNIX_EPOCH);
        assert_eq!((clock.now(), clock.monotonic()), (Timestamp::UNIX_EPOCH, Duration::from_millis(1500)));
        hand.advance(Duration::MAX);
        assert_eq!(clock.now(), Timestamp::MAX);
    }

    #[test]
    fn the_system_clock_moves() {
        let clock = Clock::system();
        let (wall, monotonic) = (clock.now(), clock.monotonic());
        assert!(clock.now() >= wall && clock.monotonic() >= monotonic);
        assert!(wall > "2026-01-01T00:00:00Z".parse().unwrap());
    }
}
