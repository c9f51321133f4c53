//! `WatchChanges`: who is told of what.

use fiorino_proto::config::v1::{Nack, WatchChangesRequest, WatchChangesResponse};
use fiorino_test_support::within;
use tonic::Streaming;

use crate::{
    fixture::{PATIENCE, PLATFORM, Replica, Tenant},
    manifest::Manifest,
    stream::{Raw, hello},
};

struct Watch(Streaming<WatchChangesResponse>);

impl Watch {
    async fn open(replica: &Replica) -> Self {
        let request = WatchChangesRequest { platform: PLATFORM.into() };
        let mut watch = Self(replica.apply().watch_changes(request).await.unwrap().into_inner());
        assert!(watch.next().await.all, "the first message says all");
        watch
    }

    async fn next(&mut self) -> WatchChangesResponse {
        within(PATIENCE, self.0.message()).await.expect("a change in time").unwrap().unwrap()
    }

    /// Messages up to the first that `expected` holds for.
    async fn until(&mut self, expected: impl Fn(&WatchChangesResponse) -> bool) {
        while !expected(&self.next().await) {}
    }
}

#[tokio::test]
async fn an_applied_institution_is_told_on_every_replica_of_tenant_and_the_others_are_not() {
    let tenant = Tenant::start().await;
    let other = Replica::start(&tenant.database).await;
    let (first, second) = (Manifest::new(), Manifest::new());
    tenant.applied(&first).await;
    let mut watches = [Watch::open(&tenant.replica).await, Watch::open(&other).await];
    tenant.applied(&second).await;
    for watch in &mut watches {
        assert_eq!(
            watch.next().await,
            WatchChangesResponse { uids: vec![second.uid()], ..WatchChangesResponse::default() }
        );
    }
}

#[tokio::test]
async fn acknowledgements_refusals_and_the_death_of_a_replica_are_told() {
    let tenant = Tenant::start().await;
    let (first, second) = (Manifest::new(), Manifest::new());
    tenant.applied(&first).await;
    let mut watch = Watch::open(&tenant.replica).await;
    let mut stream = Raw::open(&tenant.replica, hello("a")).await;
    stream.complete().await;
    stream.acknowledge(1, vec![]).await;
    assert!(watch.next().await.all, "a replica came");
    tenant.applied(&second).await;
    let told =
        |manifest: &Manifest| WatchChangesResponse { uids: vec![manifest.uid()], ..WatchChangesResponse::default() };
    assert_eq!(watch.next().await, told(&second), "applied");
    stream.complete().await;
    stream.acknowledge(2, vec![]).await;
    assert_eq!(watch.next().await, told(&second), "acknowledged");
    let nack = Nack { uid: first.uid(), config_seq: 1, reason: "no".into() };
    stream.acknowledge(2, vec![nack]).await;
    assert_eq!(watch.next().await, told(&first), "refused");
    sqlx::query("update watermark set heartbeat_at = clock_timestamp() - interval '11 seconds'")
        .execute(tenant.pool())
        .await
        .unwrap();
    watch.until(|change| change.all).await;
}

#[tokio::test]
async fn the_first_call_of_the_node_is_told_once() {
    let tenant = Tenant::start().await;
    let manifest = Manifest::new();
    tenant.applied(&manifest).await;
    let mut watch = Watch::open(&tenant.replica).await;
    let seen: jiff::Timestamp = "2026-07-14T10:00:00Z".parse().unwrap();
    for at in [seen, "2026-07-15T10:00:00Z".parse().unwrap()] {
        fiorino_tenant::configuration::mark_node_connected(tenant.pool(), &[1, 99], at).await.unwrap();
    }
    assert_eq!(watch.next().await.uids, [manifest.uid()]);
    assert_eq!(tenant.status(manifest.fiscal_code()).await.node_connected_at, seen.to_string());
}
