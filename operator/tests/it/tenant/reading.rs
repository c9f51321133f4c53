//! What the strict tenant answers about what it holds.

use std::ops::Bound;

use fiorino_proto::config::v1::{
    AccountRegistration, AccountSpec, DistributionState, GetInstitutionRequest, GetInstitutionResponse,
    InstitutionStatus, ListInstitutionsRequest, ListInstitutionsResponse, ResolveAddresseeRequest,
    ResolveAddresseeResponse, ResourceKind, ServiceDistribution, ServiceSpec, ServiceState, StationRegistration,
    config_read_server::ConfigRead,
};
use prost::Message as _;
use tonic::{Request, Response, Status};

use super::{Call, FakeTenant, Stored};

#[tonic::async_trait]
impl ConfigRead for FakeTenant {
    async fn get_institution(
        &self,
        request: Request<GetInstitutionRequest>,
    ) -> Result<Response<GetInstitutionResponse>, Status> {
        let request = request.into_inner();
        self.check_owner(&request.platform, &request.environment)?;
        self.world().calls.push(Call::Get);
        if self.world().hangs {
            std::future::pending::<()>().await;
        }
        let world = self.world();
        let stored = world.institutions.get(&request.fiscal_code).ok_or_else(|| Status::not_found("never applied"))?;
        let status = status(stored, world.distribution, world.registered);
        Ok(Response::new(GetInstitutionResponse { status: Some(status) }))
    }

    async fn list_institutions(
        &self,
        request: Request<ListInstitutionsRequest>,
    ) -> Result<Response<ListInstitutionsResponse>, Status> {
        // One in a page: whoever stops at the first misses the others.
        let after = request.into_inner().page_token;
        let mut world = self.world();
        world.calls.push(Call::List);
        let mut rest = world.institutions.range((Bound::Excluded(after), Bound::Unbounded));
        let institutions: Vec<_> =
            rest.next().map(|(_, stored)| status(stored, world.distribution, world.registered)).into_iter().collect();
        let next_page_token = token_after(&institutions, rest.next().is_some());
        Ok(Response::new(ListInstitutionsResponse { institutions, next_page_token }))
    }

    async fn resolve_addressee(
        &self,
        _: Request<ResolveAddresseeRequest>,
    ) -> Result<Response<ResolveAddresseeResponse>, Status> {
        Err(self.violated("the operator resolves nothing".to_owned()))
    }
}

fn token_after(page: &[InstitutionStatus], more: bool) -> String {
    page.last().filter(|_| more).map(|last| last.fiscal_code.clone()).unwrap_or_default()
}

fn status(stored: &Stored, distribution: DistributionState, registered: bool) -> InstitutionStatus {
    let of = |kind: ResourceKind| stored.children.values().filter(move |child| child.kind() == kind);
    let accounts = of(ResourceKind::Account).flat_map(|child| {
        let spec = AccountSpec::decode(&child.spec[..]).unwrap();
        spec.numbers.into_iter().map(move |number| AccountRegistration {
            account: spec.name.clone(),
            valid_from: number.valid_from,
            iban_tail: number.iban[number.iban.len() - 4..].to_owned(),
            registered,
            attested_on: number.attestation.map(|attestation| attestation.date).unwrap_or_default(),
        })
    });
    let services = of(ResourceKind::Service).map(|child| {
        let spec = ServiceSpec::decode(&child.spec[..]).unwrap();
        ServiceState { code: spec.code, profile_revision: spec.profile_revision, active: spec.active }
    });
    let stations = stored.spec.associations.iter().map(|association| StationRegistration {
        station_id: association.station_id.clone(),
        associated: registered,
        difference: String::new(),
        secondary: false,
    });
    let distribution = ["node-connector", "reporting"].map(|service| ServiceDistribution {
        service: service.to_owned(),
        state: distribution.into(),
        lowest_acknowledged_seq: stored.config_seq,
        live_replicas: 1,
        refusals: Vec::new(),
    });
    InstitutionStatus {
        fiscal_code: stored.spec.fiscal_code.clone(),
        uid: stored.uid.clone(),
        legal_name: stored.spec.legal_name.clone(),
        phase: stored.spec.phase,
        managed: stored.managed,
        config_seq: stored.config_seq,
        distribution: distribution.to_vec(),
        accounts: accounts.collect(),
        stations: stations.collect(),
        node_connected_at: String::new(),
        readback_at: "2026-11-23T10:00:00Z".to_owned(),
        services: services.collect(),
        waiting_since: String::new(),
        stations_waiting_since: String::new(),
        accounts_waiting_since: String::new(),
        used_accounts: Vec::new(),
        platform: stored.platform.clone(),
        namespace: stored.namespace.clone(),
        name: stored.name.clone(),
        written_at: stored.written_at.to_string(),
        ..InstitutionStatus::default()
    }
}
