//! Receipts that are safe in the inbox are applied: once each, in batches, the poisonous ones alone.
//!
//! A batch is one transaction. When it fails, each receipt is tried alone; one that fails alone keeps its place in the inbox
//! (`APPLY_OUTCOME_UNSPECIFIED`) and, unless trying again can help, is told by a case. So does one of an institution that is not known yet.

mod again;
mod apply;
mod arrived;
mod compare;
mod earlier;
mod event;
mod finding;
pub mod fuzz;
mod instalment;
mod loaded;
mod rare;
mod store;
mod stored;

use std::slice;

use fiorino_domain::case::CaseKind;
use fiorino_kit::{clock::Clock, outbox::Waker, rpc, store::begin, store::transient, telemetry::identifier, trace};
use fiorino_proto::receipts::v1::{
    ApplyOutcome, ApplyReceiptsRequest, ApplyReceiptsResponse, Receipt, receipts_server,
};
use opentelemetry::{KeyValue, metrics::Counter};
use sqlx::PgPool;
use tonic::{Request, Response, Status};
use tracing::{Instrument as _, Span, info_span};

pub use self::again::PaymentsAgain;
pub use self::loaded::LOADED_STATEMENT;
pub(crate) use self::loaded::{own_payment, settle};
use self::{arrived::Arrived, store::Applying};
use crate::{
    Error, Result,
    cases::{self, NO_INSTITUTION, NewCase},
};

/// Receipts of one call.
const RECEIPTS_MAX: usize = 256;

/// The service `fiorino.receipts.v1.Receipts`.
#[derive(Debug)]
pub struct Receipts {
    pool: PgPool,
    environment: String,
    clock: Clock,
    waker: Waker,
    applied: Counter<u64>,
}

// === impl Receipts ===

impl Receipts {
    /// The service on a pool of its own class of work; `environment` as in the rows; `waker` of the relay that sends the events.
    pub fn new(pool: PgPool, environment: String, clock: Clock, waker: Waker) -> Self {
        let applied = opentelemetry::global::meter("fiorino.tenant")
            .u64_counter("fiorino.tenant.receipts.applied")
            .with_description("Receipts, by outcome")
            .build();
        Self { pool, environment, clock, waker, applied }
    }

    async fn apply(&self, receipts: Vec<Receipt>, actor: &str) -> Result<Vec<ApplyOutcome>> {
        if receipts.len() > RECEIPTS_MAX {
            let message =
                format!("has {} entries, at most {RECEIPTS_MAX} are allowed; send several requests", receipts.len());
            return Err(Error::invalid("receipts", message));
        }
        let now = self.clock.now();
        let mut arrived: Vec<_> = receipts.into_iter().map(|receipt| Arrived::read(receipt, now)).collect();
        let spans = spans(&mut arrived);
        let work = trace::shared(&spans, Span::clone);
        let outcomes = self.batch(&arrived, &spans, actor).instrument(work).await?;
        self.waker.wake();
        for outcome in &outcomes {
            self.applied.add(1, &[KeyValue::new("outcome", outcome.as_str_name())]);
        }
        Ok(outcomes)
    }

    async fn batch(&self, arrived: &[Arrived], spans: &[Span], actor: &str) -> Result<Vec<ApplyOutcome>> {
        match self.transaction(arrived, actor).await {
            Ok(outcomes) => Ok(outcomes),
            Err(error) if is_away(&error) => Err(error.into()),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    receipts = arrived.len(),
                    "batch of receipts failed, applying each alone"
                );
                self.singly(arrived, spans, actor, error).await
            }
        }
    }

    /// One after the other, so that what cannot be applied keeps nobody up.
    async fn singly(
        &self,
        arrived: &[Arrived],
        spans: &[Span],
        actor: &str,
        mut last: sqlx::Error,
    ) -> Result<Vec<ApplyOutcome>> {
        let mut outcomes = vec![ApplyOutcome::Unspecified; arrived.len()];
        let mut progress = false;
        for ((outcome, receipt), span) in outcomes.iter_mut().zip(arrived).zip(spans) {
            match self.transaction(slice::from_ref(receipt), actor).instrument(span.clone()).await {
                Ok(applied) => {
                    *outcome = applied.first().copied().unwrap_or(ApplyOutcome::Unspecified);
                    progress = true;
                }
                Err(error) => {
                    let away = is_away(&error);
                    progress |= self.park(receipt, &error).await;
                    last = error;
                    if away {
                        break;
                    }
                }
            }
        }
        if progress { Ok(outcomes) } else { Err(last.into()) }
    }

    async fn transaction(&self, arrived: &[Arrived], actor: &str) -> sqlx::Result<Vec<ApplyOutcome>> {
        let applying = Applying { environment: &self.environment, actor, now: self.clock.now() };
        store::apply(&self.pool, &applying, arrived).await
    }

    /// Tells of a receipt that cannot be applied; the inbox keeps it. Answers whether the case is open.
    async fn park(&self, receipt: &Arrived, error: &sqlx::Error) -> bool {
        let told = &receipt.told;
        tracing::error!(
            error = error as &dyn std::error::Error,
            receipt_id = identifier(&told.receipt_id),
            institution = identifier(&told.institution),
            "failed to apply receipt"
        );
        if transient(error) {
            return false;
        }
        let storable = |text: &str| text.replace('\0', "\u{fffd}");
        let case = NewCase {
            institution_id: NO_INSTITUTION,
            kind: CaseKind::MessagePoison,
            key: storable(&format!("{}/{}/{}", told.institution, told.receipt_id, told.version)),
            nav: Some(storable(&told.notice_number)),
            receipt_id: Some(storable(&told.receipt_id)),
            detail: serde_json::json!({ "institution": storable(&told.institution) }),
            opened_at: self.clock.now(),
        };
        let opened = async {
            let mut tx = begin(&self.pool).await?;
            cases::open(&mut tx, &[case]).await?;
            tx.commit().await
        };
        match opened.await {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "failed to open the case of a receipt that cannot be applied"
                );
                false
            }
        }
    }
}

#[tonic::async_trait]
impl receipts_server::Receipts for Receipts {
    async fn apply_receipts(
        &self,
        request: Request<ApplyReceiptsRequest>,
    ) -> Result<Response<ApplyReceiptsResponse>, Status> {
        let actor = rpc::actor(&request);
        let outcomes = self.apply(request.into_inner().receipts, &actor).await?;
        Ok(Response::new(ApplyReceiptsResponse { outcomes: outcomes.into_iter().map(Into::into).collect() }))
    }
}

/// A span per receipt, as a child of the node's call that brought it; what follows from the receipt continues it. Of several, each is
/// linked to the call of this service, which belongs to the trace of one of them.
fn spans(arrived: &mut [Arrived]) -> Vec<Span> {
    let call = trace::current_traceparent().filter(|_| arrived.len() > 1);
    let mut spans = Vec::with_capacity(arrived.len());
    for receipt in arrived {
        let span = info_span!("apply receipt", receipt_id = identifier(&receipt.told.receipt_id));
        if let Some(parent) = &receipt.traceparent {
            trace::set_parent(&span, parent);
        }
        if let Some(call) = &call {
            trace::link(&span, call);
        }
        receipt.traceparent = trace::traceparent(&span).or_else(|| receipt.traceparent.take());
        spans.push(span);
    }
    spans
}

/// The database is away: what is tried alone would only wait again.
fn is_away(error: &sqlx::Error) -> bool {
    transient(error) && error.as_database_error().is_none()
}
