//! What the operator is told of the replicas: acknowledged, pending, refused, none; live by the database's time.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use fiorino_config_client::{Client, Handle, Options, Projection};
use fiorino_kit::backoff::Backoff;
use fiorino_proto::config::v1::{DistributionState, Nack, Resource, ResourceKind, ServiceDistribution};
use fiorino_test_support::{Parts, TestDatabase, eventually, within};
use tokio_util::sync::CancellationToken;

use crate::{
    fixture::{PATIENCE, Replica, Tenant, channel},
    manifest::Manifest,
    stream::{Raw, hello},
};

async fn distribution(tenant: &Tenant, manifest: &Manifest) -> ServiceDistribution {
    let status = tenant.status(manifest.fiscal_code()).await;
    let services: Vec<_> = status.distribution.iter().map(|one| one.service.as_str()).collect();
    assert_eq!(services, ["node-connector", "reporting", "front-office"]);
    status.distribution.into_iter().next().unwrap()
}

async fn reaches(tenant: &Tenant, manifest: &Manifest, state: DistributionState) -> ServiceDistribution {
    let probe = async || {
        let told = distribution(tenant, manifest).await;
        if told.state() == state { Ok(told) } else { Err(format!("{told:?}")) }
    };
    eventually(PATIENCE, probe).await.unwrap()
}

/// A heartbeat that was 11 s ago, without waiting for it.
async fn silence(tenant: &Tenant, replica: &str) {
    sqlx::query("update watermark set heartbeat_at = clock_timestamp() - interval '11 seconds' where replica = $1")
        .bind(replica)
        .execute(tenant.pool())
        .await
        .unwrap();
}

#[tokio::test]
async fn the_lowest_live_watermark_counts_and_a_dead_replica_does_not() {
    let tenant = Tenant::start().await;
    let manifest = Manifest::new();
    tenant.applied(&manifest).await;
    assert_eq!(distribution(&tenant, &manifest).await.state(), DistributionState::NoReplica);
    let mut quick = Raw::open(&tenant.replica, hello("quick")).await;
    quick.complete().await;
    // Connected is not live: it has not acknowledged yet.
    assert_eq!(distribution(&tenant, &manifest).await.state(), DistributionState::NoReplica);
    quick.acknowledge(1, vec![]).await;
    let told = reaches(&tenant, &manifest, DistributionState::Acknowledged).await;
    assert_eq!((told.lowest_acknowledged_seq, told.live_replicas), (1, 1));
    let mut laggard = Raw::open(&tenant.replica, hello("laggard")).await;
    laggard.complete().await;
    // A replica that joins does not unset anything.
    assert_eq!(distribution(&tenant, &manifest).await.state(), DistributionState::Acknowledged);
    laggard.acknowledge(0, vec![]).await;
    let told = reaches(&tenant, &manifest, DistributionState::Pending).await;
    assert_eq!((told.lowest_acknowledged_seq, told.live_replicas), (0, 2));
    silence(&tenant, "laggard").await;
    let told = distribution(&tenant, &manifest).await;
    assert_eq!((told.state(), told.live_replicas), (DistributionState::Acknowledged, 1));
    silence(&tenant, "quick").await;
    assert_eq!(distribution(&tenant, &manifest).await.state(), DistributionState::NoReplica);
}

#[tokio::test]
async fn a_process_that_starts_again_does_not_count_before_it_acknowledges() {
    let tenant = Tenant::start().await;
    let manifest = Manifest::new();
    tenant.applied(&manifest).await;
    let mut stream = Raw::open(&tenant.replica, hello("a")).await;
    stream.complete().await;
    stream.acknowledge(1, vec![]).await;
    reaches(&tenant, &manifest, DistributionState::Acknowledged).await;
    // The same process reconnects: it goes on counting.
    let _again = Raw::open(&tenant.replica, hello("a")).await;
    assert_eq!(distribution(&tenant, &manifest).await.state(), DistributionState::Acknowledged);
    let restarted = fiorino_proto::config::v1::Hello { boot_id: "boot-2".into(), ..hello("a") };
    let _restarted = Raw::open(&tenant.replica, restarted).await;
    assert_eq!(distribution(&tenant, &manifest).await.state(), DistributionState::NoReplica);
}

