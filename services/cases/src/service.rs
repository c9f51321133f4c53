//! The service `fiorino.cases.v1.Cases`.

use fiorino_kit::{clock::Clock, rpc, store::begin};
use fiorino_proto::{
    cases::v1::{self as proto, cases_server},
    common::v1::{Case, CaseAction},
};
use prost::Message as _;
use sqlx::{PgConnection, PgPool};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::{
    asked::{self, Bulk, Page},
    error::{Error, Result},
    store::{self, By, Row},
};

/// Bytes of the cases of a page: a quarter of what a message may have.
const PAGE_BYTES: usize = 1 << 20;

/// Cases of one database, towards people.
#[derive(Debug)]
pub struct Cases {
    pool: PgPool,
    clock: Clock,
}

// === impl Cases ===

impl Cases {
    /// The service on a pool of work that can wait.
    pub fn new(pool: PgPool, clock: Clock) -> Self {
        Self { pool, clock }
    }

    async fn list(&self, request: &proto::ListCasesRequest) -> Result<proto::ListCasesResponse> {
        let page = Page::read(request)?;
        let mut connection = self.pool.acquire().await?;
        let rows = store::list(&mut connection, &page).await?;
        let found = rows.len();
        let (mut cases, mut bytes, mut last) = (Vec::new(), 0, None);
        for row in rows.into_iter().take(page.size as usize) {
            let place = (row.opened_at(), row.id);
            let case = row.case();
            bytes += case.encoded_len();
            if bytes > PAGE_BYTES && !cases.is_empty() {
                break;
            }
            cases.push(case);
            last = Some(place);
        }
        let more = cases.len() < found;
        let next_page_token = last.filter(|_| more).map(|(at, id)| page.token(at, id)).unwrap_or_default();
        Ok(proto::ListCasesResponse { cases, next_page_token })
    }

    async fn get(&self, request: &proto::GetCaseRequest) -> Result<proto::GetCaseResponse> {
        let id = asked::case_id(&request.case_id)?;
        let mut connection = self.pool.acquire().await?;
        let case = case(&mut connection, id).await?.case();
        let events = store::events(&mut connection, id).await?;
        Ok(proto::GetCaseResponse { case: Some(case), events })
    }

    async fn assign(&self, request: &proto::AssignCaseRequest, actor: &str) -> Result<Case> {
        let id = asked::case_id(&request.case_id)?;
        let (owner, note) = (asked::owner(&request.owner)?, asked::optional_note(&request.note)?);
        let mut tx = begin(&self.pool).await?;
        let assigned = store::assign(&mut tx, id, &owner, self.by(actor, note.as_deref())).await?;
        let row = case(&mut tx, id).await?;
        if !assigned {
            return Err(Error::Resolved);
        }
        tx.commit().await?;
        Ok(row.case())
    }

    async fn note(&self, request: &proto::NoteCaseRequest, actor: &str) -> Result<Case> {
        let (id, note) = (asked::case_id(&request.case_id)?, asked::note(&request.note)?);
        let mut tx = begin(&self.pool).await?;
        store::record(&mut tx, id, CaseAction::Noted, self.by(actor, Some(&note))).await?;
        let row = case(&mut tx, id).await?;
        tx.commit().await?;
        Ok(row.case())
    }

    async fn resolve(&self, request: &proto::ResolveCaseRequest, actor: &str) -> Result<Case> {
        let (id, note) = (asked::case_id(&request.case_id)?, asked::note(&request.note)?);
        let mut tx = begin(&self.pool).await?;
        store::resolve(&mut tx, id, self.by(actor, Some(&note))).await?;
        let row = case(&mut tx, id).await?;
        tx.commit().await?;
        tracing::info!(case_id = %id, actor, "case resolved");
        Ok(row.case())
    }

    async fn resolve_many(
        &self,
        request: &proto::ResolveCasesRequest,
        actor: &str,
    ) -> Result<proto::ResolveCasesResponse> {
        let bulk = Bulk::read(request)?;
        let (resolved, more) = store::resolve_many(&self.pool, &bulk, actor, self.clock.now()).await?;
        tracing::info!(kind = bulk.kind.as_str(), resolved, actor, "cases resolved");
        Ok(proto::ResolveCasesResponse { resolved, more })
    }

    fn by<'a>(&self, actor: &'a str, note: Option<&'a str>) -> By<'a> {
        By { actor, at: self.clock.now(), note }
    }
}

#[tonic::async_trait]
impl cases_server::Cases for Cases {
    async fn list_cases(
        &self,
        request: Request<proto::ListCasesRequest>,
    ) -> Result<Response<proto::ListCasesResponse>, Status> {
        Ok(self.list(request.get_ref()).await.map(Response::new)?)
    }

    async fn get_case(
        &self,
        request: Request<proto::GetCaseRequest>,
    ) -> Result<Response<proto::GetCaseResponse>, Status> {
        Ok(self.get(request.get_ref()).await.map(Response::new)?)
    }

    async fn assign_case(
        &self,
        request: Request<proto::AssignCaseRequest>,
    ) -> Result<Response<proto::AssignCaseResponse>, Status> {
        let case = self.assign(request.get_ref(), &rpc::actor(&request)).await?;
        Ok(Response::new(proto::AssignCaseResponse { case: Some(case) }))
    }

    async fn note_case(
        &self,
        request: Request<proto::NoteCaseRequest>,
    ) -> Result<Response<proto::NoteCaseResponse>, Status> {
        let case = self.note(request.get_ref(), &rpc::actor(&request)).await?;
        Ok(Response::new(proto::NoteCaseResponse { case: Some(case) }))
    }

    async fn resolve_case(
        &self,
        request: Request<proto::ResolveCaseRequest>,
    ) -> Result<Response<proto::ResolveCaseResponse>, Status> {
        let case = self.resolve(request.get_ref(), &rpc::actor(&request)).await?;
        Ok(Response::new(proto::ResolveCaseResponse { case: Some(case) }))
    }

    async fn resolve_cases(
        &self,
        request: Request<proto::ResolveCasesRequest>,
    ) -> Result<Response<proto::ResolveCasesResponse>, Status> {
        Ok(self.resolve_many(request.get_ref(), &rpc::actor(&request)).await.map(Response::new)?)
    }
}

async fn case(connection: &mut PgConnection, id: Uuid) -> Result<Row> {
    store::get(connection, id).await?.ok_or(Error::NotFound)
}
