//! When a replica may become ready.

use std::time::Duration;

use fiorino_config_client::Options;
use fiorino_proto::config::v1::StreamResponse;
use sqlx::PgPool;
use tokio::time::timeout;

use crate::script::{PATIENCE, Replica, Tenant, database, delta, institution, nowhere, pair};

/// Leaves a copy of one institution at sequence 7 in the database.
async fn saved(pool: &PgPool) {
    let mut tenant = Tenant::start().await;
    let replica = Replica::start(tenant.address, pool).await;
    let mut stream = tenant.stream().await;
    stream.snapshot(7, vec![institution("1", "one", 7)]).await;
    stream.ack_of(7).await;
    let probe = async || match crate::copy::head(pool).await {
        Some((_, 7)) => Ok(()),
        head => Err(format!("{head:?}")),
    };
    fiorino_test_support::eventually(PATIENCE, probe).await.unwrap();
    drop(replica);
}

#[tokio::test]
async fn without_tenant_a_saved_copy_is_whole_after_a_while() {
    let database = database().await;
    saved(&database.pool).await;
    let patient = Options { head_wait: Duration::from_mins(10), ..Replica::options() };
    let waiting = Replica::with(patient, nowhere().await, &database.pool).await;
    // Read at once, ready only when tenant was waited for.
    assert_eq!(waiting.names(), [pair("1", "one")]);
    assert!(timeout(Duration::from_millis(300), waiting.handle.whole()).await.is_err());
    let replica = Replica::start(nowhere().await, &database.pool).await;
    replica.whole().await;
    assert_eq!(replica.names(), [pair("1", "one")]);
}

#[tokio::test]
async fn without_tenant_and_without_a_copy_nothing_is_whole() {
    let database = database().await;
    let replica = Replica::start(nowhere().await, &database.pool).await;
    assert!(timeout(Duration::from_millis(500), replica.handle.whole()).await.is_err());
    assert!(!replica.handle.is_whole());
}

#[tokio::test]
async fn while_tenant_answers_whole_means_at_the_head() {
    let database = database().await;
    saved(&database.pool).await;
    let mut tenant = Tenant::start().await;
    let replica = Replica::start(tenant.address, &database.pool).await;
    let mut stream = tenant.stream().await;
    assert_eq!((stream.hello.store_id.as_str(), stream.hello.known_seq), ("s-1", 7));
    stream.send(StreamResponse { complete: false, ..delta("s-1", 0, vec![institution("2", "two", 8)]) }).await;
    replica.until(|progress| progress.connected).await;
    // Longer than the wait for tenant.
    assert!(timeout(Duration::from_millis(300), replica.handle.whole()).await.is_err());
    stream.send(delta("s-1", 8, vec![])).await;
    replica.whole().await;
    stream.ack_of(8).await;
    assert_eq!(replica.names(), [pair("1", "one"), pair("2", "two")]);
}

#[tokio::test]
async fn a_tenant_that_falls_silent_half_way_leaves_the_saved_copy() {
    let database = database().await;
    saved(&database.pool).await;
    let mut tenant = Tenant::start().await;
    let replica = Replica::start(tenant.address, &database.pool).await;
    let stream = tenant.stream().await;
    stream.send(StreamResponse { complete: false, ..delta("s-1", 0, vec![institution("2", "two", 8)]) }).await;
    replica.until(|progress| progress.connected).await;
    drop((stream, tenant));
    replica.whole().await;
    assert_eq!(replica.names(), [pair("1", "one")]);
}

#[tokio::test]
async fn a_service_without_its_database_starts_from_tenant() {
    let mut tenant = Tenant::start().await;
    let pool = PgPool::connect_lazy(&format!("postgres://nobody@{}/none", nowhere().await)).unwrap();
    let replica = Replica::start(tenant.address, &pool).await;
    let mut stream = tenant.stream().await;
    stream.snapshot(1, vec![institution("1", "one", 1)]).await;
    replica.whole().await;
    stream.ack_of(1).await;
    assert_eq!(replica.names(), [pair("1", "one")]);
}
