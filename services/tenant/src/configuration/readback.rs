//! `ConfigReadback`: what pagoPA's registry shows, and what that means for accounts and associations.

use fiorino_kit::{clock::Clock, store};
use fiorino_proto::config::v1::{
    RecordReadbackRequest, RecordReadbackResponse, config_readback_server::ConfigReadback,
};
use sqlx::PgConnection;
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

use super::{head::Head, wake::Wake};
use crate::{context::Context, error::Result};

mod compare;
mod derive;
mod reading;
pub mod removed;

use self::reading::Reading;

/// Records readings.
#[derive(Debug)]
pub struct Readback {
    context: Context,
    wake: Wake,
}

/// Compares manifest and reading of these institutions, and keeps the result; returns those for which it changed. The head is held.
pub(super) async fn derive(conn: &mut PgConnection, ids: &[i32], clock: &Clock) -> sqlx::Result<Vec<i32>> {
    let derive = async {
        let mut changed = derive::associations(conn, ids).await?;
        changed.extend(derive::numbers(conn, ids, clock).await?);
        changed.extend(derive::waiting(conn, ids, clock).await?);
        changed.sort_unstable();
        changed.dedup();
        Ok(changed)
    };
    derive.instrument(store::span("derive registration")).await
}

// === impl Readback ===

impl Readback {
    /// `wake` tells the operator's watch.
    pub fn new(context: Context, wake: Wake) -> Self {
        Self { context, wake }
    }

    async fn record(&self, request: RecordReadbackRequest) -> Result<RecordReadbackResponse> {
        let arrived = self.context.clock.monotonic();
        let reading = Reading::read(request)?;
        let broker = reading.broker.as_str();
        let (_turn, mut tx, head) = Head::begin(&self.context).await?;
        // Also who is shown no longer.
        let mut concerned = derive::of_broker(&mut tx, broker).await?;
        // The transaction's time is that of its begin, for which it may have waited.
        let waited = self.context.clock.monotonic().saturating_sub(arrived);
        if !reading.store(&mut tx, waited).instrument(store::span("record reading")).await? {
            tracing::info!(broker, "reading is older than the one that is known, ignored");
            return Ok(RecordReadbackResponse { waiting: waits(&mut tx, broker).await? });
        }
        concerned.extend(derive::of_broker(&mut tx, broker).await?);
        let changed = derive(&mut tx, &concerned, &self.context.clock).await?;
        removed::confirm(&mut tx, broker).await?;
        let waiting = waits(&mut tx, broker).await?;
        // When it was read is part of the status too, but does not tell the operator to look.
        if !changed.is_empty() {
            let head = Head { status_seq: head.status_seq + 1, ..head };
            sqlx::query("update institution set status_seq = $1 where institution_id = any($2)")
                .bind(head.status_seq)
                .bind(&changed)
                .execute(&mut *tx)
                .await?;
            head.advance(&mut tx).await?;
        }
        tx.commit().await?;
        if !changed.is_empty() {
            tracing::info!(broker, institutions = changed.len(), waiting, "registration changed at pagoPA");
            self.wake.wake();
        }
        Ok(RecordReadbackResponse { waiting })
    }
}

#[tonic::async_trait]
impl ConfigReadback for Readback {
    async fn record_readback(
        &self,
        request: Request<RecordReadbackRequest>,
    ) -> Result<Response<RecordReadbackResponse>, Status> {
        Ok(Response::new(self.record(request.into_inner()).await?))
    }
}

/// Whether something of the broker is still awaited: an institution that pagoPA does not show as its manifest says, or, for 30 days, a
/// removed association that pagoPA shows. A move at pagoPA may show both stations for a moment; without the second, that reading would be
/// the last one of the day.
async fn waits(conn: &mut PgConnection, broker: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (
             select from institution i
             join association a using (institution_id)
             join station s using (station_id)
             where s.broker_fiscal_code = $1 and not a.removed and i.waiting_since is not null)
         or exists (
             select from association a join station s using (station_id)
             where s.broker_fiscal_code = $1 and a.removed and a.answers
                 and coalesce(a.removed_at, now()) > now() - interval '30 days')
         or exists (
             select from institution i join readback_iban r on r.institution = i.fiscal_code
             where r.broker_fiscal_code = $1 and i.waiting_since is not null)",
    )
    .bind(broker)
    .fetch_one(conn)
    .await
}
