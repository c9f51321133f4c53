//! `Blocks.Follow`: a node-connector says which numbers it knows of, and keeps the end of each further block in its own database.

use std::{collections::HashMap, pin::Pin, time::Duration};

use fiorino_domain::case::CaseKind;
use fiorino_proto::restore::v1::{
    BlockList, FollowRequest, FollowResponse, Opening, SentAgain, Store, blocks_server, follow_request, follow_response,
};
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use super::{
    Witness, origin,
    points::{self, Key, Stated},
};
use crate::{
    cases::{self, NewCase},
    error::{Error, Result},
    key::key,
};

/// How long a stream waits for the next part of its opening.
const OPENING_LIMIT: Duration = Duration::from_secs(10);

/// Parts of an opening: a million sequences.
const PARTS_MAX: usize = 1_000;

/// How long a block that another replica of tenant reserved stays unseen.
const POLL: Duration = Duration::from_millis(200);

/// Polls without news after which a sign of life is sent.
const QUIET_POLLS: u32 = 25;

/// Messages that wait for a slow node-connector.
const PENDING: usize = 4;

/// Serves the streams of node-connectors.
#[derive(Debug)]
pub struct Blocks {
    witness: Witness,
    token: CancellationToken,
}

/// One stream.
struct Follower {
    witness: Witness,
    /// The store that it was opened with.
    store_id: Uuid,
    /// The highest end that was sent, or stated, of each sequence.
    sent: HashMap<Key, i64>,
    responses: mpsc::Sender<Result<FollowResponse, Status>>,
}

type Responses = Pin<Box<dyn tokio_stream::Stream<Item = Result<FollowResponse, Status>> + Send>>;

// === impl Blocks ===

impl Blocks {
    /// `token` ends the streams.
    pub fn new(witness: Witness, token: CancellationToken) -> Self {
        Self { witness, token }
    }

    async fn open(&self, mut requests: Streaming<FollowRequest>) -> Result<Responses, Status> {
        let sent = self.compare(&mut requests).await?;
        let context = self.witness.context();
        let (store_id, since) = self.store().await?;
        let origin = origin::look(&context.pools.stream, context.clock.now()).await.map_err(Error::from)?;
        if origin.restored {
            self.witness.seen(origin);
        }
        let (sender, responses) = mpsc::channel(PENDING);
        let store = Store { store_id: store_id.to_string(), send_again_since: since.unwrap_or_default() };
        let first = FollowResponse { message: Some(follow_response::Message::Store(store)) };
        sender.try_send(Ok(first)).map_err(|_| Status::internal("the stream has no room"))?;
        let follower = Follower { witness: self.witness.clone(), store_id, sent, responses: sender.clone() };
        let (witness, token) = (self.witness.clone(), self.token.clone());
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = follower.send() => ended,
                ended = receive(&witness, store_id, requests) => ended,
                () = sender.closed() => return,
                () = token.cancelled() => return,
            };
            if let Err(error) = ended {
                // A node-connector that is gone needs no reason.
                drop(sender.send(Err(error.into())).await);
            }
        });
        Ok(Box::pin(ReceiverStream::new(responses)))
    }

    /// Reads the opening; who is ahead makes the store a suspect.
    async fn compare(&self, requests: &mut Streaming<FollowRequest>) -> Result<HashMap<Key, i64>, Status> {
        let context = self.witness.context();
        let environment = context.environment.as_str();
        let mut everything = Stated::default();
        for _ in 0..PARTS_MAX {
            let part = opening(requests).await?;
            key("opening.replica", &part.replica)?;
            everything.append(Stated::read(&part.kept)?);
            if !part.complete {
                continue;
            }
            let replica = &part.replica;
            let mut conn = context.pools.stream.acquire().await.map_err(Error::from)?;
            let ahead = everything.ahead(&mut conn, environment).await.map_err(Error::from)?;
            if ahead > 0 {
                let reason = format!("{replica} knows numbers of {ahead} sequences that were not given out here");
                self.witness.suspect_by(&reason, Some(&everything)).await.map_err(Error::from)?;
            } else {
                everything.witnessed(&mut conn, environment).await.map_err(Error::from)?;
                self.witness.kept();
            }
            self.inbox_lost(&mut conn, &part.lost_from, &everything).await?;
            sqlx::query("update store_origin set compared_at = now() where id = (select max(id) from store_origin)")
                .execute(&mut *conn)
                .await
                .map_err(Error::from)?;
            let sent = everything.ends();
            tracing::info!(replica, sequences = sent.len(), ahead, "a node-connector has compared its numbers");
            return Ok(sent);
        }
        Err(Error::invalid("opening", format!("must be at most {PARTS_MAX} parts")).into())
    }

    /// The node-connector's own database went back: tenant has receipts whose raw messages are gone, and somebody is to know it.
    async fn inbox_lost(&self, conn: &mut PgConnection, lost_from: &str, kept: &Stated) -> Result<()> {
        let context = self.witness.context();
        let from: Option<jiff::Timestamp> = match lost_from {
            "" => None,
            text => Some(text.parse().map_err(|_| Error::invalid("opening.lost_from", "must be an RFC 3339 time"))?),
        };
        let forgotten = match from {
            Some(_) => 0,
            None => kept.forgotten(conn, context.environment.as_str()).await?,
        };
        if from.is_none() && forgotten == 0 {
            return Ok(());
        }
        let now = context.clock.now();
        let receipts: Option<i64> = match from {
            Some(from) => {
                let counted =
                    sqlx::query_scalar("select count(*) from receipt where applied_at >= $1").bind(from.to_sqlx());
                Some(counted.fetch_one(&mut *conn).await?)
            }
            None => None,
        };
        tracing::error!(
            ?receipts,
            "the node-connectors' database went back in time: raw messages of receipts are gone"
        );
        let case = NewCase {
            institution_id: cases::NO_INSTITUTION,
            kind: CaseKind::InboxRestored,
            key: from.map_or_else(|| context.clock.today().to_string(), |from| from.to_string()),
            nav: None,
            receipt_id: None,
            detail: serde_json::json!({ "from": from, "until": now, "receipts": receipts }),
            opened_at: now,
        };
        cases::open(conn, &[case]).await?;
        Ok(())
    }

    /// The store, and from when on receipts may be missing in it.
    async fn store(&self) -> Result<(Uuid, Option<String>)> {
        Ok(sqlx::query_as(
            "select h.store_id, to_char(o.since at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')
             from config_head h cross join store_origin o order by o.id desc limit 1",
        )
        .fetch_one(&self.witness.context().pools.stream)
        .await?)
    }
}

