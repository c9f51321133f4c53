//! The saved copy: what is in it, and who may write it.

use fiorino_proto::config::v1::{Resource, StreamResponse};
use fiorino_test_support::eventually;
use sqlx::PgPool;

use crate::script::{PATIENCE, Replica, Tenant, database, delta, institution, nowhere, pair};

/// Store and sequence of the copy.
pub(crate) async fn head(pool: &PgPool) -> Option<(String, i64)> {
    sqlx::query_as("select store_id, config_seq from config_copy_head").fetch_optional(pool).await.unwrap()
}

async fn saved(pool: &PgPool, store_id: &str, config_seq: i64) {
    let probe = async || match head(pool).await {
        Some(head) if head == (store_id.into(), config_seq) => Ok(()),
        head => Err(format!("{head:?}")),
    };
    eventually(PATIENCE, probe).await.unwrap();
}

async fn uids(pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar("select uid from config_copy order by uid").fetch_all(pool).await.unwrap()
}

#[tokio::test]
async fn it_follows_every_change_and_only_changed_rows_are_written() {
    let (mut tenant, database) = (Tenant::start().await, database().await);
    let _replica = Replica::start(tenant.address, &database.pool).await;
    let stream = tenant.stream().await;
    stream.snapshot(1, vec![institution("1", "one", 1), institution("2", "two", 1)]).await;
    saved(&database.pool, "s-1", 1).await;
    let row = "select xmin::text from config_copy where uid = '1'";
    let written: String = sqlx::query_scalar(row).fetch_one(&database.pool).await.unwrap();
    stream
        .send(StreamResponse { tombstones: vec!["2".into()], ..delta("s-1", 2, vec![institution("3", "three", 2)]) })
        .await;
    saved(&database.pool, "s-1", 2).await;
    assert_eq!(uids(&database.pool).await, ["1", "3"]);
    assert_eq!(sqlx::query_scalar::<_, String>(row).fetch_one(&database.pool).await.unwrap(), written);
    stream.send(StreamResponse { snapshot_start: true, ..delta("s-2", 1, vec![institution("4", "four", 1)]) }).await;
    saved(&database.pool, "s-2", 1).await;
    assert_eq!(uids(&database.pool).await, ["4"]);
}

#[tokio::test]
async fn a_refused_resource_is_refused_again_after_a_start_and_its_last_good_version_serves() {
    let (mut tenant, database) = (Tenant::start().await, database().await);
    let replica = Replica::start(tenant.address, &database.pool).await;
    let stream = tenant.stream().await;
    stream.snapshot(1, vec![institution("1", "good", 1)]).await;
    let bad = Resource { required_features: vec!["unheard-of".into()], ..institution("1", "bad", 2) };
    stream.send(delta("s-1", 2, vec![bad])).await;
    saved(&database.pool, "s-1", 2).await;
    drop(replica);
    let again = Replica::start(tenant.address, &database.pool).await;
    assert_eq!(again.names(), [pair("1", "good")]);
    let mut stream = tenant.stream().await;
    assert_eq!(stream.hello.known_seq, 2);
    stream.send(delta("s-1", 2, vec![])).await;
    assert_eq!(stream.ack_of(2).await.nacks.len(), 1);
    assert_eq!(again.names(), [pair("1", "good")]);
}

#[tokio::test]
async fn a_replica_that_lags_does_not_write_over_one_that_is_ahead() {
    let database = database().await;
    let (mut ahead, mut behind) = (Tenant::start().await, Tenant::start().await);
    let quick = Replica::start(ahead.address, &database.pool).await;
    let slow = Replica::start(behind.address, &database.pool).await;
    let (mut to_quick, mut to_slow) = (ahead.stream().await, behind.stream().await);
    to_quick.snapshot(1, vec![institution("1", "one", 1)]).await;
    to_slow.snapshot(1, vec![institution("1", "one", 1)]).await;
    to_slow.ack_of(1).await;
    to_quick.send(delta("s-1", 3, vec![institution("3", "three", 3)])).await;
    saved(&database.pool, "s-1", 3).await;
    to_slow.send(delta("s-1", 2, vec![institution("2", "two", 2)])).await;
    to_slow.ack_of(2).await;
    // Behind the copy first, then level with it and ahead: it takes over with everything that it holds.
    to_slow.send(delta("s-1", 4, vec![institution("3", "three", 3), institution("4", "four", 4)])).await;
    saved(&database.pool, "s-1", 4).await;
    assert_eq!(uids(&database.pool).await, ["1", "2", "3", "4"]);
    to_quick.ack_of(3).await;
    drop((quick, slow));
}

#[tokio::test]
async fn it_is_written_when_the_database_comes_back() {
    let (mut tenant, database) = (Tenant::start().await, database().await);
    let _replica = Replica::start(tenant.address, &database.pool).await;
    let mut stream = tenant.stream().await;
    sqlx::query("alter table config_copy rename to away").execute(&database.pool).await.unwrap();
    stream.snapshot(1, vec![institution("1", "one", 1)]).await;
    stream.ack_of(1).await;
    sqlx::query("alter table away rename to config_copy").execute(&database.pool).await.unwrap();
    saved(&database.pool, "s-1", 1).await;
    let offline = Replica::start(nowhere().await, &database.pool).await;
    assert_eq!(offline.names(), [pair("1", "one")]);
}
