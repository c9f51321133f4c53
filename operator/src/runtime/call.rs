//! One call to the API server: with a deadline, which the client itself has not (a watch is a call without an end).

use std::time::Duration;

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The answer of a call, or that none came in time.
///
/// # Errors
/// Those of the call; [`kube::Error::Service`] when there is no answer in time.
pub async fn timely<T>(call: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    within(TIMEOUT, call).await
}

async fn within<T>(timeout: Duration, call: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    // Calls of the client are large futures.
    match tokio::time::timeout(timeout, Box::pin(call)).await {
        Ok(answer) => answer,
        Err(elapsed) => Err(kube::Error::Service(elapsed.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_api_server_that_hangs_is_given_up() {
        let hangs = within(Duration::from_millis(1), std::future::pending::<kube::Result<()>>());
        assert!(matches!(hangs.await, Err(kube::Error::Service(_))));
        timely(async { Ok(()) }).await.unwrap();
    }
}
