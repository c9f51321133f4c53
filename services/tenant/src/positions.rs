//! Debt positions over gRPC: created in natural batches, read, changed as long as nobody pays.

mod accounts;
mod cancel;
mod change;
mod create;
mod division;
mod draft;
mod elsewhere;
pub(crate) mod facts;
pub mod fuzz;
pub(crate) mod given;
mod opening;
mod plan;
mod read;
mod references;
pub(crate) mod rows;
mod size;
pub(crate) mod stored;
pub(crate) mod transition;
mod view;
mod write;

use std::{iter, sync::Arc};

use fiorino_domain::institution::InstitutionCode;
use fiorino_kit::{
    batch::{BatchError, Batcher},
    clock::Clock,
    rpc, store,
};
use fiorino_proto::positions::v1::{self as proto, create_outcome::Outcome, positions_server};
use sqlx::PgPool;
use tokio::{sync::Semaphore, task};
use tonic::{Request, Response, Status};

pub(crate) use self::write::hold_numbers;
use self::{
    cancel::Which,
    change::{Change, Wish},
    create::{Created, Creator, Item},
    draft::Draft,
};
use crate::{Error, Result, restore::Witness};

/// Positions of one `CreatePositions`.
const POSITIONS_MAX: usize = 1_000;

/// Instalments of one `CreatePositions`: what one transaction writes in well under a second.
const INSTALMENTS_MAX: usize = 10_000;

/// Instalments of all `CreatePositions` in work at once: one large load, or many small ones. It takes what time those who ask for notices
/// leave over, not a processor for each of its clients.
const IN_WORK_MAX: usize = INSTALMENTS_MAX;

/// Positions that are read one after the other before others have their turn on this thread.
const TURN: usize = 32;

/// Batches of single creations at once.
const LANES: usize = 2;

/// Single creations in one batch.
const LANE_MAX: usize = 64;

/// Single creations waiting.
const QUEUE: usize = 4_096;

/// The service `fiorino.positions.v1.Positions`.
#[derive(Debug)]
pub struct Positions {
    pool: PgPool,
    environment: String,
    clock: Clock,
    creator: Arc<Creator>,
    singles: Batcher<Item, Result<Created>, Error>,
    in_work: Semaphore,
}

// === impl Positions ===

impl Positions {
    /// The service on a pool of its own class of work; `environment` as in the rows. Must be made inside a runtime.
    pub fn new(pool: PgPool, environment: String, clock: Clock) -> Self {
        Self::witnessed(pool, environment, clock, None)
    }

    /// The same, whose numbers wait for a witness.
    pub fn witnessed(pool: PgPool, environment: String, clock: Clock, witness: Option<Witness>) -> Self {
        let creator = Arc::new(Creator::new(pool.clone(), environment.clone(), clock.clone(), witness));
        let of_lanes = Arc::clone(&creator);
        let singles = Batcher::failing_together(LANES, LANE_MAX, QUEUE, Error::is_away, move |items: Vec<Item>| {
            let creator = Arc::clone(&of_lanes);
            async move { creator.create(&items).await }
        });
        Self { pool, environment, clock, creator, singles, in_work: Semaphore::new(IN_WORK_MAX) }
    }

    async fn create(
        &self,
        client: String,
        request: proto::CreatePositionRequest,
    ) -> Result<proto::CreatePositionResponse> {
        let institution = institution(&request.institution)?;
        let new =
            request.position.ok_or_else(|| Error::invalid("position", "must be set; send the position to create"))?;
        let draft = Draft::read("position", &new)?;
        let item = Item { institution, client: client.into(), path: "position".into(), draft: Arc::new(draft) };
        let created = self.singles.call(item).await.map_err(broken_off)??;
        let replayed = matches!(created, Created::Replayed(_));
        let position = match created {
            Created::Fresh(planned) => {
                view::position(&planned.owner, &planned.position, &planned.notices, self.clock.now())
            }
            Created::Paid(known) | Created::Replayed(known) => {
                let mut connection = self.pool.acquire().await?;
                let owner = facts::owner(&mut connection, &self.environment, institution).await?;
                read::one(&mut connection, &owner, known.position_id, self.clock.now()).await?
            }
        };
        Ok(proto::CreatePositionResponse { position: Some(position), replayed })
    }

