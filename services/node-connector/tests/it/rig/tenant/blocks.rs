//! The fake's side of `Blocks.Follow`.

use std::{pin::Pin, time::Duration};

use fiorino_proto::restore::v1::{
    BlockList, FollowRequest, FollowResponse, blocks_server::Blocks, follow_request, follow_response,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::Fake;

/// Between looks at what a test has reserved.
const LOOK: Duration = Duration::from_millis(20);

type Responses = Pin<Box<dyn tokio_stream::Stream<Item = Result<FollowResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Blocks for Fake {
    type FollowStream = Responses;

    async fn follow(&self, request: Request<Streaming<FollowRequest>>) -> Result<Response<Responses>, Status> {
        let mut requests = request.into_inner();
        loop {
            let Some(FollowRequest { message: Some(follow_request::Message::Opening(part)) }) =
                requests.message().await?
            else {
                return Err(Status::invalid_argument("an Opening comes first"));
            };
            self.0.rule(part.kept.len() <= 1_000, "at most 1,000 blocks")?;
            let complete = part.complete;
            self.0.script().openings.push(part);
            if complete {
                break;
            }
        }
        let store = self.0.script().store.clone();
        let (sender, responses) = mpsc::channel(16);
        let first = FollowResponse { message: Some(follow_response::Message::Store(store.clone())) };
        sender.send(Ok(first)).await.unwrap();
        let fake = self.clone();
        tokio::spawn(async move {
            let mut sent = 0;
            loop {
                let (news, now) = {
                    let script = fake.0.script();
                    (script.reserved[sent..].to_vec(), script.store.clone())
                };
                if now != store {
                    return;
                }
                sent += news.len();
                let message =
                    (!news.is_empty()).then_some(follow_response::Message::Blocks(BlockList { blocks: news }));
                if message.is_some() && sender.send(Ok(FollowResponse { message })).await.is_err() {
                    return;
                }
                match tokio::time::timeout(LOOK, requests.message()).await {
                    Err(_) => {}
                    Ok(Ok(Some(request))) => fake.heard(request),
                    Ok(_) => return,
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(responses))))
    }
}

impl Fake {
    fn heard(&self, request: FollowRequest) {
        let mut script = self.0.script();
        match request.message.unwrap() {
            follow_request::Message::Kept(BlockList { blocks }) => script.kept.extend(blocks),
            follow_request::Message::SentAgain(sent) => script.sent_again.push(sent),
            follow_request::Message::Opening(_) => panic!("an Opening after the first"),
        }
    }
}
