//! Batches of notices to tenant.

use std::{pin::Pin, time::Duration};

use fiorino_kit::{clock::Clock, rpc};
use fiorino_proto::notices::v1::{
    ActivateManyRequest, ActivateReply, Activation, NoticeRef, VerifyManyRequest, VerifyReply,
    notices_client::NoticesClient,
};
use tonic::Status;

/// One notice, and until when its caller waits.
#[derive(Debug, Clone)]
pub(super) struct Ask<T> {
    pub(super) what: T,
    /// In monotonic time.
    pub(super) deadline: Duration,
}

/// What became of one notice of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answered<T> {
    Reply(T),
    /// Tenant was away: asking for this notice alone would not help.
    Away,
}

/// The work of a batch, as a `Batcher` wants it.
type Work<T> = Pin<Box<dyn Future<Output = Result<Vec<Answered<T>>, Status>> + Send>>;

pub(super) fn verify(channel: rpc::Channel, clock: Clock) -> impl Fn(Vec<Ask<NoticeRef>>) -> Work<VerifyReply> {
    let client = NoticesClient::new(channel);
    move |asks| {
        let (client, clock) = (client.clone(), clock.clone());
        Box::pin(batch(asks, clock, move |budget, notices| async move {
            let attempt = |request| {
                let mut client = client.clone();
                async move { client.verify_many(request).await }
            };
            rpc::call_twice(budget, &VerifyManyRequest { notices }, attempt).await.map(|response| response.replies)
        }))
    }
}

pub(super) fn activate(channel: rpc::Channel, clock: Clock) -> impl Fn(Vec<Ask<Activation>>) -> Work<ActivateReply> {
    let client = NoticesClient::new(channel);
    move |asks| {
        let (client, clock) = (client.clone(), clock.clone());
        Box::pin(batch(asks, clock, move |budget, activations| async move {
            let attempt = |request| {
                let mut client = client.clone();
                async move { client.activate_many(request).await }
            };
            rpc::call_twice(budget, &ActivateManyRequest { activations }, attempt)
                .await
                .map(|response| response.replies)
        }))
    }
}

/// Sends what is still waited for, for as long as the most patient caller waits.
///
/// # Errors
/// A status that may be the fault of one notice: the batch is then tried singly.
async fn batch<T, R, Replies>(
    asks: Vec<Ask<T>>,
    clock: Clock,
    send: impl FnOnce(Duration, Vec<T>) -> Replies,
) -> Result<Vec<Answered<R>>, Status>
where
    Replies: Future<Output = Result<Vec<R>, Status>>,
{
    let now = clock.monotonic();
    let waited_for: Vec<bool> = asks.iter().map(|ask| ask.deadline > now).collect();
    let budget = asks.iter().map(|ask| ask.deadline.saturating_sub(now)).max().unwrap_or_default();
    let live: Vec<T> = asks.into_iter().filter(|ask| ask.deadline > now).map(|ask| ask.what).collect();
    let expected = live.len();
    let replies = if live.is_empty() { Ok(Vec::new()) } else { send(budget, live).await };
    match replies {
        Ok(replies) if replies.len() == expected => {
            let mut replies = replies.into_iter();
            let answered = |live: bool| if live { replies.next() } else { None };
            Ok(waited_for
                .into_iter()
                .map(answered)
                .map(|reply| reply.map_or(Answered::Away, Answered::Reply))
                .collect())
        }
        Ok(replies) => Err(Status::internal(format!("{} replies for {expected} notices", replies.len()))),
        Err(status) if rpc::is_away(&status) => Ok(waited_for.iter().map(|_| Answered::Away).collect()),
        Err(status) => Err(status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(deadlines_ms: &[u64]) -> Vec<Ask<u64>> {
        deadlines_ms.iter().map(|&ms| Ask { what: ms, deadline: Duration::from_millis(ms) }).collect()
    }

    fn clock_at(ms: u64) -> Clock {
        let (clock, hand) = Clock::manual(jiff::Timestamp::UNIX_EPOCH);
        hand.advance(Duration::from_millis(ms));
        clock
    }

    #[tokio::test]
    async fn replies_keep_the_order_and_who_gave_up_is_left_out() {
        let answered = batch(asks(&[500, 90, 700]), clock_at(100), async |budget, live| {
            assert_eq!(budget, Duration::from_millis(600));
            Ok(live)
        });
        assert_eq!(answered.await.unwrap(), [Answered::Reply(500), Answered::Away, Answered::Reply(700)]);
    }

    #[tokio::test]
    async fn nobody_waits_nothing_is_sent() {
        let answered = batch(asks(&[50, 100]), clock_at(100), async |_, _| -> Result<Vec<u64>, Status> {
            panic!("nobody waits for this")
        });
        assert_eq!(answered.await.unwrap(), [Answered::Away, Answered::Away]);
    }

    #[tokio::test]
    async fn tenant_away_is_no_fault_of_a_notice() {
        let away = batch(asks(&[500]), clock_at(0), async |_, _| Err::<Vec<u64>, _>(Status::unavailable("away")));
        assert_eq!(away.await.unwrap(), [Answered::Away]);
        let refused = batch(asks(&[500]), clock_at(0), async |_, _| Err::<Vec<u64>, _>(Status::internal("broken")));
        assert!(refused.await.is_err());
    }

    #[tokio::test]
    async fn a_wrong_number_of_replies_is_refused() {
        let answered = batch(asks(&[500, 600]), clock_at(0), async |_, _| Ok(vec![1]));
        assert!(answered.await.is_err());
    }
}
