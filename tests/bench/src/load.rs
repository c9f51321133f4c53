//! Load: open loop at a fixed rate, or as fast as answers come.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use fiorino_kit::clock::Clock;
use hdrhistogram::Histogram;

/// Longest latency that is told apart, in microseconds.
const LATENCY_MAX: u64 = 60_000_000;

/// Somebody who calls: a connection, a client.
pub(crate) trait Caller: Send + 'static {
    /// The `index`-th call of the run; whether the answer was the right one.
    fn call(&mut self, index: u64) -> impl Future<Output = Result<()>> + Send;
}

/// How often.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// Arrivals at a fixed rate per second, whatever the answers do.
    Open(u64),
    /// The next call when the last one was answered: what the system gives at most.
    Closed,
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Of the calls that were answered rightly, in microseconds from the time at which each was due.
    pub(crate) latency: Histogram<u64>,
    pub(crate) answered: u64,
    pub(crate) failed: u64,
    /// What the first failed call complained about.
    pub(crate) complaint: Option<String>,
    /// From the first arrival to the last answer.
    pub(crate) took: Duration,
    /// The longest latency of the calls that were due in each second of the run, in microseconds.
    seconds: Vec<u64>,
}

/// Arrivals of a run, taken by its callers in order.
struct Arrivals {
    next: AtomicU64,
    end: u64,
    pace: Pace,
    until: Duration,
    clock: Clock,
    start: Duration,
}

struct Arrival {
    index: u64,
    /// Monotonic time from which its latency counts.
    due: Duration,
}

/// Makes `calls` calls at a pace; a closed loop ends with the time, whichever comes first.
///
/// # Errors
/// When a task of the load breaks.
pub(crate) async fn run<C: Caller>(callers: Vec<C>, pace: Pace, calls: u64, lasting: Duration) -> Result<Outcome> {
    let clock = Clock::system();
    let start = clock.monotonic();
    let arrivals =
        Arc::new(Arrivals { next: AtomicU64::new(0), end: calls, pace, until: start + lasting, clock, start });
    let tasks: Vec<_> = callers.into_iter().map(|caller| tokio::spawn(work(caller, Arc::clone(&arrivals)))).collect();
    let mut all = Outcome::new()?;
    for task in tasks {
        all.add(task.await.context("a caller broke")??)?;
    }
    all.took = arrivals.clock.monotonic().saturating_sub(start);
    Ok(all)
}

async fn work<C: Caller>(mut caller: C, arrivals: Arc<Arrivals>) -> Result<Outcome> {
    let mut outcome = Outcome::new()?;
    while let Some(arrival) = arrivals.next().await {
        let answer = caller.call(arrival.index).await;
        let took = arrivals.clock.monotonic().saturating_sub(arrival.due);
        match answer {
            Ok(()) => {
                outcome.answered += 1;
                outcome.add_latency(arrivals.second(arrival.due), took);
            }
            Err(error) => {
                outcome.failed += 1;
                outcome.complaint.get_or_insert_with(|| format!("{error:#}"));
            }
        }
    }
    Ok(outcome)
}

// === impl Arrivals ===

impl Arrivals {
    /// The next one, when it is due. A caller that comes too late for it, because it still waited for the answer before, makes the
    /// call at once, and its latency counts from the due time. A caller that waited counts from the moment in which it was woken:
    /// the timer's slack is not the system's.
    async fn next(&self) -> Option<Arrival> {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        let now = self.clock.monotonic();
        if index >= self.end || matches!(self.pace, Pace::Closed) && now >= self.until {
            return None;
        }
        let due = match self.pace {
            Pace::Closed => now,
            Pace::Open(rate) => self.start + Duration::from_nanos(index.saturating_mul(1_000_000_000) / rate),
        };
        let Some(ahead) = due.checked_sub(now).filter(|ahead| !ahead.is_zero()) else {
            return Some(Arrival { index, due });
        };
        tokio::time::sleep(ahead).await;
        Some(Arrival { index, due: self.clock.monotonic() })
    }

    /// The second of the run, from zero.
    fn second(&self, due: Duration) -> usize {
        usize::try_from(due.saturating_sub(self.start).as_secs()).unwrap_or_default()
    }
}

// === impl Outcome ===

impl Outcome {
    /// Of no call yet.
    ///
    /// # Errors
    /// None that its bounds do not exclude.
    pub(crate) fn new() -> Result<Self> {
        let latency = Histogram::new_with_bounds(1, LATENCY_MAX, 3)?;
        Ok(Self { latency, answered: 0, failed: 0, complaint: None, took: Duration::ZERO, seconds: Vec::new() })
    }

    fn add_latency(&mut self, second: usize, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(LATENCY_MAX);
        self.latency.saturating_record(micros);
        self.longest_in(second, micros);
    }

    fn longest_in(&mut self, second: usize, micros: u64) {
        if self.seconds.len() <= second {
            self.seconds.resize(second + 1, 0);
        }
        let longest = &mut self.seconds[second];
        *longest = micros.max(*longest);
    }

    /// Adds the calls of another part; how long it took is the caller's to say.
    ///
    /// # Errors
    /// None that its bounds do not exclude.
    pub(crate) fn add(&mut self, other: Self) -> Result<()> {
        self.latency.add(other.latency)?;
        for (second, micros) in other.seconds.into_iter().enumerate() {
            self.longest_in(second, micros);
        }
        self.answered += other.answered;
        self.failed += other.failed;
        self.complaint = self.complaint.take().or(other.complaint);
        Ok(())
    }

    /// Answers per second.
    pub(crate) fn rate(&self) -> f64 {
        self.answered as f64 / self.took.as_secs_f64().max(0.001)
    }

    /// A percentile in milliseconds.
    pub(crate) fn ms(&self, percentile: f64) -> f64 {
        self.latency.value_at_percentile(percentile) as f64 / 1_000.0
    }

    /// The longest latency of the median second, and of the three slowest ones.
    pub(crate) fn by_second(&self) -> String {
        let mut seconds: Vec<(usize, u64)> = self.seconds.iter().copied().enumerate().collect();
        seconds.sort_unstable_by_key(|(_, micros)| std::cmp::Reverse(*micros));
        let ms = |micros: u64| micros as f64 / 1_000.0;
        let median = seconds.get(seconds.len() / 2).map_or(0.0, |(_, micros)| ms(*micros));
        let slowest =
            seconds.iter().take(3).map(|(second, micros)| format!("{:.0} ms in second {}", ms(*micros), second + 1));
        format!("median {median:.0} ms; {}", slowest.collect::<Vec<_>>().join(", "))
    }

    /// Fails unless every call was answered rightly.
    pub(crate) fn all_well(self, what: &str) -> Result<Self> {
        let complaint = self.complaint.as_deref().unwrap_or_default();
        ensure!(
            self.failed == 0,
            "{what}: {} of {} calls failed: {complaint}",
            self.failed,
            self.failed + self.answered
        );
        Ok(self)
    }
}
