//! The sending side of one stream.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use fiorino_kit::store;
use fiorino_proto::config::v1::{Hello, Resource, StreamResponse};
use prost::Message as _;
use sqlx::PgPool;
use tokio::{sync::mpsc, time::timeout};
use tonic::Status;
use tracing::Instrument as _;

use super::changes::{Cursor, Kinds};
use crate::{
    configuration::{head::Head, wake::Wake},
    error::Result,
};

/// How long a change that nobody told of stays unseen.
const POLL: Duration = Duration::from_secs(1);

/// Polls without news after which the replica is told that the stream lives.
const QUIET_POLLS: u32 = 5;

/// Largest message, bytes.
const CHUNK_MAX: usize = 256 * 1024;

/// What a message takes beside its resources, and a resource beside its own bytes: more than they ever need.
const FRAME: usize = 512;
const FIELD: usize = 16;

/// Sends what a replica does not hold yet.
#[derive(Debug)]
pub(super) struct Sender {
    pool: PgPool,
    kinds: Kinds,
    nonce: String,
    chunks: mpsc::Sender<Result<StreamResponse, Status>>,
    sent: Arc<AtomicI64>,
    /// Store and sequence that the replica has from before.
    known: (String, i64),
}

// === impl Sender ===

impl Sender {
    pub(super) fn new(
        pool: PgPool,
        hello: &Hello,
        nonce: &str,
        chunks: mpsc::Sender<Result<StreamResponse, Status>>,
        sent: Arc<AtomicI64>,
    ) -> Self {
        let known = (hello.store_id.clone(), hello.known_seq);
        Self { pool, kinds: Kinds::of(&hello.service), nonce: nonce.to_owned(), chunks, sent, known }
    }

    /// Until the replica is gone or the database fails.
    pub(super) async fn run(self, wake: &Wake) -> Result<()> {
        let mut news = wake.subscribe();
        let mut head = self.head().await?;
        let (store_id, known_seq) = &self.known;
        let fits = *store_id == head.store_id.to_string() && (0..=head.config_seq).contains(known_seq);
        let first = if fits { Cursor::delta(*known_seq, head.config_seq) } else { Cursor::snapshot() };
        self.send(head, first).await?;
        let mut quiet = 0;
        loop {
            // Woken or not, the head tells.
            drop(timeout(POLL, news.changed()).await);
            let now = self.head().await?;
            if now.store_id != head.store_id || now.config_seq < head.config_seq {
                self.send(now, Cursor::snapshot()).await?; // restored under our feet
            } else if now.config_seq > head.config_seq {
                self.send(now, Cursor::delta(head.config_seq, now.config_seq)).await?;
            } else if quiet < QUIET_POLLS {
                quiet += 1;
                continue;
            } else {
                self.send(now, Cursor::delta(now.config_seq, now.config_seq)).await?;
            }
            quiet = 0;
            head = now;
        }
    }

    async fn head(&self) -> Result<Head> {
        let mut conn = self.pool.acquire().await?;
        Ok(Head::read(&mut conn).await?)
    }

    /// Sends what the cursor finds, in chunks; the last one completes it.
    ///
    /// The head was read before the pages: what changes meanwhile may be among them already, and is sent again with the next delta.
    async fn send(&self, head: Head, mut cursor: Cursor) -> Result<()> {
        let snapshot_start = matches!(cursor, Cursor::Snapshot { .. });
        let mut chunk = StreamResponse { snapshot_start, ..self.chunk(head) };
        let mut size = FRAME;
        loop {
            let page = {
                let mut conn = self.pool.acquire().await?;
                cursor.page(&mut conn, &self.kinds).instrument(store::span("read changes")).await?
            };
            if page.is_empty() {
                break;
            }
            for change in page {
                let (uid, removed) = (change.uid.clone(), change.removed);
                let resource = Resource::from(change);
                let bytes = FIELD + if removed { uid.len() } else { resource.encoded_len() };
                if size + bytes > CHUNK_MAX {
                    self.pass(std::mem::replace(&mut chunk, self.chunk(head))).await;
                    size = FRAME;
                }
                size += bytes;
                if removed { chunk.tombstones.push(uid) } else { chunk.resources.push(resource) }
            }
        }
        // Before it is sent: the acknowledgement must find it.
        self.sent.store(head.config_seq, Ordering::Release);
        self.pass(StreamResponse { complete: true, up_to_seq: head.config_seq, ..chunk }).await;
        Ok(())
    }

    fn chunk(&self, head: Head) -> StreamResponse {
        StreamResponse { nonce: self.nonce.clone(), store_id: head.store_id.to_string(), ..StreamResponse::default() }
    }

    /// Waits for a slow replica; one that is gone ends the stream from outside.
    async fn pass(&self, chunk: StreamResponse) {
        drop(self.chunks.send(Ok(chunk)).await);
    }
}
