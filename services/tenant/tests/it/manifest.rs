//! The manifest of a municipality, as the operator would send it.

use fiorino_proto::config::v1::{
    AccountNumber, AccountSpec, ApplyBundleRequest, Association, AssociationState, BrokerSpec, ExpiryPolicy,
    InstitutionSpec, LifecyclePhase, Resource, ResourceKind, ServiceSpec, StationSpec,
};
use fiorino_test_support::fiscal_code;
use prost::Message;
use sha2::{Digest as _, Sha256};

use crate::fixture::{ENVIRONMENT, PLATFORM};

pub(crate) const BROKER: &str = "15376371009";
pub(crate) const STATION: &str = "15376371009_01";
pub(crate) const IBAN: &str = "IT60X0542811101000000123456";
pub(crate) const IBAN_LATER: &str = "IT66A0306909606100000012345";
/// The number of the province's account.
pub(crate) const PROVINCE: &str = IBAN_LATER;

/// What a test changes before it applies it; uids are made of the fiscal code, so that they are unique.
#[derive(Debug, Clone)]
pub(crate) struct Manifest {
    /// Prefix of every uid of the institution: another one is a cluster made anew.
    pub(crate) cluster: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) generation: i64,
    pub(crate) adopt: bool,
    pub(crate) spec: InstitutionSpec,
    pub(crate) accounts: Vec<AccountSpec>,
    pub(crate) services: Vec<ServiceSpec>,
    pub(crate) station: StationSpec,
    pub(crate) broker: BrokerSpec,
    pub(crate) keep: Vec<String>,
    /// Of every resource.
    pub(crate) required_features: Vec<String>,
}

// === impl Manifest ===

impl Manifest {
    /// A municipality with one account and one service.
    pub(crate) fn new() -> Self {
        let fiscal_code = fiscal_code();
        Self {
            cluster: "c1".into(),
            namespace: format!("comune-{fiscal_code}"),
            name: "comune".into(),
            generation: 1,
            adopt: false,
            spec: InstitutionSpec {
                fiscal_code,
                legal_name: "Comune di Fontechiara".into(),
                phase: LifecyclePhase::Testing.into(),
                associations: vec![association("12")],
                ..InstitutionSpec::default()
            },
            accounts: vec![account("tesoreria", &[("2026-01-01", IBAN)])],
            services: vec![service("MENSA", "tesoreria")],
            station: StationSpec {
                station_id: STATION.into(),
                broker_fiscal_code: BROKER.into(),
                primitive_version: 2,
            },
            broker: BrokerSpec { fiscal_code: BROKER.into(), ..BrokerSpec::default() },
            keep: vec![],
            required_features: vec![],
        }
    }

    /// A province that issues nothing and has the account `tefa`.
    pub(crate) fn province() -> Self {
        let mut province = Self::new();
        province.spec.legal_name = "Provincia".into();
        province.spec.associations.clear();
        province.accounts = vec![account("tefa", &[("2026-01-01", PROVINCE)])];
        province.services.clear();
        province
    }

    pub(crate) fn fiscal_code(&self) -> &str {
        &self.spec.fiscal_code
    }

    pub(crate) fn uid(&self) -> String {
        format!("{}-{}", self.cluster, self.fiscal_code())
    }

    pub(crate) fn account_uid(&self, name: &str) -> String {
        format!("{}/account/{name}", self.uid())
    }

    pub(crate) fn service_uid(&self, code: &str) -> String {
        format!("{}/{code}", self.uid())
    }

    /// Without a fence.
    pub(crate) fn bundle(&self) -> ApplyBundleRequest {
        let account =
            |spec: &AccountSpec| self.own(ResourceKind::Account, self.account_uid(&spec.name), &spec.name, spec);
        let service =
            |spec: &ServiceSpec| self.own(ResourceKind::Service, self.service_uid(&spec.code), &spec.code, spec);
        ApplyBundleRequest {
            fence: 0,
            platform: PLATFORM.into(),
            environment: ENVIRONMENT.into(),
            institution: Some(self.own(ResourceKind::Institution, self.uid(), &self.name, &self.spec)),
            children: self.accounts.iter().map(account).chain(self.services.iter().map(service)).collect(),
            shared: vec![
                shared(ResourceKind::Broker, "broker", &self.broker),
                shared(ResourceKind::Station, "station", &self.station),
            ],
            keep: self.keep.clone(),
        }
    }

    fn own(&self, kind: ResourceKind, uid: String, name: &str, spec: &impl Message) -> Resource {
        Resource {
            uid,
            namespace: self.namespace.clone(),
            name: name.into(),
            generation: self.generation,
            adopt: self.adopt,
            required_features: self.required_features.clone(),
            institution: self.fiscal_code().into(),
            ..resource(kind, spec)
        }
    }
}

pub(crate) fn association(code: &str) -> Association {
    Association {
        station_id: STATION.into(),
        aux_digit: 3,
        code: code.into(),
        state: AssociationState::Issuing.into(),
        ..Association::default()
    }
}

pub(crate) fn account(name: &str, numbers: &[(&str, &str)]) -> AccountSpec {
    let number = |&(valid_from, iban): &(&str, &str)| AccountNumber {
        valid_from: valid_from.into(),
        iban: iban.into(),
        ..AccountNumber::default()
    };
    AccountSpec { name: name.into(), numbers: numbers.iter().map(number).collect(), ..AccountSpec::default() }
}

pub(crate) fn service(code: &str, account: &str) -> ServiceSpec {
    ServiceSpec {
        code: code.into(),
        title_it: "Mensa scolastica".into(),
        taxonomy_code: "9/0107101TS/".into(),
        account: account.into(),
        expiry_policy: ExpiryPolicy::PayableAfterDueDate.into(),
        active: true,
        ..ServiceSpec::default()
    }
}

/// A broker or station of the platform's namespace.
pub(crate) fn shared(kind: ResourceKind, name: &str, spec: &impl Message) -> Resource {
    Resource {
        uid: format!("platform/{name}"),
        namespace: PLATFORM.into(),
        name: name.into(),
        generation: 1,
        ..resource(kind, spec)
    }
}

fn resource(kind: ResourceKind, spec: &impl Message) -> Resource {
    let spec = spec.encode_to_vec();
    Resource {
        kind: kind.into(),
        hash: Sha256::digest(&spec).to_vec().into(),
        spec: spec.into(),
        ..Resource::default()
    }
}
