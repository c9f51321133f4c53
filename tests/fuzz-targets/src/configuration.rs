//! Configuration between the parts: bundles for tenant, the stream to replicas.

use fiorino_node_connector::projection::Projection;
use fiorino_proto::config::v1::{
    AccountNumber, AccountSpec, ApplyBundleRequest, Association, AssociationState, BrokerSpec, ExpiryPolicy,
    InstitutionSpec, LifecyclePhase, Resource, ResourceKind, ServiceSpec, StationSpec, StreamResponse,
};
use prost::Message;
use sha2::{Digest as _, Sha256};

/// Messages of one input.
const MESSAGES_MAX: usize = 64;

pub(crate) const DICTIONARY: &[&str] = &[
    "77777777777",
    "88888888888_01",
    "2026-01-01",
    "IT60X0542811101000000123456",
    "9/0107101TS/",
    "12",
    "\u{8}\u{1}",
    "\u{12}\u{4}",
];

/// An `ApplyBundleRequest`; hashes are put right, so that what lies behind them is reached.
pub(crate) fn bundle(data: &[u8]) {
    let Ok(mut request) = ApplyBundleRequest::decode(data) else { return };
    let resources = request.institution.iter_mut().chain(&mut request.children).chain(&mut request.shared);
    for resource in resources {
        resource.hash = Sha256::digest(&resource.spec).to_vec().into();
    }
    let sent = usize::from(request.institution.is_some()) + request.children.len() + request.shared.len();
    match fiorino_tenant::configuration::fuzz::bundle(request) {
        Ok(read) => assert_eq!(read, sent, "a bundle is read whole"),
        Err(error) => assert!(!error.to_string().is_empty(), "what is wrong is told"),
    }
}

/// Messages of the stream, each with its length before it.
pub(crate) fn stream(mut data: &[u8]) {
    let messages = std::iter::from_fn(|| StreamResponse::decode_length_delimited(&mut data).ok()).take(MESSAGES_MAX);
    let messages: Vec<_> = messages.collect();
    let sent: usize = messages.iter().map(|message| message.resources.len()).sum();
    let (refused, used) = fiorino_config_client::fuzz::receive(Projection, messages);
    assert!(refused <= sent && used <= sent, "{refused} refused and {used} in use of {sent}");
}

pub(crate) fn bundle_seeds() -> Vec<Vec<u8>> {
    let whole = ApplyBundleRequest {
        fence: 1,
        platform: "fiorino".into(),
        environment: "Uat".into(),
        institution: Some(resource(ResourceKind::Institution, "i", &institution())),
        children: vec![
            resource(ResourceKind::Account, "a", &account()),
            resource(ResourceKind::Service, "s", &service()),
        ],
        shared: vec![resource(ResourceKind::Broker, "b", &broker()), resource(ResourceKind::Station, "t", &station())],
        keep: vec!["kept".into()],
    };
    let alone = ApplyBundleRequest { children: Vec::new(), shared: Vec::new(), ..whole.clone() };
    vec![whole.encode_to_vec(), alone.encode_to_vec()]
}

pub(crate) fn stream_seeds() -> Vec<Vec<u8>> {
    let message = |resources: Vec<Resource>, start, complete, seq| StreamResponse {
        store_id: "store".into(),
        up_to_seq: seq,
        snapshot_start: start,
        complete,
        resources,
        ..StreamResponse::default()
    };
    let first = message(vec![resource(ResourceKind::Broker, "b", &broker())], true, false, 5);
    let rest = message(vec![resource(ResourceKind::Institution, "i", &institution())], false, true, 5);
    let delta = message(vec![resource(ResourceKind::Station, "t", &station())], false, true, 6);
    let gone = StreamResponse { tombstones: vec!["i".into()], ..message(Vec::new(), false, true, 7) };
    let strange = message(vec![Resource { kind: 99, uid: "x".into(), ..Resource::default() }], false, true, 8);
    let all = [first, rest, delta, gone, strange].map(|message| message.encode_length_delimited_to_vec());
    vec![all.concat(), [all[0].clone(), all[1].clone()].concat(), all[2].clone()]
}

fn resource(kind: ResourceKind, uid: &str, spec: &impl Message) -> Resource {
    let spec = spec.encode_to_vec();
    Resource {
        kind: kind.into(),
        uid: uid.into(),
        namespace: "comune".into(),
        name: uid.into(),
        generation: 1,
        hash: Sha256::digest(&spec).to_vec().into(),
        spec: spec.into(),
        ..Resource::default()
    }
}

fn institution() -> InstitutionSpec {
    InstitutionSpec {
        fiscal_code: "77777777777".into(),
        legal_name: "Comune di Fontechiara".into(),
        phase: LifecyclePhase::Testing.into(),
        associations: vec![Association {
            station_id: "88888888888_01".into(),
            aux_digit: 3,
            code: "12".into(),
            state: AssociationState::Issuing.into(),
            ..Association::default()
        }],
        ..InstitutionSpec::default()
    }
}

fn account() -> AccountSpec {
    let number = AccountNumber {
        valid_from: "2026-01-01".into(),
        iban: "IT60X0542811101000000123456".into(),
        ..AccountNumber::default()
    };
    AccountSpec { name: "tesoreria".into(), numbers: vec![number], ..AccountSpec::default() }
}

fn service() -> ServiceSpec {
    ServiceSpec {
        code: "MENSA".into(),
        title_it: "Mensa".into(),
        taxonomy_code: "9/0107101TS/".into(),
        account: "tesoreria".into(),
        expiry_policy: ExpiryPolicy::PayableAfterDueDate.into(),
        active: true,
        ..ServiceSpec::default()
    }
}

fn broker() -> BrokerSpec {
    BrokerSpec { fiscal_code: "88888888888".into(), ..BrokerSpec::default() }
}

fn station() -> StationSpec {
    StationSpec { station_id: "88888888888_01".into(), broker_fiscal_code: "88888888888".into(), primitive_version: 2 }
}
