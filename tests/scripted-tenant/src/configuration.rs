//! The configuration stream: everything at once, at the beginning, after each change, and now and then.

use std::{collections::BTreeMap, pin::Pin, sync::Mutex, time::Duration};

use fiorino_proto::config::v1::{
    Ack, Resource, ResourceKind, StreamRequest, StreamResponse, config_stream_server::ConfigStream,
    stream_request::Message,
};
use tokio::sync::{mpsc, watch};
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

use crate::{Script, Shared};

const STORE: &str = "scripted-store";
/// Between two snapshots without a change.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// What is streamed, and what came back.
#[derive(Debug)]
pub(crate) struct Configuration {
    /// By uid.
    resources: Mutex<BTreeMap<String, Resource>>,
    /// A change is streamed.
    seq: watch::Sender<i64>,
    acknowledged: Mutex<Option<Ack>>,
}

/// A resource with a spec, in its first generation.
pub fn resource(kind: ResourceKind, uid: &str, spec: &impl prost::Message) -> Resource {
    Resource {
        kind: kind.into(),
        uid: uid.to_owned(),
        generation: 1,
        spec: spec.encode_to_vec().into(),
        ..Resource::default()
    }
}

fn by_uid(resources: impl IntoIterator<Item = Resource>) -> impl Iterator<Item = (String, Resource)> {
    resources.into_iter().map(|resource| (resource.uid.clone(), resource))
}

// === impl Configuration ===

impl Configuration {
    pub(crate) fn new(resources: impl IntoIterator<Item = Resource>) -> Self {
        Self {
            resources: Mutex::new(by_uid(resources).collect()),
            seq: watch::Sender::new(1),
            acknowledged: Mutex::default(),
        }
    }

    pub(crate) fn change(&self, resources: impl IntoIterator<Item = Resource>) -> i64 {
        self.resources.lock().unwrap().extend(by_uid(resources));
        self.seq.send_modify(|seq| *seq += 1);
        *self.seq.borrow()
    }

    pub(crate) fn acknowledged(&self) -> Option<Ack> {
        self.acknowledged.lock().unwrap().clone()
    }

    fn snapshot(&self, nonce: &str) -> StreamResponse {
        StreamResponse {
            nonce: nonce.to_owned(),
            store_id: STORE.to_owned(),
            snapshot_start: true,
            resources: self.resources.lock().unwrap().values().cloned().collect(),
            tombstones: Vec::new(),
            complete: true,
            up_to_seq: *self.seq.borrow(),
        }
    }
}

// === impl Shared ===

impl<S> Shared<S> {
    /// Streams until the caller or tenant has gone.
    async fn feed(
        self,
        nonce: String,
        mut requests: Streaming<StreamRequest>,
        responses: mpsc::Sender<Result<StreamResponse, Status>>,
    ) {
        let mut seq = self.configuration.seq.subscribe();
        loop {
            seq.borrow_and_update();
            if responses.send(Ok(self.configuration.snapshot(&nonce))).await.is_err() {
                return;
            }
            loop {
                tokio::select! {
                    () = self.token.cancelled() => return,
                    changed = seq.changed() => if changed.is_ok() { break } else { return },
                    () = tokio::time::sleep(HEARTBEAT) => break,
                    told = requests.next() => match told {
                        Some(Ok(StreamRequest { message: Some(Message::Ack(ack)) })) => {
                            *self.configuration.acknowledged.lock().unwrap() = Some(ack);
                        }
                        Some(Ok(_)) => {}
                        Some(Err(_)) | None => return,
                    },
                }
            }
        }
    }
}

#[tonic::async_trait]
impl<S: Script> ConfigStream for Shared<S> {
    type StreamStream = Pin<Box<dyn Stream<Item = Result<StreamResponse, Status>> + Send>>;

    async fn stream(&self, request: Request<Streaming<StreamRequest>>) -> Result<Response<Self::StreamStream>, Status> {
        let mut requests = request.into_inner();
        let first = requests.message().await?.and_then(|request| request.message);
        let Some(Message::Hello(hello)) = first else { return Err(Status::invalid_argument("the first is a hello")) };
        self.rule(hello.service == S::CALLER && !hello.boot_id.is_empty(), "a hello tells who it is")?;
        let (responses, stream) = mpsc::channel(4);
        tokio::spawn(self.clone().feed(hello.boot_id, requests, responses));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}
