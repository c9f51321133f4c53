//! Parked messages, tried again: through the reader and into the tables by which messages are taken in.

use fiorino_cases::store::By;
use fiorino_kit::{clock::Clock, kafka::Envelope, rpc};
use fiorino_proto::payments::v1::{RetriedMessage, RetryParkedRequest, RetryParkedResponse, parked_messages_server};
use jiff::Timestamp;
use sqlx::PgPool;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::{
    consumer::message,
    error::{Error, Result},
    payment::Payment,
    store::{
        self,
        parked::{self, ParkedRow},
    },
};

/// Messages that one call tries.
const PAGE_MAX: u32 = 100;

/// What is said to a case whose message was taken in.
const TAKEN_IN: &str = "the parked message was tried again and taken in";

/// The service `fiorino.payments.v1.ParkedMessages`.
#[derive(Debug)]
pub(crate) struct ParkedMessages {
    pool: PgPool,
    clock: Clock,
}

// === impl ParkedMessages ===

impl ParkedMessages {
    pub(crate) fn new(pool: PgPool, clock: Clock) -> Self {
        Self { pool, clock }
    }

    async fn retry(&self, request: &RetryParkedRequest, actor: &str) -> Result<RetryParkedResponse> {
        let size = match request.page_size {
            0 => PAGE_MAX,
            asked @ 1..=PAGE_MAX => asked,
            _ => return Err(Error::invalid("page_size", format!("must be 1 to {PAGE_MAX}; ask for less, or send 0"))),
        };
        let after = place(&request.page_token)?;
        let rows = if request.case_id.is_empty() {
            parked::waiting(&self.pool, after, size).await?
        } else {
            vec![self.one(&request.case_id).await?]
        };
        let last = rows.last().filter(|_| request.case_id.is_empty() && rows.len() == size as usize);
        let next_page_token = last.map(|row| token(row.place())).unwrap_or_default();
        let mut messages = Vec::with_capacity(rows.len());
        for row in rows {
            messages.push(self.message(row, actor).await?);
        }
        Ok(RetryParkedResponse { messages, next_page_token })
    }

    async fn one(&self, case_id: &str) -> Result<ParkedRow> {
        let id = Uuid::try_parse(case_id)
            .map_err(|_| Error::invalid("case_id", "must be the UUID of a case; take it from ListCases"))?;
        let message = "no message is parked under this case; send one of kind message_poison";
        parked::one(&self.pool, id).await?.ok_or(Error::NotFound { field: "case_id", message })
    }

    async fn message(&self, row: ParkedRow, actor: &str) -> Result<RetriedMessage> {
        let case_id = row.case_id;
        let reason = match content(&row) {
            Err(reason) => reason,
            Ok(payment) => {
                let by = By { actor, at: self.clock.now(), note: Some(TAKEN_IN) };
                match parked::take_in(&self.pool, case_id, payment, by).await {
                    Ok(()) => {
                        tracing::info!(%case_id, actor, "parked message taken in");
                        return Ok(RetriedMessage {
                            case_id: case_id.to_string(),
                            taken_in: true,
                            reason: String::new(),
                        });
                    }
                    Err(store::Error::Database(error)) => store::refusal(&error).ok_or(error)?,
                    // Nothing was advanced, so nobody can have been faster.
                    Err(store::Error::Overtaken) => return Err(Error::Store(sqlx::Error::RowNotFound)),
                }
            }
        };
        parked::still_parked(&self.pool, case_id, By { actor, at: self.clock.now(), note: Some(&reason) }).await?;
        Ok(RetriedMessage { case_id: case_id.to_string(), taken_in: false, reason })
    }
}

#[tonic::async_trait]
impl parked_messages_server::ParkedMessages for ParkedMessages {
    async fn retry_parked(
        &self,
        request: Request<RetryParkedRequest>,
    ) -> Result<Response<RetryParkedResponse>, Status> {
        Ok(self.retry(request.get_ref(), &rpc::actor(&request)).await.map(Response::new)?)
    }
}

fn content(row: &ParkedRow) -> std::result::Result<Payment, String> {
    let envelope = Envelope {
        id: row.event_id.clone(),
        event_type: row.event_type.clone(),
        source: String::new(),
        time: String::new(),
        traceparent: row.traceparent.clone(),
    };
    // Headers that could not be read were kept as empty ones.
    let told = !(envelope.id.is_empty() && envelope.event_type.is_empty());
    message::content(told.then_some(&envelope), &row.payload)
}

fn token((opened_at, id): (Timestamp, Uuid)) -> String {
    format!("{:x}.{}", opened_at.as_microsecond(), id.simple())
}

fn place(token: &str) -> Result<(Timestamp, Uuid)> {
    if token.is_empty() {
        return Ok((Timestamp::UNIX_EPOCH, Uuid::nil()));
    }
    let read = || {
        let (micros, id) = token.split_once('.')?;
        let opened_at = Timestamp::from_microsecond(i64::from_str_radix(micros, 16).ok()?).ok()?;
        Some((opened_at, Uuid::try_parse(id).ok()?))
    };
    read().ok_or_else(|| {
        Error::invalid("page_token", "is none of ours; send next_page_token of the page before, or nothing")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_survives_its_token() {
        let here = ("2026-07-14T10:00:00.000001Z".parse().unwrap(), Uuid::now_v7());
        assert_eq!(place(&token(here)).unwrap(), here);
        assert!(place("4711").is_err() && place(".").is_err());
    }
}