#[tokio::test]
async fn a_refusal_touches_the_institutions_of_the_resource_and_ends_with_a_new_version() {
    let tenant = Tenant::start().await;
    let (mut one, other) = (Manifest::new(), Manifest::new());
    tenant.applied(&one).await;
    tenant.applied(&other).await;
    let mut stream = Raw::open(&tenant.replica, hello("a")).await;
    stream.complete().await;
    let nack = |uid: String, config_seq| Nack { uid, config_seq, reason: "too new".into() };
    stream.acknowledge(2, vec![nack(one.uid(), 1)]).await;
    assert_eq!(reaches(&tenant, &one, DistributionState::Refused).await.refusals, ["a: too new"]);
    assert_eq!(distribution(&tenant, &other).await.state(), DistributionState::Acknowledged);
    one.spec.legal_name = "Comune".into();
    tenant.applied(&one).await;
    // What is refused is the older version: the new one was not judged yet.
    assert_eq!(distribution(&tenant, &one).await.state(), DistributionState::Pending);
    stream.complete().await;
    stream.acknowledge(3, vec![nack("platform/station".into(), 1)]).await;
    reaches(&tenant, &one, DistributionState::Refused).await;
    reaches(&tenant, &other, DistributionState::Refused).await;
}

/// Refuses institutions while told to.
struct Refusing(Arc<AtomicBool>);

impl Projection for Refusing {
    type Item = (String, i64);
    type View = Vec<(String, i64)>;

    fn wants(&self, kind: ResourceKind) -> bool {
        kind == ResourceKind::Institution
    }

    fn parse(&self, resource: &Resource) -> Result<Self::Item, String> {
        if self.0.load(Ordering::Relaxed) {
            Err("not now".into())
        } else {
            Ok((resource.uid.clone(), resource.generation))
        }
    }

    fn view(&self, items: &BTreeMap<String, Arc<Self::Item>>) -> Self::View {
        items.values().map(|item| (**item).clone()).collect()
    }
}

/// A node-connector's replica as the library makes it.
struct Service {
    handle: Handle<Refusing>,
    refuse: Arc<AtomicBool>,
    token: CancellationToken,
    _database: TestDatabase,
}

impl Service {
    async fn start(tenants: &[&Replica], capabilities: &'static [&'static str]) -> Self {
        let copy =
            async |pool: sqlx::PgPool| sqlx::raw_sql(fiorino_config_client::COPY_DDL).execute(&pool).await.map(drop);
        let database = Parts::get().database("config_copy", copy).await.unwrap();
        let refuse = Arc::new(AtomicBool::new(false));
        let backoff = Backoff {
            min: std::time::Duration::from_millis(20),
            max: std::time::Duration::from_millis(200),
            jitter: 50,
        };
        let options = Options { capabilities, backoff, ..Options::new("node-connector", "replica-0") };
        let addresses: Vec<_> = tenants.iter().map(|tenant| tenant.address).collect();
        let channel = channel(&addresses, "node-connector");
        let projection = Refusing(Arc::clone(&refuse));
        let (handle, client) = Client::load(options, projection, database.pool.clone(), channel).await;
        let token = CancellationToken::new();
        tokio::spawn(client.run(token.clone()));
        Self { handle, refuse, token, _database: database }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.token.cancel();
    }
}

#[tokio::test]
async fn a_service_refuses_what_it_cannot_read_keeps_the_last_good_and_takes_the_mended_one() {
    let tenant = Tenant::start().await;
    let mut manifest = Manifest::new();
    tenant.applied(&manifest).await;
    let service = Service::start(&[&tenant.replica], &["deferred"]).await;
    within(PATIENCE, service.handle.whole()).await.unwrap();
    reaches(&tenant, &manifest, DistributionState::Acknowledged).await;
    assert_eq!(*service.handle.current(), [(manifest.uid(), 1)]);
    service.refuse.store(true, Ordering::Relaxed);
    manifest.generation = 2;
    manifest.spec.legal_name = "Comune".into();
    tenant.applied(&manifest).await;
    assert_eq!(reaches(&tenant, &manifest, DistributionState::Refused).await.refusals, ["replica-0: not now"]);
    assert_eq!(*service.handle.current(), [(manifest.uid(), 1)]);
    service.refuse.store(false, Ordering::Relaxed);
    manifest.generation = 3;
    manifest.spec.legal_name = "Comune di Fontechiara".into();
    tenant.applied(&manifest).await;
    reaches(&tenant, &manifest, DistributionState::Acknowledged).await;
    assert_eq!(*service.handle.current(), [(manifest.uid(), 3)]);
    // One that ends in order is not waited for.
    drop(service);
    reaches(&tenant, &manifest, DistributionState::NoReplica).await;
}

#[tokio::test]
async fn a_service_goes_on_with_another_replica_of_tenant() {
    let tenant = Tenant::start().await;
    let second = Replica::start(&tenant.database).await;
    let service = Service::start(&[&tenant.replica, &second], &[]).await;
    within(PATIENCE, service.handle.whole()).await.unwrap();
    second.stop().await;
    let manifest = Manifest::new();
    tenant.applied(&manifest).await;
    reaches(&tenant, &manifest, DistributionState::Acknowledged).await;
}
