//! What a person's `restore-check` calls.

use fiorino_domain::notice::NoticeNumber;
use fiorino_kit::{rpc, store};
use fiorino_proto::restore::v1::{
    FinishRequest, FinishResponse, GetStateRequest, GetStateResponse, Number, ObserveRequest, ObserveResponse,
    restore_server,
};
use sqlx::FromRow;
use tonic::{Request, Response, Status};

use super::{Witness, finish};
use crate::{
    configuration::Head,
    context::Context,
    error::{Error, Result},
    key::key,
};

/// Numbers in one message.
const NUMBERS_MAX: usize = 1_000;

/// Serves the end of a restore.
#[derive(Debug)]
pub struct Restore {
    context: Context,
    witness: Witness,
}

/// The latest origin, for a person.
#[derive(Debug, FromRow)]
struct State {
    store_id: String,
    restored: bool,
    reason: String,
    since: String,
    configured: bool,
    held_back: i32,
    sent_again: bool,
    remaining: i64,
}

const STATE: &str = "select h.store_id::text as store_id, o.suspicion is not null and o.checked_at is null as restored,
         coalesce(o.suspicion, '') as reason,
         coalesce(to_char(o.since at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), '') as since,
         o.configured_at is not null as configured, o.held_back, o.sent_again_at is not null as sent_again,
         coalesce(o.remaining, 0) as remaining
     from config_head h cross join store_origin o order by o.id desc limit 1";

// === impl Restore ===

impl Restore {
    /// The service on this store.
    pub fn new(witness: Witness) -> Self {
        Self { context: witness.context().clone(), witness }
    }

    async fn state(&self) -> Result<GetStateResponse> {
        let state: State = sqlx::query_as(STATE).fetch_one(&self.context.pools.config).await?;
        let State { store_id, restored, reason, since, configured, held_back, sent_again, remaining } = state;
        let (held_back, remaining) = (held_back.unsigned_abs(), remaining.unsigned_abs());
        Ok(GetStateResponse { restored, reason, store_id, since, configured, held_back, sent_again, remaining })
    }

    async fn observe(&self, request: &ObserveRequest) -> Result<()> {
        if request.numbers.len() > NUMBERS_MAX {
            return Err(Error::invalid("numbers", format!("must be at most {NUMBERS_MAX}; send several requests")));
        }
        let named = request.numbers.iter().map(|number| key("numbers.institution", &number.institution));
        let mut institutions = named.map(|named| named.map(str::to_owned)).collect::<Result<Vec<_>>>()?;
        institutions.sort_unstable();
        institutions.dedup();
        let mut tx = store::begin(&self.context.pools.config).await?;
        let state: State = sqlx::query_as(STATE).fetch_one(&mut *tx).await?;
        if !state.restored {
            return Err(Error::precondition(
                "restored",
                "the store is not a restored one: there is nothing to observe",
            ));
        }
        let environment = self.context.environment.as_str();
        let mut sequences = finish::sequences(&mut tx, environment, Some(&institutions)).await?;
        for Number { institution, notice_number } in &request.numbers {
            // What others were told by the node may be no number of ours at all.
            let Ok(number) = NoticeNumber::parse(notice_number) else { continue };
            let of = sequences.iter_mut().filter(|sequence| sequence.known.institution == *institution);
            for sequence in of.filter(|sequence| finish::is_of(&sequence.known, &number)) {
                sequence.observe(&number);
            }
        }
        for sequence in &sequences {
            sqlx::query(
                "insert into nav_witness as known (institution, aux_digit, code, prefix, highest) values ($1, $2, $3, $4, $5)
                 on conflict (institution, aux_digit, code, prefix) do update
                 set highest = excluded.highest, stated_at = now() where known.highest < excluded.highest",
            )
            .bind(&sequence.known.institution)
            .bind(sequence.known.aux_digit)
            .bind(&sequence.known.code)
            .bind(&sequence.known.prefix)
            .bind(i64::try_from(sequence.above()).unwrap_or(i64::MAX))
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    async fn finish(&self, request: &FinishRequest, actor: &str) -> Result<FinishResponse> {
        let (turn, mut tx, _head) = Head::begin(&self.context).await?;
        let state: State = sqlx::query_as(STATE).fetch_one(&mut *tx).await?;
        if !state.restored {
            return Ok(FinishResponse { raised: Vec::new() });
        }
        if state.store_id != request.store_id {
            return Err(Error::precondition("store_id", "the store is another one by now: begin again"));
        }
        if !state.configured {
            let message =
                "the operator has not looked at every manifest yet: it does so while it leads and reaches tenant";
            return Err(Error::precondition("configured", message));
        }
        if !state.sent_again && !request.without_receipts {
            let message = "no node-connector has sent every receipt again yet: they do so while they reach tenant";
            return Err(Error::precondition("sent_again", message));
        }
        let raised = finish::raise(&mut tx, &self.context).await?;
        sqlx::query(
            "update store_origin set checked_at = now(), checked_by = $1 where id = (select max(id) from store_origin)",
        )
        .bind(actor)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        drop(turn);
        // Other replicas see it within a second.
        self.witness.settle().await?;
        tracing::warn!(
            actor,
            reason = state.reason,
            sequences = raised.len(),
            "a restore has ended, numbers are issued again"
        );
        Ok(FinishResponse { raised })
    }
}

#[tonic::async_trait]
impl restore_server::Restore for Restore {
    async fn get_state(&self, _: Request<GetStateRequest>) -> Result<Response<GetStateResponse>, Status> {
        Ok(Response::new(self.state().await?))
    }

    async fn observe(&self, request: Request<ObserveRequest>) -> Result<Response<ObserveResponse>, Status> {
        self.observe(request.get_ref()).await?;
        Ok(Response::new(ObserveResponse {}))
    }

    async fn finish(&self, request: Request<FinishRequest>) -> Result<Response<FinishResponse>, Status> {
        let actor = rpc::actor(&request);
        Ok(Response::new(self.finish(request.get_ref(), &actor).await?))
    }
}
