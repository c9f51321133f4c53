//! Snapshots, deltas, acknowledgements, and streams that break.

use std::time::Duration;

use fiorino_config_client::Options;
use fiorino_proto::config::v1::StreamResponse;

use crate::script::{Replica, Tenant, database, delta, institution, pair};

#[tokio::test]
async fn a_change_is_in_effect_when_it_is_acknowledged() {
    let (mut tenant, database) = (Tenant::start().await, database().await);
    let replica = Replica::start(tenant.address, &database.pool).await;
    let mut stream = tenant.stream().await;
    assert_eq!((stream.hello.service.as_str(), stream.hello.replica.as_str()), ("node-connector", "replica-0"));
    assert_eq!((stream.hello.store_id.as_str(), stream.hello.known_seq), ("", 0));
    assert_eq!(stream.hello.capabilities, ["known-feature"]);
    stream.snapshot(3, vec![institution("1", "one", 2), institution("2", "two", 3)]).await;
    let ack = stream.ack_of(3).await;
    assert_eq!((ack.nonce.as_str(), ack.nacks.len()), ("n-1", 0));
    assert_eq!(replica.names(), [pair("1", "one"), pair("2", "two")]);
    stream
        .send(StreamResponse { tombstones: vec!["2".into()], ..delta("s-1", 5, vec![institution("3", "three", 5)]) })
        .await;
    stream.ack_of(5).await;
    assert_eq!(replica.names(), [pair("1", "one"), pair("3", "three")]);
    // Nothing new: the heartbeat says the same again.
    stream.ack_of(5).await;
    stream.ack_of(5).await;
}

#[tokio::test]
async fn chunks_take_effect_together_and_a_snapshot_drops_what_it_does_not_repeat() {
    let (mut tenant, database) = (Tenant::start().await, database().await);
    let replica = Replica::start(tenant.address, &database.pool).await;
    let mut stream = tenant.stream().await;
    stream.snapshot(1, vec![institution("1", "one", 1), institution("2", "two", 1)]).await;
    stream.ack_of(1).await;
    let chunk = StreamResponse { complete: false, up_to_seq: 0, ..delta("s-2", 0, vec![institution("2", "deux", 1)]) };
    stream.send(StreamResponse { snapshot_start: true, ..chunk }).await;
    // A whole heartbeat later nothing of it is in effect, and what is acknowledged is the old store's.
    assert_eq!(stream.ack().await.acknowledged_seq, 1);
    assert_eq!(stream.ack().await.acknowledged_seq, 1);
    assert_eq!(replica.names(), [pair("1", "one"), pair("2", "two")]);
    stream.send(delta("s-2", 9, vec![institution("3", "trois", 2)])).await;
    stream.ack_of(9).await;
    assert_eq!(replica.names(), [pair("2", "deux"), pair("3", "trois")]);
}

#[tokio::test]
async fn a_broken_stream_goes_on_from_what_is_held() {
    let (mut tenant, database) = (Tenant::start().await, database().await);
    let replica = Replica::start(tenant.address, &database.pool).await;
    let mut stream = tenant.stream().await;
    stream.snapshot(4, vec![institution("1", "one", 4)]).await;
    stream.ack_of(4).await;
    let boot = stream.hello.boot_id.clone();
    // Half a delta is lost with the stream.
    stream.send(StreamResponse { complete: false, ..delta("s-1", 0, vec![institution("2", "two", 5)]) }).await;
    drop(stream);
    let mut stream = tenant.stream().await;
    assert_eq!((stream.hello.store_id.as_str(), stream.hello.known_seq), ("s-1", 4));
    assert_eq!(stream.hello.boot_id, boot);
    stream.send(delta("s-1", 6, vec![institution("3", "three", 6)])).await;
    stream.ack_of(6).await;
    assert_eq!(replica.names(), [pair("1", "one"), pair("3", "three")]);
}

#[tokio::test]
async fn a_silent_tenant_is_left() {
    let (mut tenant, database) = (Tenant::start().await, database().await);
    let options = Options { silence: Duration::from_millis(300), ..Replica::options() };
    let replica = Replica::with(options, tenant.address, &database.pool).await;
    let mut silent = tenant.stream().await;
    silent.snapshot(1, vec![institution("1", "one", 1)]).await;
    silent.ack_of(1).await;
    let again = tenant.stream().await;
    assert_eq!(again.hello.known_seq, 1);
    assert_eq!(replica.names(), [pair("1", "one")]);
    drop(silent);
}

#[tokio::test]
async fn a_delta_of_another_store_is_not_mixed_in() {
    let (mut tenant, database) = (Tenant::start().await, database().await);
    let replica = Replica::start(tenant.address, &database.pool).await;
    let mut stream = tenant.stream().await;
    stream.snapshot(4, vec![institution("1", "one", 4)]).await;
    stream.ack_of(4).await;
    stream.send(delta("s-2", 5, vec![institution("2", "two", 5)])).await;
    let again = tenant.stream().await;
    // Serving on with what it held, it asks for everything.
    assert_eq!((again.hello.store_id.as_str(), again.hello.known_seq), ("", 0));
    assert_eq!(replica.names(), [pair("1", "one")]);
}

#[tokio::test]
async fn a_client_that_ends_takes_its_leave() {
    let (mut tenant, database) = (Tenant::start().await, database().await);
    let replica = Replica::start(tenant.address, &database.pool).await;
    let mut stream = tenant.stream().await;
    stream.snapshot(1, vec![]).await;
    stream.ack_of(1).await;
    drop(replica);
    stream.left().await;
}
