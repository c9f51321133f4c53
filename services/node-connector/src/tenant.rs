//! Calls to tenant within a deadline: a first attempt, and one retry on another replica with the rest of the time
//! (ARCHITECTURE.md 5.3).

use std::time::Duration;

use tokio::time::timeout;
use tonic::{Code, Request, Response, Status};

/// Longest first attempt: what is left is enough for another replica.
pub(crate) const FIRST_ATTEMPT: Duration = Duration::from_millis(800);

/// Calls twice at most, within `budget`. The channel gives the second attempt to another replica, if there is one.
///
/// # Errors
/// The status of the last attempt; `DEADLINE_EXCEEDED` when tenant did not answer in time.
pub(crate) async fn call<T, R, Answer>(
    budget: Duration,
    message: &T,
    attempt: impl Fn(Request<T>) -> Answer,
) -> Result<R, Status>
where
    T: Clone,
    Answer: Future<Output = Result<Response<R>, Status>>,
{
    let first = budget.min(FIRST_ATTEMPT);
    let started = tokio::time::Instant::now();
    match once(first, message.clone(), &attempt).await {
        Err(status) if is_away(&status) => {
            let left = budget.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Err(status);
            }
            tracing::debug!(code = ?status.code(), "tenant did not answer, trying another replica");
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
        Err(_) => Err(Status::deadline_exceeded("tenant did not answer in time")),
    }
}

/// Whether the status says that tenant, or something it needs, is away: another request would have fared no better.
pub(crate) fn is_away(status: &Status) -> bool {
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
