//! `ConfigStream`: snapshot, then deltas, to each replica; its acknowledgements back.
//!
//! ```text
//!  Hello --> register (watermark) --> Sender: head read, snapshot or delta in chunks, then each change
//!  Acks  --> Receiver: checked against what was sent, recorded as the watermark
//! ```

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use fiorino_kit::rpc;
use fiorino_proto::config::v1::{
    Ack, Hello, StreamRequest, StreamResponse, config_stream_server::ConfigStream, stream_request::Message,
};
use sqlx::PgPool;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

mod changes;
mod sender;

use self::sender::Sender;
use super::{spec::is_name, wake::Wake, watermark::Registration};
use crate::{
    context::Context,
    error::{Error, Result},
    restore,
};

/// How long a stream waits for its Hello.
const HELLO_LIMIT: Duration = Duration::from_secs(10);

/// Chunks that wait for a slow replica.
const CHUNKS_PENDING: usize = 4;

/// Refusals in one acknowledgement, and bytes of a reason.
const NACKS_MAX: usize = 1_000;
const REASON_MAX: usize = 500;

/// Serves configuration.
#[derive(Debug)]
pub struct Stream {
    context: Context,
    wake: Wake,
    token: CancellationToken,
}

/// One stream's side of the acknowledgements.
struct Receiver {
    pool: PgPool,
    wake: Wake,
    registration: Registration,
    /// Everything up to here was sent.
    sent: Arc<AtomicI64>,
}

type Responses = Pin<Box<dyn tokio_stream::Stream<Item = Result<StreamResponse, Status>> + Send>>;

// === impl Stream ===

impl Stream {
    /// `token` ends the streams, so that replicas go to another tenant.
    pub fn new(context: Context, wake: Wake, token: CancellationToken) -> Self {
        Self { context, wake, token }
    }

    async fn open(&self, caller: &str, mut requests: Streaming<StreamRequest>) -> Result<Responses, Status> {
        let hello = hello(&mut requests).await?;
        if hello.service != caller {
            return Err(Status::permission_denied(format!("{caller} may not speak for {:?}", hello.service)));
        }
        let Hello { service, replica, store_id, known_seq, .. } = &hello;
        let holder = format!("{service} {replica}");
        restore::compare_copy(&self.context, &holder, store_id, *known_seq).await.map_err(Error::from)?;
        let pool = self.context.pools.stream.clone();
        let registration = {
            let mut conn = pool.acquire().await.map_err(Error::from)?;
            Registration::register(&mut conn, &hello, Uuid::new_v4().to_string()).await?
        };
        tracing::info!(service = hello.service, replica = hello.replica, known_seq = hello.known_seq, "stream opened");
        let (chunks, responses) = mpsc::channel(CHUNKS_PENDING);
        let sent = Arc::new(AtomicI64::new(0));
        let sender = Sender::new(pool.clone(), &hello, &registration.nonce, chunks.clone(), Arc::clone(&sent));
        let receiver = Receiver { pool, wake: self.wake.clone(), registration, sent };
        let (wake, token) = (self.wake.clone(), self.token.clone());
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = sender.run(&wake) => ended,
                ended = receiver.run(requests) => ended,
                () = chunks.closed() => return,
                () = token.cancelled() => return,
            };
            if let Err(error) = ended {
                // A replica that is gone needs no reason.
                drop(chunks.send(Err(error.into())).await);
            }
        });
        Ok(Box::pin(ReceiverStream::new(responses)))
    }
}

#[tonic::async_trait]
impl ConfigStream for Stream {
    type StreamStream = Responses;

    async fn stream(&self, request: Request<Streaming<StreamRequest>>) -> Result<Response<Responses>, Status> {
        let caller = rpc::peer(&request).name;
        Ok(Response::new(self.open(&caller, request.into_inner()).await?))
    }
}

// === impl Receiver ===

impl Receiver {
    /// Records acknowledgements until the replica ends the stream.
    async fn run(&self, mut requests: Streaming<StreamRequest>) -> Result<()> {
        // A broken connection is the replica's business: it comes back, or its heartbeat runs out.
        while let Ok(request) = requests.message().await {
            let Some(request) = request else {
                self.registration.leave(&mut *self.pool.acquire().await?).await?;
                self.wake.wake();
                return Ok(());
            };
            let Some(Message::Ack(ack)) = request.message else {
                return Err(Error::invalid("message", "must be an Ack after the Hello"));
            };
            self.check(&ack)?;
            let mut conn = self.pool.acquire().await?;
            if self.registration.acknowledge(&mut conn, ack).await? {
                self.wake.wake();
            }
        }
        Ok(())
    }

    fn check(&self, ack: &Ack) -> Result<()> {
        if ack.nonce != self.registration.nonce {
            return Err(Error::invalid("ack.nonce", "is not the one of this stream"));
        }
        let sent = self.sent.load(Ordering::Acquire);
        if !(0..=sent).contains(&ack.acknowledged_seq) {
            let message = format!("must be between 0 and {sent}, which was sent");
            return Err(Error::invalid("ack.acknowledged_seq", message));
        }
        if ack.nacks.len() > NACKS_MAX {
            return Err(Error::invalid("ack.nacks", format!("must be at most {NACKS_MAX}")));
        }
        match ack.nacks.iter().find(|nack| nack.uid.is_empty() || nack.reason.len() > REASON_MAX) {
            Some(_) => {
                Err(Error::invalid("ack.nacks", format!("must have a uid and a reason of at most {REASON_MAX} bytes")))
            }
            None => Ok(()),
        }
    }
}

/// The first request, checked.
async fn hello(requests: &mut Streaming<StreamRequest>) -> Result<Hello, Status> {
    let first = timeout(HELLO_LIMIT, requests.message()).await;
    let first = first.map_err(|_| Status::deadline_exceeded("no Hello within 10 s"))??;
    let Some(StreamRequest { message: Some(Message::Hello(hello)) }) = first else {
        return Err(Error::invalid("message", "must be a Hello first").into());
    };
    for (field, value) in [("service", &hello.service), ("replica", &hello.replica), ("boot_id", &hello.boot_id)] {
        if !is_name(value) {
            let message = "must be 1 to 100 ASCII characters without spaces";
            return Err(Error::invalid(format!("hello.{field}"), message).into());
        }
    }
    if hello.capabilities.len() > 100 || !hello.capabilities.iter().all(|name| is_name(name)) {
        return Err(Error::invalid("hello.capabilities", "must be at most 100 names").into());
    }
    Ok(hello)
}
