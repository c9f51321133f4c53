//! Manifests of Kubernetes, as a watch brings them: what the operator makes of them.

use std::{
    collections::HashSet,
    convert::Infallible,
    sync::{Arc, LazyLock},
};

use fiorino_crds::CreditorInstitution;
use fiorino_kit::clock::Clock;
use fiorino_operator::{
    Environment,
    institution::{
        Caches, Memory, Remembered, Secrets,
        bundle::Bundle,
        dereference::Dereferencer,
        plan::{Knowledge, Step, plan},
        validate::{Rules, validate},
    },
    runtime::cache::{Guarded, Kind},
    seal::SealKey,
};
use fiorino_proto::config::v1::{ApplyBundleResponse, InstitutionStatus};
use jiff::civil::{Date, date};
use kube::{
    Client,
    client::Body,
    runtime::{
        reflector::{self, Store},
        watcher::Event,
    },
};
use serde_json::Value;
use tokio::runtime::Runtime;

const PLATFORM: &str = "fiorino";
const TODAY: Date = date(2026, 11, 23);
/// Every Secret of this world.
const SECRET: &str =
    r#"{"apiVersion":"v1","kind":"Secret","metadata":{},"data":{"backoffice":"MDEyMzQ1Njc4OWFiY2RlZg=="}}"#;
/// The public half of a pair of which nobody knows the other.
const SEAL_KEY: &str = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742";

pub(crate) const DICTIONARY: &[&str] = &[
    "\n{\"kind\":\"CreditorInstitution\",",
    "\n{\"kind\":\"Iban\",",
    "\n{\"kind\":\"PaymentService\",",
    "\n{\"kind\":\"Station\",",
    "\"metadata\":{\"namespace\":\"comune\",\"name\":\"altro\"},",
    "\"deletionTimestamp\":\"2026-11-23T08:00:00Z\",",
    "\"annotations\":{\"fiorino.dev/adopt\":\"true\"},",
    "\"finalizers\":[\"fiorino.dev/institution\"],",
    "\"code\":\"MENSA\",",
    "\"account\":\"tesoreria\",",
    "\"withdrawn\":true,",
    "\"amount\":{\"minimumCents\":9,\"maximumCents\":1},",
    "\"profiles\":[],",
    "\"revision\":2",
    "IT70C0998877665000000104233",
    "80041780356",
    "80236140770",
    "null",
    "-1",
    "[]",
    "{}",
];

/// What nothing changes about.
struct World {
    runtime: Runtime,
    client: Client,
    seal_key: SealKey,
    rules: Rules,
}

static WORLD: LazyLock<World> = LazyLock::new(World::new);

/// Objects, a line each. What an institution's are judged to be is judged the same again; either it is sent, or somebody is told why
/// not; each object is sent once or kept; and what tenant has taken is not sent again.
pub(crate) fn manifests(data: &[u8]) {
    bundles(data);
}

/// The bundles of the institutions in `data` that are right.
pub fn bundles(data: &[u8]) -> Vec<Bundle> {
    let caches = caches(data);
    let institutions = caches.institutions.state();
    let dereferencer = WORLD.dereferencer(caches);
    let readable = institutions.iter().filter_map(|institution| institution.0.as_ref().ok());
    readable.filter(|it| dereferencer.is_ours(it)).filter_map(|it| bundle(&dereferencer, it)).collect()
}

fn bundle(dereferencer: &Dereferencer, institution: &CreditorInstitution) -> Option<Bundle> {
    let World { runtime, rules, .. } = &*WORLD;
    let snapshot = runtime.block_on(dereferencer.snapshot(institution, TODAY));
    let judged = validate(&snapshot, rules);
    assert_eq!(judged.bundle, validate(&snapshot, rules).bundle, "the same world gives the same bundle");
    assert_eq!(judged.bundle.is_none(), judged.report.institution_is_wrong(), "{:?}", judged.report);
    assert!(!judged.report.draft().message.is_empty(), "{:?}", judged.report);
    let bundle = judged.bundle?;
    let mut sent = HashSet::new();
    assert!(bundle.resources().all(|resource| sent.insert(&resource.uid)), "sent twice: {bundle:?}");
    assert!(!bundle.keep.iter().any(|uid| sent.contains(uid)), "sent and kept: {bundle:?}");
    planned(institution, &bundle);
    Some(bundle)
}

fn planned(institution: &CreditorInstitution, bundle: &Bundle) {
    let sends = |steps: &[Step]| steps.iter().any(|step| matches!(step, Step::ApplyBundle(_)));
    let goes = institution.metadata.deletion_timestamp.is_some();
    let first = plan(institution, Some(bundle), None, &Knowledge::Never);
    assert!(!(goes && sends(&first)), "an institution that goes is sent: {first:?}");
    let taken = Remembered::answered(bundle, &ApplyBundleResponse { config_seq: 1, outcomes: Vec::new() });
    let status = InstitutionStatus { managed: true, config_seq: 1, ..InstitutionStatus::default() };
    let then = plan(institution, Some(bundle), Some(&taken), &Knowledge::Known(Box::new(status)));
    assert!(!sends(&then), "sent again: {then:?}");
}

