//! While tenant is away one caller at a time looks whether it is back; the others are told at once instead of waiting each for himself.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use fiorino_kit::{
    backoff::{Backoff, Retry},
    clock::Clock,
};
use tonic::{Code, Status};

use super::{Error, Result};

/// Between two looks.
const DELAYS: Backoff = Backoff { min: Duration::from_millis(500), max: Duration::from_secs(5), jitter: 25 };

/// What is known of tenant's absence; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Outage {
    state: Arc<Mutex<State>>,
    clock: Clock,
}

#[derive(Debug)]
struct State {
    /// It did not answer: nobody asks before this (monotonic). `None`: it is there as far as anybody knows.
    until: Option<Duration>,
    /// Somebody is asking whether it is back.
    looking: bool,
    /// Answers so far: a call that ends in silence says nothing if another was answered meanwhile.
    answers: u64,
    retry: Retry,
}

/// Leave to call; given back also when the call is dropped.
struct Turn<'a> {
    outage: &'a Outage,
    looks: bool,
    /// When it began.
    answers: u64,
}

// === impl Outage ===

impl Outage {
    pub(super) fn new(clock: Clock) -> Self {
        let state = State { until: None, looking: false, answers: 0, retry: DELAYS.retry() };
        Self { state: Arc::new(Mutex::new(state)), clock }
    }

    /// Calls, unless tenant is away and it is not this caller's turn to look.
    pub(super) async fn through<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let Some(turn) = self.enter() else {
            return Err(Error::Away(Status::unavailable("it did not answer a moment ago")));
        };
        let outcome = call.await;
        turn.ended(outcome.as_ref().err());
        outcome
    }

    /// It answered, or opened a stream.
    pub(super) fn over(&self) {
        let mut state = self.state();
        state.until = None;
        state.answers += 1;
        state.retry.reset();
    }

    fn enter(&self) -> Option<Turn<'_>> {
        let mut state = self.state();
        let answers = state.answers;
        let Some(until) = state.until else { return Some(Turn { outage: self, looks: false, answers }) };
        if state.looking || self.clock.monotonic() < until {
            return None;
        }
        state.looking = true;
        Some(Turn { outage: self, looks: true, answers })
    }

    /// Nobody answered; of many who asked together, one notes it.
    fn silent(&self, looked: bool, answers: u64) {
        let mut state = self.state();
        if looked || state.until.is_none() && state.answers == answers {
            state.until = Some(self.clock.monotonic() + state.retry.next_delay());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Turn ===

impl Turn<'_> {
    fn ended(self, error: Option<&Error>) {
        match error {
            Some(Error::Away(status)) if self.looks || is_silence(status) => {
                self.outage.silent(self.looks, self.answers);
            }
            // What breaks by one institution says nothing about the others.
            Some(Error::Away(_)) => {}
            Some(Error::Refused(_) | Error::Deposed(_) | Error::Superseded(_)) | None => self.outage.over(),
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.looks {
            self.outage.state().looking = false;
        }
    }
}

/// Nobody answered, or too late (tonic's own deadline is `Cancelled`).
fn is_silence(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use jiff::Timestamp;

    use super::*;

    async fn call(outage: &Outage, code: Option<Code>) -> Result<()> {
        outage.through(async { code.map_or(Ok(()), |code| Err(Status::new(code, "").into())) }).await
    }

    #[tokio::test]
    async fn one_looks_and_the_others_are_told_at_once() {
        let (clock, hands) = Clock::manual(Timestamp::UNIX_EPOCH);
        let outage = Outage::new(clock);
        call(&outage, Some(Code::Unavailable)).await.unwrap_err();
        let asked = AtomicUsize::new(0);
        let ask = || {
            outage.through(async {
                asked.fetch_add(1, Ordering::Relaxed);
                std::future::pending::<Result<()>>().await
            })
        };
        assert!(matches!(ask().await, Err(Error::Away(_))), "too early for anybody");
        hands.advance(Duration::from_secs(10));
        let mut looking = std::pin::pin!(ask());
        assert!(futures::poll!(&mut looking).is_pending());
        assert!(matches!(ask().await, Err(Error::Away(_))), "somebody looks already");
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_look_that_was_given_up_leaves_its_turn_to_the_next() {
        let (clock, hands) = Clock::manual(Timestamp::UNIX_EPOCH);
        let outage = Outage::new(clock);
        call(&outage, Some(Code::Cancelled)).await.unwrap_err();
        hands.advance(Duration::from_secs(10));
        {
            let mut looking = std::pin::pin!(outage.through(std::future::pending::<Result<()>>()));
            assert!(futures::poll!(&mut looking).is_pending());
        }
        call(&outage, None).await.unwrap();
        call(&outage, None).await.unwrap();
    }

    #[rstest::rstest]
    #[case::unavailable(Code::Unavailable, true)]
    #[case::slow(Code::DeadlineExceeded, true)]
    #[case::broken_by_one(Code::Internal, false)]
    #[case::refused(Code::InvalidArgument, false)]
    #[case::deposed(Code::FailedPrecondition, false)]
    #[tokio::test]
    async fn silence_alone_is_an_absence(#[case] code: Code, #[case] away: bool) {
        let outage = Outage::new(Clock::manual(Timestamp::UNIX_EPOCH).0);
        call(&outage, Some(code)).await.unwrap_err();
        assert_eq!(outage.state().until.is_some(), away);
        outage.over();
        call(&outage, None).await.unwrap();
    }
}
