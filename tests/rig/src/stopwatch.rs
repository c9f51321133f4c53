//! How long something took, and whether that is too long on a machine that does other things too.

use std::sync::LazyLock;
use std::time::Duration;

use crate::pace::Pace;

#[expect(clippy::disallowed_types, reason = "what measures others shares no clock with them")]
pub(crate) static STARTED: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);

/// Runs from its start on, by the machine's monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch {
    /// Since the first one's start.
    started: Duration,
    pace: Pace,
}

// === impl Stopwatch ===

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Self {
        Self { started: STARTED.elapsed(), pace: Pace::start() }
    }

    /// Time since its start.
    pub fn elapsed(&self) -> Duration {
        STARTED.elapsed().saturating_sub(self.started)
    }

    /// Whether no more than `limit` has passed; the limit stretches with what else this machine had to do meanwhile.
    pub fn within(&self, limit: Duration) -> bool {
        self.elapsed() <= self.pace.stretched(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_runs_from_its_start_on() {
        let first = Stopwatch::start();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let second = Stopwatch::start();
        let later = second.elapsed();
        assert!(first.elapsed() >= later + Duration::from_millis(20), "{first:?} {second:?}");
        assert!(second.elapsed() >= later);
        assert!(!first.within(Duration::from_millis(1)), "ten times the limit at most");
    }
}
