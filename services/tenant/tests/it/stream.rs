//! The stream as a replica sees it: snapshot, deltas, reconnects, chunks, refusals.

use fiorino_test_support::within;
use std::collections::BTreeSet;

use fiorino_proto::config::v1::{
    Ack, Hello, Nack, ResourceKind, StreamRequest, StreamResponse, config_stream_client::ConfigStreamClient,
    stream_request::Message,
};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::{
    fixture::{PATIENCE, Replica, Tenant, violations},
    manifest::{Manifest, service},
};

/// A stream driven by hand.
pub(crate) struct Raw {
    pub(crate) requests: mpsc::Sender<StreamRequest>,
    responses: Streaming<StreamResponse>,
    nonce: String,
}

pub(crate) fn hello(replica: &str) -> Hello {
    Hello { service: "node-connector".into(), replica: replica.into(), boot_id: "boot-1".into(), ..Hello::default() }
}

// === impl Raw ===

impl Raw {
    pub(crate) async fn open(replica: &Replica, hello: Hello) -> Self {
        Self::try_open(replica, hello).await.unwrap()
    }

    pub(crate) async fn try_open(replica: &Replica, hello: Hello) -> Result<Self, Status> {
        let own = ["reporting", "front-office"].into_iter().find(|name| *name == hello.service);
        let name = own.unwrap_or("node-connector");
        let (requests, outbound) = mpsc::channel(8);
        requests.send(StreamRequest { message: Some(Message::Hello(hello)) }).await.unwrap();
        let mut client = ConfigStreamClient::new(replica.channel(name));
        let responses = client.stream(ReceiverStream::new(outbound)).await?.into_inner();
        Ok(Self { requests, responses, nonce: String::new() })
    }

    pub(crate) async fn next(&mut self) -> Result<StreamResponse, Status> {
        let next = within(PATIENCE, self.responses.message()).await.expect("a message in time");
        let message = next?.ok_or_else(|| Status::cancelled("the stream ended"))?;
        self.nonce.clone_from(&message.nonce);
        Ok(message)
    }

    /// Chunks up to the one that completes a change, as one message.
    pub(crate) async fn complete(&mut self) -> StreamResponse {
        let mut whole = self.next().await.unwrap();
        while !whole.complete {
            let chunk = self.next().await.unwrap();
            assert!(!chunk.snapshot_start, "only the first chunk begins a snapshot");
            whole.resources.extend(chunk.resources);
            whole.tombstones.extend(chunk.tombstones);
            (whole.complete, whole.up_to_seq) = (chunk.complete, chunk.up_to_seq);
        }
        whole
    }

    pub(crate) async fn acknowledge(&self, acknowledged_seq: i64, nacks: Vec<Nack>) {
        let ack = Ack { nonce: self.nonce.clone(), acknowledged_seq, nacks };
        self.requests.send(StreamRequest { message: Some(Message::Ack(ack)) }).await.unwrap();
    }

    /// The error that ends the stream; what was on its way before is passed over.
    pub(crate) async fn broken(&mut self) -> Status {
        loop {
            if let Err(status) = self.next().await {
                return status;
            }
        }
    }
}

fn uids(message: &StreamResponse) -> BTreeSet<&str> {
    message.resources.iter().map(|resource| resource.uid.as_str()).collect()
}

#[tokio::test]
async fn a_new_replica_gets_a_snapshot_of_its_kinds_then_deltas_with_tombstones() {
    let tenant = Tenant::start().await;
    let mut manifest = Manifest::new();
    tenant.applied(&manifest).await;
    let mut stream = Raw::open(&tenant.replica, hello("a")).await;
    let snapshot = stream.complete().await;
    assert!(snapshot.snapshot_start && snapshot.up_to_seq == 1 && snapshot.tombstones.is_empty());
    let (uid, account) = (manifest.uid(), manifest.account_uid("tesoreria"));
    assert_eq!(uids(&snapshot), BTreeSet::from(["platform/broker", "platform/station", &uid, &account]));
    let institution = snapshot.resources.iter().find(|one| one.uid == uid).unwrap();
    let sent = manifest.bundle().institution.unwrap();
    assert_eq!((&institution.spec, &institution.hash, institution.config_seq), (&sent.spec, &sent.hash, 1));
    assert_eq!(institution.institution, manifest.fiscal_code());
    // A change of what the service does not get still moves its watermark on.
    manifest.services[0].title_it = "Mensa".into();
    manifest.services.push(service("NIDO", "tesoreria"));
    tenant.applied(&manifest).await;
    let delta = stream.complete().await;
    assert_eq!((delta.snapshot_start, delta.up_to_seq, delta.resources.len()), (false, 2, 0));
    manifest.accounts.clear();
    manifest.services.clear();
    tenant.applied(&manifest).await;
    let delta = stream.complete().await;
    assert_eq!((delta.up_to_seq, delta.tombstones), (3, vec![account]));
}

#[tokio::test]
async fn the_front_office_gets_institutions_and_services_and_no_account() {
    let tenant = Tenant::start().await;
    let manifest = Manifest::new();
    tenant.applied(&manifest).await;
    let mut stream = Raw::open(&tenant.replica, Hello { service: "front-office".into(), ..hello("a") }).await;
    let snapshot = stream.complete().await;
    assert_eq!(uids(&snapshot), BTreeSet::from([manifest.uid().as_str(), &manifest.service_uid("MENSA")]));
}

#[tokio::test]
async fn other_services_get_every_kind() {
    let tenant = Tenant::start().await;
    let manifest = Manifest::new();
    tenant.applied(&manifest).await;
    let mut stream = Raw::open(&tenant.replica, Hello { service: "reporting".into(), ..hello("a") }).await;
    let kinds: BTreeSet<i32> = stream.complete().await.resources.iter().map(|resource| resource.kind).collect();
    assert_eq!(kinds, (ResourceKind::Broker as i32..=ResourceKind::Service as i32).collect());
}

