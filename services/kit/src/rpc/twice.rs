//! A call within a deadline: a first attempt, and one retry on another replica with the rest of the time.

use std::time::Duration;

use tokio::time::timeout;
use tonic::{Code, Request, Response, Status};

use crate::clock::Clock;

/// Longest first attempt: what is left is enough for another replica (ARCHITECTURE.md 5.3).
const FIRST_ATTEMPT: Duration = Duration::from_millis(800);

/// Calls twice at most, within `budget`. The channel gives the second attempt to another replica, if there is one.
///
/// # Errors
/// The status of the last attempt; `DEADLINE_EXCEEDED` when nobody answered in time.
pub async fn call_twice<T, R, Answer>(
    budget: Duration,
    message: &T,
    attempt: impl Fn(Request<T>) -> Answer,
) -> Result<R, Status>
where
    T: Clone,
    Answer: Future<Output = Result<Response<R>, Status>>,
{
    // The machine's: so are the timers that cut an attempt off.
    let clock = Clock::system();
    let started = clock.monotonic();
    match once(budget.min(FIRST_ATTEMPT), message.clone(), &attempt).await {
        Err(status) if is_away(&status) => {
            let left = budget.saturating_sub(clock.monotonic().saturating_sub(started));
            if left.is_zero() {
                return Err(status);
            }
            tracing::debug!(code = ?status.code(), "no answer, trying another replica");
            once(left, message.clone(), &attempt).await
        }
        answered => answered,
    }
}

async fn once<T, R, Answer>(limit: Duration, message: T, attempt: &impl Fn(Request<T>) -> Answer) -> Result<R, Status>
where
    Answer: Future<Output = Result<Response<R>, Status>>,
{
    let mut request = Request::new(message);
    request.set_timeout(limit);
    match timeout(limit, attempt(request)).await {
        Ok(answered) => answered.map(Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded(format!("no answer within {} ms", limit.as_millis()))),
    }
}

/// Whether the status says that the other side, or something it needs, is away: another request would have fared no better.
pub fn is_away(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Aborted | Code::Cancelled => true,
        Code::Ok
        | Code::Unknown
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::DataLoss
        | Code::Unauthenticated => false,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use rstest::rstest;

    use super::*;

    const BUDGET: Duration = Duration::from_secs(2);

    /// Of each attempt, what it did; `None`: it hung.
    async fn call(budget: Duration, attempts: &[Option<Code>]) -> (Code, usize) {
        let left = RefCell::new(attempts.iter());
        let answered = call_twice(budget, &"who", |request: Request<&str>| {
            assert_eq!(request.get_ref(), &"who");
            assert!(request.metadata().contains_key("grpc-timeout"));
            let next = *left.borrow_mut().next().expect("another attempt");
            async move {
                match next {
                    Some(Code::Ok) => Ok(Response::new(())),
                    Some(code) => Err(Status::new(code, "as the test says")),
                    None => std::future::pending().await,
                }
            }
        });
        let code = answered.await.map_or_else(|status| status.code(), |()| Code::Ok);
        (code, attempts.len() - left.into_inner().len())
    }

    #[rstest]
    #[case::answered(&[Some(Code::Ok)], Code::Ok, 1)]
    #[case::refused(&[Some(Code::NotFound)], Code::NotFound, 1)]
    #[case::away_once(&[Some(Code::Unavailable), Some(Code::Ok)], Code::Ok, 2)]
    #[case::away(&[Some(Code::Unavailable), Some(Code::Aborted)], Code::Aborted, 2)]
    #[case::hung_once(&[None, Some(Code::Ok)], Code::Ok, 2)]
    #[tokio::test]
    async fn who_is_away_is_tried_once_more(
        #[case] attempts: &[Option<Code>],
        #[case] code: Code,
        #[case] made: usize,
    ) {
        assert_eq!(call(BUDGET, attempts).await, (code, made));
    }

    #[tokio::test]
    async fn both_attempts_end_within_the_budget() {
        let budget = FIRST_ATTEMPT + Duration::from_millis(100);
        let both = timeout(BUDGET, call(budget, &[None, None])).await.expect("an end in time");
        assert_eq!(both, (Code::DeadlineExceeded, 2));
        let short = call(Duration::from_millis(50), &[None]).await;
        assert_eq!(short, (Code::DeadlineExceeded, 1), "nothing is left for another one");
    }
}