    async fn create_many(
        &self,
        client: String,
        request: proto::CreatePositionsRequest,
    ) -> Result<proto::CreatePositionsResponse> {
        let institution = institution(&request.institution)?;
        within(request.positions.len(), "positions", POSITIONS_MAX)?;
        let instalments =
            request.positions.iter().flat_map(|new| &new.options).map(|option| option.instalments.len()).sum();
        within(instalments, "positions.options.instalments", INSTALMENTS_MAX)?;
        let share = u32::try_from(instalments).unwrap_or(u32::MAX);
        let _in_work = self.in_work.acquire_many(share).await.map_err(|_| Error::Interrupted)?;
        let client: Arc<str> = client.into();
        let mut items = Vec::with_capacity(request.positions.len());
        let mut unreadable = Vec::new();
        for (place, new) in request.positions.iter().enumerate() {
            if place % TURN == TURN - 1 {
                task::yield_now().await;
            }
            let path = format!("positions[{place}]");
            match Draft::read(&path, new) {
                Ok(draft) => {
                    items.push(Item {
                        institution,
                        client: Arc::clone(&client),
                        path: path.into(),
                        draft: Arc::new(draft),
                    });
                    unreadable.push(None);
                }
                Err(error) => unreadable.push(Some(error)),
            }
        }
        let mut created = self.creator.create(&items).await?.into_iter();
        let outcomes = iter::zip(request.positions, unreadable).map(|(new, unreadable)| {
            let outcome = unreadable.map_or_else(|| created.next().unwrap_or(Err(Error::Interrupted)), Err);
            proto::CreateOutcome { client_reference: new.client_reference, outcome: Some(shown(outcome)) }
        });
        Ok(proto::CreatePositionsResponse { outcomes: outcomes.collect() })
    }

    /// Runs a change of one position in a transaction and answers with the position as it is then.
    async fn change(&self, actor: &str, told: &str, force: bool, change: Change) -> Result<Option<proto::Position>> {
        let institution = institution(told)?;
        let now = self.clock.now();
        let mut tx = store::begin(&self.pool).await?;
        let owner = facts::owner(&mut tx, &self.environment, institution).await?;
        let larger = matches!(change, Change::Update(_));
        let id = {
            let wish = Wish { owner: &owner, environment: &self.environment, actor, now, force };
            change::run(&mut tx, &wish, change).await?
        };
        let position = read::one(&mut tx, &owner, id, now).await?;
        if larger {
            size::fits(usize::MAX, || position.clone()).map_err(|message| Error::invalid("transfers", message))?;
        }
        tx.commit().await?;
        Ok(Some(position))
    }

    async fn get(&self, client: &str, request: proto::GetPositionRequest) -> Result<proto::Position> {
        let institution = institution(&request.institution)?;
        let mut connection = self.pool.acquire().await?;
        let owner = facts::owner(&mut connection, &self.environment, institution).await?;
        let id = read::find(&mut connection, &owner, client, request.by).await?;
        read::one(&mut connection, &owner, id, self.clock.now()).await
    }

    async fn list(&self, request: &proto::ListPositionsRequest) -> Result<proto::ListPositionsResponse> {
        let institution = institution(&request.institution)?;
        let mut connection = self.pool.acquire().await?;
        let owner = facts::owner(&mut connection, &self.environment, institution).await?;
        read::list(&mut connection, &owner, request, self.clock.now()).await
    }
}

#[tonic::async_trait]
impl positions_server::Positions for Positions {
    async fn create_position(
        &self,
        request: Request<proto::CreatePositionRequest>,
    ) -> Result<Response<proto::CreatePositionResponse>, Status> {
        let client = rpc::actor(&request);
        Ok(Response::new(self.create(client, request.into_inner()).await?))
    }

    async fn create_positions(
        &self,
        request: Request<proto::CreatePositionsRequest>,
    ) -> Result<Response<proto::CreatePositionsResponse>, Status> {
        let client = rpc::actor(&request);
        Ok(Response::new(self.create_many(client, request.into_inner()).await?))
    }

    async fn update_instalment(
        &self,
        request: Request<proto::UpdateInstalmentRequest>,
    ) -> Result<Response<proto::UpdateInstalmentResponse>, Status> {
        let actor = rpc::actor(&request);
        let request = request.into_inner();
        let (institution, force) = (request.institution.clone(), request.force);
        let position = self.change(&actor, &institution, force, Change::Update(request)).await?;
        Ok(Response::new(proto::UpdateInstalmentResponse { position }))
    }

