//! `ConfigRead`: institutions as they stand, and whose a message of the node is.

use fiorino_kit::store;
use fiorino_proto::config::v1::{
    Addressee, GetInstitutionRequest, GetInstitutionResponse, InstitutionStatus, ListInstitutionsRequest,
    ListInstitutionsResponse, ResolveAddresseeRequest, ResolveAddresseeResponse, config_read_server::ConfigRead,
};
use sqlx::{FromRow, Postgres, Transaction};
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

use super::{bundle::check_addressee, status};
use crate::{
    context::Context,
    error::{Error, Result},
    key::key,
};

/// Institutions in one page.
const PAGE_DEFAULT: u32 = 100;
const PAGE_MAX: u32 = 500;

/// Reads.
#[derive(Debug)]
pub struct Read {
    context: Context,
    expected_services: Vec<String>,
}

/// What of a message's addressee is, or was, ours.
#[derive(Debug, FromRow)]
struct Facts {
    broker: bool,
    /// Of the station, if that is ours.
    station_broker: Option<String>,
    /// Of the institution, if that is ours.
    phase: Option<i16>,
    associated: bool,
    /// What is not known may have been before the database went back in time.
    restored: bool,
}

// === impl Facts ===

impl Facts {
    /// The first that was never ours; removed, suspended or closed ones still are.
    fn addressee(&self, broker: &str) -> Addressee {
        match self {
            Self { restored: true, broker: known, station_broker, phase, .. }
                if !known || station_broker.is_none() || phase.is_none() =>
            {
                Addressee::NotYetKnown
            }
            Self { broker: false, .. } => Addressee::BrokerNeverOurs,
            Self { station_broker: None, .. } => Addressee::StationNeverOurs,
            Self { phase: None, .. } => Addressee::InstitutionNeverOurs,
            Self { station_broker: Some(its), associated: true, .. } if its == broker => Addressee::Ours,
            Self { .. } => Addressee::NotAssociated,
        }
    }
}

// === impl Read ===

impl Read {
    /// `expected_services` must acknowledge what is applied.
    pub fn new(context: Context, expected_services: Vec<String>) -> Self {
        Self { context, expected_services }
    }

    async fn get(&self, request: &GetInstitutionRequest) -> Result<InstitutionStatus> {
        let GetInstitutionRequest { platform, environment, fiscal_code } = request;
        check_addressee(platform, environment, &self.context.platform, self.context.environment)?;
        let fiscal_code = key("fiscal_code", fiscal_code)?;
        let mut tx = self.snapshot().await?;
        let id: Option<i32> =
            sqlx::query_scalar("select institution_id from institution where environment = $1 and fiscal_code = $2")
                .bind(environment)
                .bind(fiscal_code)
                .fetch_optional(&mut *tx)
                .await?;
        let ids: Vec<i32> = id.into_iter().collect();
        let found = self.load(&mut tx, &ids).await?;
        let message = || format!("an institution with this code was never applied in {environment}; check it");
        found.into_iter().next().ok_or_else(|| Error::NotFound { field: "fiscal_code", message: message() })
    }

    async fn list(&self, request: &ListInstitutionsRequest) -> Result<ListInstitutionsResponse> {
        let size = match request.page_size {
            0 => PAGE_DEFAULT,
            size @ 1..=PAGE_MAX => size,
            _ => return Err(Error::invalid("page_size", format!("must be at most {PAGE_MAX}"))),
        };
        let page_token = key("page_token", &request.page_token)?;
        let mut tx = self.snapshot().await?;
        // One more than asked for tells whether there is another page.
        let keys: Vec<(i32, String)> = sqlx::query_as(
            "select institution_id, fiscal_code from institution
             where environment = $1 and fiscal_code > $2
             order by fiscal_code
             limit $3",
        )
        .bind(self.context.environment.as_str())
        .bind(page_token)
        .bind(i64::from(size) + 1)
        .fetch_all(&mut *tx)
        .await?;
        let page = &keys[..keys.len().min(size as usize)];
        let more = keys.len() > page.len();
        let next_page_token =
            page.last().filter(|_| more).map(|(_, fiscal_code)| fiscal_code.clone()).unwrap_or_default();
        let ids: Vec<i32> = page.iter().map(|(id, _)| *id).collect();
        let institutions = self.load(&mut tx, &ids).await?;
        Ok(ListInstitutionsResponse { institutions, next_page_token })
    }

    async fn resolve(&self, request: &ResolveAddresseeRequest) -> Result<ResolveAddresseeResponse> {
        let broker = key("broker_fiscal_code", &request.broker_fiscal_code)?;
        let station = key("station_id", &request.station_id)?;
        let institution = key("institution", &request.institution)?;
        let facts: Facts = sqlx::query_as(
            "select exists (select from broker where fiscal_code = $1) as broker,
                 (select broker_fiscal_code from station where station_id = $2) as station_broker,
                 i.phase,
                 exists (select from association where institution_id = i.institution_id and station_id = $2) as associated,
                 exists (select from store_origin where id = (select max(id) from store_origin)
                     and suspicion is not null and checked_at is null) as restored
             from (values (1)) as one
             left join institution i on i.environment = $3 and i.fiscal_code = $4",
        )
        .bind(broker)
        .bind(station)
        .bind(self.context.environment.as_str())
        .bind(institution)
        .fetch_one(&self.context.pools.config)
        .await?;
        let addressee = facts.addressee(broker).into();
        Ok(ResolveAddresseeResponse { addressee, phase: facts.phase.map_or(0, i32::from) })
    }

    async fn load(&self, tx: &mut Transaction<'static, Postgres>, ids: &[i32]) -> Result<Vec<InstitutionStatus>> {
        let statuses = status::load(tx, ids, &self.expected_services, &self.context.clock);
        Ok(statuses.instrument(store::span("read institutions")).await?)
    }

    /// Statements that see one state.
    async fn snapshot(&self) -> Result<Transaction<'static, Postgres>> {
        let mut tx = store::begin(&self.context.pools.config).await?;
        sqlx::query("set transaction isolation level repeatable read, read only").execute(&mut *tx).await?;
        Ok(tx)
    }
}

#[tonic::async_trait]
impl ConfigRead for Read {
    async fn get_institution(
        &self,
        request: Request<GetInstitutionRequest>,
    ) -> Result<Response<GetInstitutionResponse>, Status> {
        let status = self.get(request.get_ref()).await?;
        Ok(Response::new(GetInstitutionResponse { status: Some(status) }))
    }

    async fn list_institutions(
        &self,
        request: Request<ListInstitutionsRequest>,
    ) -> Result<Response<ListInstitutionsResponse>, Status> {
        Ok(Response::new(self.list(request.get_ref()).await?))
    }

    async fn resolve_addressee(
        &self,
        request: Request<ResolveAddresseeRequest>,
    ) -> Result<Response<ResolveAddresseeResponse>, Status> {
        Ok(Response::new(self.resolve(request.get_ref()).await?))
    }
}
