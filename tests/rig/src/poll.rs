//! Waiting for something to become true, without sleeping and hoping. Deadlines stretch on a busy machine ([`crate::Stopwatch::within`]).

use std::fmt::Display;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::{sleep, timeout};

use crate::pace::Pace;

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// The output of `work`, for which `deadline` is enough on a machine that does nothing else.
///
/// # Errors
/// When the deadline has passed.
pub async fn within<T>(deadline: Duration, work: impl Future<Output = T>) -> Result<T> {
    let (pace, mut work) = (Pace::start(), pin!(work));
    let (mut waited, mut more) = (Duration::ZERO, deadline);
    while !more.is_zero() {
        if let Ok(output) = timeout(more, &mut work).await {
            return Ok(output);
        }
        waited += more;
        more = pace.stretched(deadline).saturating_sub(waited);
    }
    Err(anyhow!("not within {} ms, which were {} ms on this machine", deadline.as_millis(), waited.as_millis()))
}

/// Calls `probe` until it answers `Ok`, for at most `deadline`; a probe that hangs is cut off at the deadline.
///
/// # Errors
/// The last error of the probe, once the deadline has passed.
pub async fn eventually<T, E: Display>(deadline: Duration, mut probe: impl AsyncFnMut() -> Result<T, E>) -> Result<T> {
    let mut last = String::from("the first attempt did not finish");
    let attempts = async {
        let mut pause = FIRST_PAUSE;
        loop {
            match probe().await {
                Ok(value) => return value,
                Err(error) => last = format!("{error:#}"),
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    };
    let outcome = within(deadline, attempts).await;
    outcome.map_err(|late| anyhow!("{late}: {last}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_with_the_first_success() {
        let mut calls = 0;
        let answer = eventually(Duration::from_secs(5), async || {
            calls += 1;
            if calls < 3 { Err("not yet") } else { Ok(calls) }
        });
        assert_eq!(answer.await.unwrap(), 3);
    }

    #[tokio::test]
    async fn tells_the_last_error_at_the_deadline() {
        let answer: Result<()> = eventually(Duration::from_millis(60), async || Err("still closed")).await;
        let text = answer.unwrap_err().to_string();
        assert!(text.contains("60 ms") && text.contains("still closed"), "{text}");
    }

    #[tokio::test]
    async fn cuts_off_a_probe_that_hangs() {
        let answer: Result<()> =
            eventually(Duration::from_millis(50), async || std::future::pending::<Result<(), String>>().await).await;
        assert!(answer.is_err());
    }
}
