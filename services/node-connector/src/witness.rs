//! What outlives tenant's database: the end of each block of notice numbers, and the receipts that were applied (ARCHITECTURE.md 4.2).
//!
//! ```text
//!  opening: every end that is kept --> tenant compares
//!  tenant reserves a block --> its end is kept here --> tenant gives its numbers out
//!  tenant's store is another one --> receipts that it may lack are sent again
//! ```

mod kept;

use std::time::Duration;

use fiorino_kit::{backoff::Backoff, error::chain, rpc};
use fiorino_proto::restore::v1::{
    BlockList, FollowRequest, FollowResponse, Opening, SentAgain, Store, blocks_client::BlocksClient, follow_request,
    follow_response,
};
use sqlx::PgPool;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tonic::{Code, Status, Streaming};

use self::kept::{Kept, PART};

/// Between attempts to reach tenant: after a start it waits for us before it gives numbers out.
const RETRY: Backoff = Backoff { min: Duration::from_millis(100), max: Duration::from_secs(2), jitter: 25 };

/// Between attempts where tenant is of a version before witnesses.
const UNKNOWN: Duration = Duration::from_secs(30);

/// Longest wait for tenant's next message: it says something every 5 s.
const SILENCE: Duration = Duration::from_secs(15);

/// Messages that wait for the connection, beside the opening.
const PENDING: usize = 16;

/// Between reports of how many receipts are still to be sent again.
const REPORT: Duration = Duration::from_secs(1);

/// Keeps for tenant what its own database could forget; one per process.
#[derive(Debug)]
pub(crate) struct Witness {
    tenant: BlocksClient<rpc::Channel>,
    kept: Kept,
    replica: String,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("tenant ended the stream: {:?}", .0.code())]
    Tenant(#[from] Status),
    #[error("tenant was silent")]
    Silent,
    #[error("tenant said nothing of its store first")]
    NoStore,
    #[error("the database is away")]
    Database(#[from] sqlx::Error),
}

// === impl Witness ===

impl Witness {
    pub(crate) fn new(tenant: rpc::Channel, pool: PgPool, replica: String) -> Self {
        Self { tenant: BlocksClient::new(tenant), kept: Kept::new(pool), replica }
    }

    /// Follows tenant until `token` is cancelled.
    pub(crate) async fn run(self, token: CancellationToken) {
        let mut retry = RETRY.retry();
        let follow = async {
            loop {
                let ended = self.follow(|| retry.reset()).await;
                let pause = match &ended {
                    // A version that knows the call, and lists nobody for it, refuses it in the same way.
                    Err(Error::Tenant(status)) if is_unknown(status) => UNKNOWN,
                    _ => retry.next_delay(),
                };
                if let Err(error) = ended {
                    tracing::warn!(error = chain(&error), "no longer a witness of tenant's numbers, trying again");
                }
                tokio::time::sleep(pause).await;
            }
        };
        token.run_until_cancelled(follow).await;
    }

    /// One stream.
    async fn follow(&self, compared: impl FnOnce()) -> Result<(), Error> {
        let lost_from = self.kept.settle().await?;
        let kept = self.kept.all().await?;
        // Whatever is kept fits: it is all there when the stream begins.
        let (requests, opening) = mpsc::channel(kept.len() / PART + 1 + PENDING);
        let mut parts = kept.chunks(PART).map(<[_]>::to_vec).collect::<Vec<_>>();
        let last = parts.pop().unwrap_or_default();
        let part = |kept, complete| Opening {
            replica: self.replica.clone(),
            kept,
            complete,
            lost_from: lost_from.clone().unwrap_or_default(),
        };
        let all = parts.into_iter().map(|kept| part(kept, false)).chain([part(last, true)]);
        for opening in all {
            let request = FollowRequest { message: Some(follow_request::Message::Opening(opening)) };
            requests.try_send(request).map_err(|_| Error::Silent)?;
        }
        let mut responses = self.tenant.clone().follow(ReceiverStream::new(opening)).await?.into_inner();
        let Some(follow_response::Message::Store(store)) = next(&mut responses).await?.message else {
            return Err(Error::NoStore);
        };
        compared();
        if lost_from.is_some() {
            self.kept.lost_is_told().await?;
        }
        let again = tokio::spawn(send_again(self.kept.clone(), store, requests.clone()));
        let _again = AbortOnDropHandle::new(again);
        loop {
            match next(&mut responses).await?.message {
                Some(follow_response::Message::Blocks(BlockList { blocks })) => {
                    let blocks = self.kept.keep(&blocks).await?;
                    let message = Some(follow_request::Message::Kept(BlockList { blocks }));
                    requests.send(FollowRequest { message }).await.map_err(|_| Error::Silent)?;
                }
                // A sign of life is passed on to our own database: what it shows when it is restored is until when it was whole.
                None => self.kept.alive().await?,
                Some(follow_response::Message::Store(_)) => {}
            }
        }
    }
}

/// Tenant is of a version before witnesses.
fn is_unknown(status: &Status) -> bool {
    matches!(status.code(), Code::Unimplemented | Code::PermissionDenied)
}

async fn next(responses: &mut Streaming<FollowResponse>) -> Result<FollowResponse, Error> {
    let next = timeout(SILENCE, responses.message()).await.map_err(|_| Error::Silent)??;
    next.ok_or(Error::Silent)
}

/// Marks what the store may lack as due, and says how much of it is left, until nothing is.
async fn send_again(kept: Kept, store: Store, requests: mpsc::Sender<FollowRequest>) {
    let mut retry = Backoff::BACKGROUND.retry();
    loop {
        let remaining = match again(&kept, &store).await {
            Ok(remaining) => remaining,
            Err(error) => {
                tracing::warn!(error = chain(&error), "failed to send receipts again, trying again");
                retry.wait().await;
                continue;
            }
        };
        let message =
            Some(follow_request::Message::SentAgain(SentAgain { store_id: store.store_id.clone(), remaining }));
        if requests.send(FollowRequest { message }).await.is_err() || remaining == 0 {
            return;
        }
        tokio::time::sleep(REPORT).await;
    }
}

async fn again(kept: &Kept, store: &Store) -> sqlx::Result<u64> {
    if kept.begin_sending(&store.store_id).await? {
        let mut all = 0;
        if !store.send_again_since.is_empty() {
            loop {
                let marked = kept.mark(&store.send_again_since).await?;
                all += marked;
                if marked == 0 {
                    break;
                }
            }
        }
        kept.all_marked(&store.store_id).await?;
        if all > 0 {
            tracing::warn!(
                receipts = all,
                since = store.send_again_since,
                "tenant's database may lack receipts: sending them again"
            );
        }
    }
    kept.remaining().await
}