#[tokio::test]
async fn a_replica_that_comes_back_gets_only_what_it_lacks_unless_the_store_is_another() {
    let tenant = Tenant::start().await;
    let (first, second) = (Manifest::new(), Manifest::new());
    tenant.applied(&first).await;
    let known = Raw::open(&tenant.replica, hello("a")).await.complete().await;
    tenant.applied(&second).await;
    let back = Hello { store_id: known.store_id.clone(), known_seq: known.up_to_seq, ..hello("a") };
    let delta = Raw::open(&tenant.replica, back.clone()).await.complete().await;
    assert!(!delta.snapshot_start);
    assert_eq!(uids(&delta), BTreeSet::from([second.uid().as_str(), &second.account_uid("tesoreria")]));
    // Ahead of the store: it was restored.
    for hello in [Hello { known_seq: 99, ..back.clone() }, Hello { store_id: "another".into(), ..back }] {
        let snapshot = Raw::open(&tenant.replica, hello).await.complete().await;
        assert!(snapshot.snapshot_start && uids(&snapshot).len() == 6, "{snapshot:?}");
    }
}

#[tokio::test]
async fn a_store_that_is_restored_under_an_open_stream_sends_a_snapshot() {
    let tenant = Tenant::start().await;
    tenant.applied(&Manifest::new()).await;
    let mut stream = Raw::open(&tenant.replica, hello("a")).await;
    let before = stream.complete().await;
    sqlx::query("update config_head set store_id = gen_random_uuid()").execute(tenant.pool()).await.unwrap();
    let after = stream.complete().await;
    assert!(after.snapshot_start);
    assert_ne!(after.store_id, before.store_id);
}

#[tokio::test]
async fn a_long_snapshot_comes_in_chunks_of_at_most_256_kib() {
    let tenant = Tenant::start().await;
    let mut manifest = Manifest::new();
    manifest.services = (0..1_500).map(|number| service(&format!("SERVIZIO-{number}"), "tesoreria")).collect();
    manifest.services.iter_mut().for_each(|service| service.title_it = "Diritti di segreteria ".repeat(6));
    tenant.applied(&manifest).await;
    let mut stream = Raw::open(&tenant.replica, Hello { service: "reporting".into(), ..hello("a") }).await;
    let mut chunks = Vec::new();
    while chunks.last().is_none_or(|chunk: &StreamResponse| !chunk.complete) {
        chunks.push(stream.next().await.unwrap());
    }
    assert!(chunks.len() > 1, "one chunk only");
    assert!(chunks.iter().all(|chunk| chunk.encoded_len() <= 256 * 1024));
    assert!(chunks.iter().enumerate().all(|(at, chunk)| chunk.snapshot_start == (at == 0)));
    let sent: BTreeSet<&str> = chunks.iter().flat_map(uids).collect();
    assert_eq!(sent.len(), 4 + 1_500);
}

#[tokio::test]
async fn what_is_no_protocol_ends_the_stream_with_the_rule() {
    let tenant = Tenant::start().await;
    tenant.applied(&Manifest::new()).await;
    let cases: [(&str, Ack); 3] = [
        ("ack.acknowledged_seq", Ack { acknowledged_seq: 2, ..Ack::default() }),
        ("ack.nonce", Ack { nonce: "another".into(), ..Ack::default() }),
        ("ack.nacks", Ack { nacks: vec![Nack::default()], ..Ack::default() }),
    ];
    for (field, ack) in cases {
        let mut stream = Raw::open(&tenant.replica, hello(field)).await;
        stream.complete().await;
        let nonce = if ack.nonce.is_empty() { stream.nonce.clone() } else { ack.nonce.clone() };
        let ack = StreamRequest { message: Some(Message::Ack(Ack { nonce, ..ack })) };
        stream.requests.send(ack).await.unwrap();
        let status = stream.broken().await;
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(violations(&status)[0].starts_with(field), "{status:?}");
    }
    let nameless = Raw::try_open(&tenant.replica, Hello::default()).await.err().unwrap();
    assert!(violations(&nameless)[0].starts_with("hello.service"), "{nameless:?}");
    let posing = Hello { service: "integration".into(), ..hello("a") };
    let posing = Raw::try_open(&tenant.replica, posing).await.err().unwrap();
    assert_eq!(posing.code(), Code::PermissionDenied, "{posing:?}");
}

#[tokio::test]
async fn an_older_stream_of_a_replica_and_an_older_process_of_it_are_refused() {
    let tenant = Tenant::start().await;
    tenant.applied(&Manifest::new()).await;
    let mut older = Raw::open(&tenant.replica, hello("a")).await;
    older.complete().await;
    let mut newer = Raw::open(&tenant.replica, hello("a")).await;
    newer.complete().await;
    older.acknowledge(1, vec![]).await;
    assert_eq!(older.broken().await.code(), Code::Aborted);
    let mut restarted = Raw::open(&tenant.replica, Hello { boot_id: "boot-2".into(), ..hello("a") }).await;
    restarted.complete().await;
    let ghost = Raw::try_open(&tenant.replica, hello("a")).await.err().unwrap();
    assert_eq!(ghost.code(), Code::FailedPrecondition);
    assert!(violations(&ghost)[0].starts_with("boot_id: process boot-1"), "{ghost:?}");
}

#[tokio::test]
async fn a_shutdown_ends_the_streams() {
    let tenant = Tenant::start().await;
    let replica = Replica::start(&tenant.database).await;
    let mut stream = Raw::open(&replica, hello("a")).await;
    stream.complete().await;
    replica.stop().await;
    stream.broken().await;
}
