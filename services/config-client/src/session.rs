//! One stream to one replica of tenant.

use std::time::Duration;

use fiorino_kit::{clock::Clock, rpc};
use fiorino_proto::config::v1::{
    Ack, Hello, Nack, StreamRequest, StreamResponse, config_stream_client::ConfigStreamClient, stream_request::Message,
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::holding::Unusable;

/// Acks that wait for the connection; more mean that it is stuck.
const PENDING_ACKS: usize = 4;

/// How long tenant may take to end a stream that the replica leaves.
const GOODBYE: Duration = Duration::from_secs(1);

/// An open stream.
pub(crate) struct Session {
    requests: mpsc::Sender<StreamRequest>,
    responses: Streaming<StreamResponse>,
    /// Of this stream, as told with the first response.
    nonce: String,
    silence: Duration,
    /// By [`Clock::monotonic`].
    silent_at: Duration,
    clock: Clock,
}

/// Why a stream could not be opened, or broke.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("failed to open the stream")]
    Open(#[source] Box<tonic::Status>),
    #[error("the stream broke")]
    Broken(#[source] Box<tonic::Status>),
    #[error("tenant ended the stream")]
    Ended,
    #[error("tenant was silent for {0:?}")]
    Silent(Duration),
    #[error("tenant does not take acknowledgements")]
    Stuck,
    #[error("the message cannot be used")]
    Unusable(#[from] Unusable),
}

// === impl Session ===

impl Session {
    /// Says hello. tenant must say something within `silence`, then and always.
    pub(crate) async fn open(
        channel: rpc::Channel,
        hello: Hello,
        silence: Duration,
        clock: Clock,
    ) -> Result<Self, Error> {
        let (requests, outbound) = mpsc::channel(PENDING_ACKS);
        let hello = StreamRequest { message: Some(Message::Hello(hello)) };
        requests.try_send(hello).map_err(|_| Error::Stuck)?;
        let mut client = ConfigStreamClient::new(channel);
        let opening = client.stream(ReceiverStream::new(outbound));
        let responses = match timeout(silence, opening).await {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => return Err(Error::Open(Box::new(status))),
            Err(_) => return Err(Error::Silent(silence)),
        };
        let silent_at = clock.monotonic() + silence;
        Ok(Self { requests, responses, nonce: String::new(), silence, silent_at, clock })
    }

    /// The next message. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<StreamResponse, Error> {
        let left = self.silent_at.saturating_sub(self.clock.monotonic());
        match timeout(left, self.responses.message()).await {
            Ok(Ok(Some(message))) => {
                self.silent_at = self.clock.monotonic() + self.silence;
                self.nonce.clone_from(&message.nonce);
                Ok(message)
            }
            Ok(Ok(None)) => Err(Error::Ended),
            Ok(Err(status)) => Err(Error::Broken(Box::new(status))),
            Err(_) => Err(Error::Silent(self.silence)),
        }
    }

    /// Everything up to `acknowledged_seq` is in effect, except what `nacks` lists.
    pub(crate) fn acknowledge(&self, acknowledged_seq: i64, nacks: Vec<Nack>) -> Result<(), Error> {
        let ack = Ack { nonce: self.nonce.clone(), acknowledged_seq, nacks };
        self.requests.try_send(StreamRequest { message: Some(Message::Ack(ack)) }).map_err(|_| Error::Stuck)
    }

    /// Ends the stream in order: tenant does not wait for this replica any more.
    pub(crate) async fn leave(self) {
        let Self { requests, mut responses, .. } = self;
        drop(requests);
        let end = async { while let Ok(Some(_)) = responses.message().await {} };
        // A tenant that does not answer finds out by the missing heartbeat.
        drop(timeout(GOODBYE, end).await);
    }
}