#[tonic::async_trait]
impl blocks_server::Blocks for Blocks {
    type FollowStream = Responses;

    async fn follow(&self, request: Request<Streaming<FollowRequest>>) -> Result<Response<Responses>, Status> {
        Ok(Response::new(self.open(request.into_inner()).await?))
    }
}

async fn opening(requests: &mut Streaming<FollowRequest>) -> Result<Opening, Status> {
    let next = timeout(OPENING_LIMIT, requests.message()).await;
    match next.map_err(|_| Status::deadline_exceeded("no Opening within 10 s"))?? {
        Some(FollowRequest { message: Some(follow_request::Message::Opening(opening)) }) => Ok(opening),
        _ => Err(Error::invalid("message", "must be an Opening until one is complete").into()),
    }
}

/// Records what the node-connector has kept, and how far it sent receipts again, until it ends the stream.
async fn receive(witness: &Witness, store_id: Uuid, mut requests: Streaming<FollowRequest>) -> Result<()> {
    let context = witness.context();
    while let Ok(Some(request)) = requests.message().await {
        let mut conn = context.pools.stream.acquire().await?;
        match request.message {
            Some(follow_request::Message::Kept(BlockList { blocks })) => {
                let stated = Stated::read(&blocks)?;
                let environment = context.environment.as_str();
                if stated.ahead(&mut conn, environment).await? > 0 {
                    let reason = "a node-connector knows numbers that were not given out here";
                    witness.suspect_by(reason, Some(&stated)).await?;
                    return Ok(());
                }
                stated.witnessed(&mut conn, environment).await?;
                witness.kept();
            }
            Some(follow_request::Message::SentAgain(SentAgain { store_id: of, remaining }))
                if of == store_id.to_string() =>
            {
                sqlx::query(
                    "update store_origin
                     set remaining = $1, sent_again_at = case when $1 = 0 then coalesce(sent_again_at, now()) else sent_again_at end
                     where id = (select max(id) from store_origin) and exists (select from config_head where store_id = $2)",
                )
                .bind(i64::try_from(remaining).unwrap_or(i64::MAX))
                .bind(store_id)
                .execute(&mut *conn)
                .await?;
            }
            Some(follow_request::Message::SentAgain(_)) => {}
            Some(follow_request::Message::Opening(_)) | None => {
                return Err(Error::invalid("message", "must be Kept or SentAgain after the opening"));
            }
        }
    }
    Ok(())
}

// === impl Follower ===

impl Follower {
    /// Sends every block that was not stated, then each that is reserved, until the store is another one.
    async fn send(mut self) -> Result<()> {
        let mut news = self.witness.reservations();
        self.blocks(true).await?;
        let mut quiet = 0;
        loop {
            // Woken or not, the table tells.
            drop(timeout(POLL, news.changed()).await);
            if self.store().await? != self.store_id {
                return Err(Error::Superseded("the store is another one by now".to_owned()));
            }
            quiet = if self.blocks(false).await? { 0 } else { quiet + 1 };
            if quiet == QUIET_POLLS {
                self.pass(FollowResponse { message: None }).await;
                quiet = 0;
            }
        }
    }

    async fn store(&self) -> Result<Uuid> {
        let pool = &self.witness.context().pools.stream;
        Ok(sqlx::query_scalar("select store_id from config_head").fetch_one(pool).await?)
    }

    /// Whether there was something to send.
    async fn blocks(&mut self, all: bool) -> Result<bool> {
        let mut after = Key::default();
        let mut any = false;
        loop {
            let context = self.witness.context();
            let page = {
                let mut conn = context.pools.stream.acquire().await?;
                points::reserved(&mut conn, context.environment.as_str(), &after, all).await?
            };
            let Some(last) = page.last() else { return Ok(any) };
            after = last.name();
            let mut blocks = Vec::new();
            for reserved in page {
                let sent = self.sent.entry(reserved.name()).or_insert(0);
                if reserved.next > *sent {
                    *sent = reserved.next;
                    blocks.push(reserved.block());
                }
            }
            if !blocks.is_empty() {
                any = true;
                self.pass(FollowResponse { message: Some(follow_response::Message::Blocks(BlockList { blocks })) })
                    .await;
            }
        }
    }

    /// Waits for a slow node-connector; one that is gone ends the stream from outside.
    async fn pass(&self, response: FollowResponse) {
        drop(self.responses.send(Ok(response)).await);
    }
}
