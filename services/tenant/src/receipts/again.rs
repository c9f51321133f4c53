//! Payments announced once more, out of the receipts that are kept: when what was announced did not reach its readers.
//!
//! The event of a receipt follows from its row, and has the id and the version that it had: a reader who has it changes nothing
//! (ARCHITECTURE.md 4.8).

use fiorino_domain::institution::InstitutionCode;
use fiorino_kit::{
    outbox::{self, Message, Waker},
    rpc, store,
};
use fiorino_proto::payments::v1::{SendAgainRequest, SendAgainResponse, payments_again_server};
use jiff::Timestamp;
use sqlx::{FromRow, PgConnection, PgPool};
use tonic::{Request, Response, Status};
use tracing::Instrument as _;
use uuid::Uuid;

use super::{
    apply::PositionFacts,
    arrived::Arrived,
    earlier::Amounts,
    event::{self, Paid},
    stored::StoredReceipt,
};
use crate::{Error, Result};

/// Receipts that one call looks at when the caller does not say.
const PAGE_DEFAULT: u32 = 1_000;

/// Receipts that one call looks at, at most.
const PAGE_MAX: u32 = 2_000;

/// Events that may wait for Kafka before more are announced: those of payments that are made now must not wait behind them.
const BACKLOG_MAX: i64 = 20_000;

/// Longest page token, bytes.
const TOKEN_MAX: usize = 256;

/// Receipts after a place, in the order of their key, with the position that each pays.
const PAGE: &str = "
    select r.institution_id, r.receipt_id, r.version, r.nav, r.issuer, r.iuv, r.amount_cents, r.paid_at, r.received_at, r.applied_at,
           r.content, r.issued_elsewhere, i.fiscal_code, i.environment, n.position_id, p.client_reference, p.service_code
    from (
        select institution_id, receipt_id, version, nav, issuer, iuv, amount_cents, paid_at, received_at, applied_at, content,
               issued_elsewhere
        from receipt
        where (institution_id, receipt_id, version) > ($1, $2, $3) and institution_id between $4 and $5
        order by institution_id, receipt_id, version limit $6
    ) r
    join institution i on i.institution_id = r.institution_id
    left join notice n on n.institution_id = r.institution_id and n.nav = r.nav
    left join debt_position p on p.institution_id = n.institution_id and p.id = n.position_id
    order by r.institution_id, r.receipt_id, r.version";

/// The service `fiorino.payments.v1.PaymentsAgain`.
#[derive(Debug)]
pub struct PaymentsAgain {
    pool: PgPool,
    environment: String,
    waker: Waker,
}

/// What is asked for, read.
struct Asked {
    institution: Option<InstitutionCode>,
    from: Timestamp,
    to: Timestamp,
    size: u32,
    after: Place,
}

/// A receipt's place in the order.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    institution_id: i32,
    receipt_id: String,
    version: i32,
}

#[derive(FromRow)]
struct Row {
    #[sqlx(flatten)]
    receipt: StoredReceipt,
    applied_at: jiff_sqlx::Timestamp,
    environment: String,
    position_id: Option<Uuid>,
    client_reference: Option<String>,
    service_code: Option<String>,
}

// === impl PaymentsAgain ===

impl PaymentsAgain {
    /// The service on a pool of work that can wait; `environment` as in the rows; `waker` of the relay that sends the events.
    pub fn new(pool: PgPool, environment: String, waker: Waker) -> Self {
        Self { pool, environment, waker }
    }

    async fn send(&self, request: &SendAgainRequest, actor: &str) -> Result<SendAgainResponse> {
        let asked = Asked::read(request)?;
        let mut tx = store::begin(&self.pool).await?;
        if waiting(&mut tx).await? >= BACKLOG_MAX {
            return Err(Error::Backlog { most: BACKLOG_MAX });
        }
        let rows = self.page(&mut tx, &asked).await?;
        let last = rows.last().filter(|_| rows.len() == asked.size as usize);
        let next_page_token = last.map(|row| row.place().token()).unwrap_or_default();
        let messages: Vec<_> = rows
            .into_iter()
            .filter(|row| row.environment == self.environment)
            .filter(|row| (asked.from..asked.to).contains(&row.applied_at.to_jiff()))
            .filter_map(Row::message)
            .collect();
        outbox::insert(&mut tx, &messages).instrument(store::span("insert events")).await?;
        tx.commit().await?;
        self.waker.wake();
        let sent = u32::try_from(messages.len()).unwrap_or(u32::MAX);
        tracing::info!(sent, from = %asked.from, to = %asked.to, actor, "payments announced again");
        Ok(SendAgainResponse { sent, next_page_token })
    }

