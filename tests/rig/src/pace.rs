//! How much of the machine a test gets. Processes beside it make everything last longer, and limits stretch as far.

use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;
use std::{fs, thread};

use crate::stopwatch::STARTED;

/// Between two looks at the machine.
const LOOK: Duration = Duration::from_millis(20);
/// More than that is no busy machine: something hangs.
const STRETCH_MAX_PERCENT: u128 = 1_000;
/// Linux: the fourth field is `runnable/all`, of every process of the machine.
const LOAD: &str = "/proc/loadavg";

static LOOKS: LazyLock<Mutex<Looks>> = LazyLock::new(|| {
    // Where the machine says nothing, no limit stretches.
    if runnable().is_some() {
        thread::spawn(look);
    }
    Mutex::new(Looks::default())
});

/// What was seen since the first look.
#[derive(Debug, Clone, Copy, Default)]
struct Looks {
    /// When the last one was, since the first stopwatch.
    until: Duration,
    /// Runnable threads, summed over time: thread-microseconds.
    runnable: u128,
}

/// Watches the machine from its start on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    from: Looks,
}

// === impl Pace ===

impl Pace {
    pub(crate) fn start() -> Self {
        Self { from: looks() }
    }

    /// What a limit means on this machine since the start: as it is where every thread that could run had a processor of its own,
    /// three times as long where three wanted each, ten times at most.
    pub(crate) fn stretched(&self, limit: Duration) -> Duration {
        let percent = self.from.stretch_percent(&looks(), cores());
        Duration::from_micros(u64::try_from(limit.as_micros() * percent / 100).unwrap_or(u64::MAX))
    }
}

// === impl Looks ===

impl Looks {
    fn stretch_percent(&self, now: &Self, cores: u128) -> u128 {
        let micros = now.until.saturating_sub(self.until).as_micros();
        let runnable = now.runnable.saturating_sub(self.runnable);
        let percent = (runnable * 100).checked_div(micros * cores);
        percent.unwrap_or(100).clamp(100, STRETCH_MAX_PERCENT)
    }
}

fn looks() -> Looks {
    // Each write is whole.
    *LOOKS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn cores() -> u128 {
    thread::available_parallelism().map_or(1, |cores| cores.get() as u128)
}

fn look() {
    let mut last = STARTED.elapsed();
    loop {
        thread::sleep(LOOK);
        let (now, runnable) = (STARTED.elapsed(), runnable().unwrap_or_default());
        let mut looks = LOOKS.lock().unwrap_or_else(PoisonError::into_inner);
        looks.until = now;
        looks.runnable += runnable * now.saturating_sub(last).as_micros();
        last = now;
    }
}

/// Threads that run or could, but for the one that asks.
fn runnable() -> Option<u128> {
    let text = fs::read_to_string(LOAD).ok()?;
    let (runnable, _) = text.split_whitespace().nth(3)?.split_once('/')?;
    Some(runnable.parse::<u128>().ok()?.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(millis: u64, runnable_millis: u128) -> Looks {
        Looks { until: Duration::from_millis(millis), runnable: runnable_millis * 1_000 }
    }

    #[test]
    fn a_limit_stretches_by_the_threads_for_each_processor() {
        let from = looks(1_000, 5_000);
        for (runnable, percent) in [(0, 100), (2_000, 100), (3_000, 150), (6_000, 300), (60_000, 1_000)] {
            assert_eq!(from.stretch_percent(&looks(2_000, 5_000 + runnable), 2), percent, "{runnable}");
        }
        assert_eq!(from.stretch_percent(&from, 2), 100, "before the first look");
    }

    #[test]
    fn the_machine_says_what_runs() {
        assert!(runnable().is_some());
    }
}