/// The API server names every object, and gives it a uid of its own, whatever the manifest says.
fn caches(data: &[u8]) -> Caches {
    let lines = data.split(|byte| *byte == b'\n').enumerate();
    let objects: Vec<Value> = lines
        .filter_map(|(nth, line)| {
            let mut object: Value = serde_json::from_slice(line).ok()?;
            let metadata = object.get_mut("metadata")?.as_object_mut()?;
            metadata.insert("uid".to_owned(), nth.to_string().into());
            metadata.get("name")?.is_string().then_some(object)
        })
        .collect();
    Caches {
        institutions: store(&objects),
        ibans: store(&objects),
        services: store(&objects),
        stations: store(&objects),
        brokers: store(&objects),
        profiles: store(&objects),
    }
}

fn store<K: Kind>(objects: &[Value]) -> Store<Guarded<K>> {
    let (store, mut writer) = reflector::store();
    for object in objects.iter().filter(|object| object["kind"].as_str() == Some(&K::kind(&()))) {
        if let Ok(object) = serde_json::from_value(object.clone()) {
            writer.apply_watcher_event(&Event::Apply(object));
        }
    }
    store
}

// === impl World ===

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("a runtime without IO can be made");
        let answer = tower::service_fn(async |_: http::Request<Body>| {
            Ok::<_, Infallible>(http::Response::new(Body::from(SECRET.as_bytes().to_vec())))
        });
        let client = {
            let _inside = runtime.enter();
            Client::new(answer, PLATFORM)
        };
        let rules = Rules {
            platform: PLATFORM.to_owned(),
            environment: Environment::Production,
            allowed_hostnames: vec!["localhost".to_owned()],
        };
        Self { runtime, client, seal_key: SEAL_KEY.parse().expect("it is a key"), rules }
    }

    fn dereferencer(&self, caches: Caches) -> Dereferencer {
        Dereferencer {
            caches,
            secrets: Secrets::new(self.client.clone(), Clock::system(), self.seal_key.clone()),
            memory: Arc::new(Memory::default()),
            platform: PLATFORM.to_owned(),
            tenant: None,
        }
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let (alone, sharing) = (&OBJECTS[..ALONE], &OBJECTS[..]);
    [alone, sharing].map(|objects| objects.iter().map(line).collect::<Vec<_>>().join("\n").into_bytes()).into()
}

/// As the API server gives it back.
fn line((kind, namespace, name, spec): &(&str, &str, &str, &str)) -> String {
    let metadata = format!(
        r#"{{"namespace":"{namespace}","name":"{name}","generation":1,"resourceVersion":"1","creationTimestamp":"2026-11-01T08:00:00Z"}}"#
    );
    format!(r#"{{"apiVersion":"fiorino.dev/v1alpha1","kind":"{kind}","metadata":{metadata},"spec":{spec}}}"#)
}

/// The first objects of [`OBJECTS`]: a municipality and its platform; then comes a province that shares.
const ALONE: usize = 6;

/// Kind, namespace, name, spec.
#[rustfmt::skip]
const OBJECTS: [(&str, &str, &str, &str); 9] = [
    ("Broker", PLATFORM, "valdarda",
     r#"{"fiscalCode":"91073550427","subscriptionKeys":[{"product":"BackofficeExternal","primary":{"name":"pagopa","key":"backoffice"}}]}"#),
    ("Station", PLATFORM, "valdarda-01",
     r#"{"id":"91073550427_01","brokerRef":{"name":"valdarda"},"allowedNamespaces":{"from":"All"}}"#),
    ("ServiceProfile", PLATFORM, "comune-standard-1",
     r#"{"profile":"comune-standard","revision":1,"services":[{"code":"TARI","title":{"it":"Tassa sui rifiuti"},"taxonomyCode":"0101101IM","account":"tesoreria"},{"code":"MENSA","title":{"it":"Mensa"},"taxonomyCode":"9/0107101TS/","account":"tesoreria"}]}"#),
    ("CreditorInstitution", "comune", "roccafiorina",
     r#"{"fiscalCode":"80041780356","legalName":"Comune di Roccafiorina","kind":"Municipality","adhesion":{"date":"2026-10-05"},"associations":[{"stationRef":{"namespace":"fiorino","name":"valdarda-01"},"segregationCode":"12"}],"profiles":[{"name":"comune-standard","revision":1}],"portal":{"hostnames":["roccafiorina.localhost"]}}"#),
    ("Iban", "comune", "tesoreria",
     r#"{"holder":"Comune di Roccafiorina","numbers":[{"validFrom":"2026-01-01","iban":"IT70C0998877665000000104233"}]}"#),
    ("PaymentService", "comune", "mensa",
     r#"{"code":"MENSA","amount":{"minimumCents":100,"maximumCents":50000}}"#),
    ("CreditorInstitution", "provincia", "valdarda",
     r#"{"fiscalCode":"80236140770","legalName":"Provincia di Valdarda","kind":"Province","role":{"kind":"BeneficiaryOnly"},"adhesion":{"date":"2026-10-05"},"platformRef":{"namespace":"fiorino"}}"#),
    ("Iban", "provincia", "tefa",
     r#"{"holder":"Provincia di Valdarda","published":true,"numbers":[{"validFrom":"2026-01-01","iban":"IT70C0998877665000000104233"}]}"#),
    ("PaymentService", "comune", "tari",
     r#"{"code":"TARI","beneficiaries":[{"fiscalCode":"80236140770","account":"tefa","shareBasisPoints":500,"taxonomyCode":"9/0201102IM/"}]}"#),
];