    async fn page(&self, connection: &mut PgConnection, asked: &Asked) -> Result<Vec<Row>> {
        let (first, last) = match &asked.institution {
            None => (i32::MIN, i32::MAX),
            Some(code) => {
                let id = self.institution_id(connection, code).await?;
                (id, id)
            }
        };
        let rows = sqlx::query_as(PAGE)
            .bind(asked.after.institution_id)
            .bind(&asked.after.receipt_id)
            .bind(asked.after.version)
            .bind(first)
            .bind(last)
            .bind(i64::from(asked.size))
            .fetch_all(connection)
            .instrument(store::span("read receipts"))
            .await?;
        Ok(rows)
    }

    async fn institution_id(&self, connection: &mut PgConnection, code: &InstitutionCode) -> Result<i32> {
        let found: Option<i32> =
            sqlx::query_scalar("select institution_id from institution where environment = $1 and fiscal_code = $2")
                .bind(&self.environment)
                .bind(code.as_str())
                .fetch_optional(connection)
                .instrument(store::span("find institution"))
                .await?;
        let message = format!("institution {code} was never served here; check its fiscal code");
        found.ok_or(Error::NotFound { field: "institution", message })
    }
}

#[tonic::async_trait]
impl payments_again_server::PaymentsAgain for PaymentsAgain {
    async fn send_again(&self, request: Request<SendAgainRequest>) -> Result<Response<SendAgainResponse>, Status> {
        Ok(self.send(request.get_ref(), &rpc::actor(&request)).await.map(Response::new)?)
    }
}

/// Events that wait for Kafka, counted up to [`BACKLOG_MAX`].
async fn waiting(connection: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from (select id from outbox limit $1) as waiting")
        .bind(BACKLOG_MAX)
        .fetch_one(connection)
        .instrument(store::span("count events"))
        .await
}

// === impl Asked ===

impl Asked {
    fn read(request: &SendAgainRequest) -> Result<Self> {
        let institution = match request.institution.as_str() {
            "" => None,
            code => Some(InstitutionCode::parse(code).map_err(|error| {
                Error::invalid("institution", format!("{error}; send it, or nothing for every institution"))
            })?),
        };
        let (from, to) = (time("from", &request.from)?, time("to", &request.to)?);
        if from >= to {
            return Err(Error::invalid(
                "to",
                "must be later than from; payments are taken from `from` up to before `to`",
            ));
        }
        let size = match request.page_size {
            0 => PAGE_DEFAULT,
            asked @ 1..=PAGE_MAX => asked,
            _ => return Err(Error::invalid("page_size", format!("must be 1 to {PAGE_MAX}; ask for less, or send 0"))),
        };
        Ok(Self { institution, from, to, size, after: Place::read(&request.page_token)? })
    }
}

fn time(field: &str, text: &str) -> Result<Timestamp> {
    let rule = "must be a time of RFC 3339, such as 2026-07-14T10:00:00Z";
    text.parse().map_err(|_| Error::invalid(field, rule))
}

// === impl Place ===

impl Place {
    fn token(&self) -> String {
        format!("{}.{}.{}", self.institution_id, self.version, self.receipt_id)
    }

    /// Reads a token; an empty one is the place before every receipt.
    fn read(token: &str) -> Result<Self> {
        if token.is_empty() {
            return Ok(Self { institution_id: i32::MIN, receipt_id: String::new(), version: 0 });
        }
        let read = || {
            let (institution_id, rest) = token.split_once('.')?;
            let (version, receipt_id) = rest.split_once('.')?;
            let (institution_id, version) = (institution_id.parse().ok()?, version.parse().ok()?);
            Some(Self { institution_id, receipt_id: receipt_id.to_owned(), version })
        };
        let fits = token.len() <= TOKEN_MAX && !token.contains('\0');
        read().filter(|_| fits).ok_or_else(|| {
            Error::invalid("page_token", "is none of ours; send next_page_token of the page before, or nothing")
        })
    }
}

// === impl Row ===

impl Row {
    fn place(&self) -> Place {
        let StoredReceipt { institution_id, receipt_id, version, .. } = &self.receipt;
        Place { institution_id: *institution_id, receipt_id: receipt_id.clone(), version: *version }
    }

    /// What was announced when the receipt was applied, if anything was.
    fn message(self) -> Option<Message> {
        let applied_at = self.applied_at.to_jiff();
        let position = (self.position_id.zip(self.client_reference.clone()).zip(self.service_code.clone()))
            .map(|((id, client_reference), service_code)| (id, PositionFacts { client_reference, service_code }));
        let paid = match &position {
            Some((id, facts)) => Paid::Position(*id, facts),
            None if self.receipt.issued_elsewhere => Paid::Elsewhere,
            None => Paid::Unknown,
        };
        let (receipt, announced) = self.receipt.split();
        let arrived = Arrived::read(receipt, applied_at);
        let amounts = announced.unwrap_or_else(|| Amounts::of(&arrived.told, &[], None));
        event::announced(&arrived, &amounts, paid, applied_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_survives_its_token() {
        let place = Place { institution_id: 7, receipt_id: "a.b.c".to_owned(), version: 2 };
        assert_eq!(Place::read(&place.token()).unwrap(), place);
    }
}