    async fn publish_position(
        &self,
        request: Request<proto::PublishPositionRequest>,
    ) -> Result<Response<proto::PublishPositionResponse>, Status> {
        let actor = rpc::actor(&request);
        let proto::PublishPositionRequest { institution, position_id } = request.into_inner();
        let change = Change::Publish(read::position_id(&position_id)?);
        let position = self.change(&actor, &institution, false, change).await?;
        Ok(Response::new(proto::PublishPositionResponse { position }))
    }

    async fn cancel_position(
        &self,
        request: Request<proto::CancelPositionRequest>,
    ) -> Result<Response<proto::CancelPositionResponse>, Status> {
        let actor = rpc::actor(&request);
        let proto::CancelPositionRequest { institution, position_id, force } = request.into_inner();
        let change = Change::Cancel(Which::Position(read::position_id(&position_id)?));
        let position = self.change(&actor, &institution, force, change).await?;
        Ok(Response::new(proto::CancelPositionResponse { position }))
    }

    async fn cancel_instalment(
        &self,
        request: Request<proto::CancelInstalmentRequest>,
    ) -> Result<Response<proto::CancelInstalmentResponse>, Status> {
        let actor = rpc::actor(&request);
        let proto::CancelInstalmentRequest { institution, notice_number, force } = request.into_inner();
        let change = Change::Cancel(Which::Instalment(read::notice_number(&notice_number)?, None));
        let position = self.change(&actor, &institution, force, change).await?;
        Ok(Response::new(proto::CancelInstalmentResponse { position }))
    }

    async fn restore_position(
        &self,
        request: Request<proto::RestorePositionRequest>,
    ) -> Result<Response<proto::RestorePositionResponse>, Status> {
        let actor = rpc::actor(&request);
        let proto::RestorePositionRequest { institution, position_id, notice_number, force } = request.into_inner();
        let position_id = read::position_id(&position_id)?;
        let which = match notice_number.as_str() {
            "" => Which::Position(position_id),
            number => Which::Instalment(read::notice_number(number)?, Some(position_id)),
        };
        let position = self.change(&actor, &institution, force, Change::Restore(which)).await?;
        Ok(Response::new(proto::RestorePositionResponse { position }))
    }

    async fn get_position(
        &self,
        request: Request<proto::GetPositionRequest>,
    ) -> Result<Response<proto::GetPositionResponse>, Status> {
        let client = rpc::actor(&request);
        let request = request.into_inner();
        let position = store::read(|| self.get(&client, request.clone())).await?;
        Ok(Response::new(proto::GetPositionResponse { position: Some(position) }))
    }

    async fn list_positions(
        &self,
        request: Request<proto::ListPositionsRequest>,
    ) -> Result<Response<proto::ListPositionsResponse>, Status> {
        let request = request.into_inner();
        Ok(Response::new(store::read(|| self.list(&request)).await?))
    }
}

fn institution(text: &str) -> Result<InstitutionCode> {
    InstitutionCode::parse(text)
        .map_err(|error| Error::invalid("institution", format!("{error}; send it without spaces")))
}

fn within(count: usize, field: &str, max: usize) -> Result<()> {
    if count <= max {
        return Ok(());
    }
    Err(Error::invalid(field, format!("has {count} entries, at most {max} are allowed; send several requests")))
}

fn shown(outcome: Result<Created>) -> Outcome {
    match outcome {
        Ok(created) => {
            let replayed = matches!(created, Created::Replayed(_));
            let known = created.replayed();
            let position_id = known.position_id.to_string();
            Outcome::Created(proto::Created { position_id, notice_numbers: known.numbers, replayed })
        }
        Err(error) => {
            let code = error.code().into();
            let (field, message) = error.first_violation();
            Outcome::Refused(proto::Refused { code, field, message })
        }
    }
}

fn broken_off(error: BatchError<Error>) -> Error {
    match error {
        BatchError::Overloaded => Error::Overloaded,
        BatchError::Failed(error) => error,
        BatchError::Together | BatchError::Panicked | BatchError::Miscounted { .. } | BatchError::Ended => {
            Error::Interrupted
        }
    }
}
