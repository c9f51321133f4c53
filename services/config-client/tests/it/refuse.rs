//! Refusals: told completely, the last good version stays in use.

use fiorino_proto::config::v1::{Ack, InstitutionSpec, Nack, Resource};
use prost::Message as _;
use rstest::rstest;

use crate::script::{Replica, Tenant, database, delta, institution, pair};

fn feature(resource: Resource, name: &str) -> Resource {
    Resource { required_features: vec![name.into()], ..resource }
}

fn phase(resource: Resource, phase: i32) -> Resource {
    let spec = InstitutionSpec { fiscal_code: "1".into(), phase, ..InstitutionSpec::default() };
    Resource { spec: spec.encode_to_vec().into(), ..resource }
}

#[rstest]
#[case::feature(feature(institution("1", "new", 2), "unheard-of"), "feature unheard-of is not known")]
#[case::undecodable(Resource { spec: vec![0xff].into(), ..institution("1", "new", 2) }, "spec cannot be decoded")]
#[case::unknown_enum(phase(institution("1", "new", 2), 77), "phase has the unknown value 77")]
#[case::unspecified_enum(phase(institution("1", "new", 2), 0), "phase is unspecified")]
#[case::unknown_kind(Resource { kind: 99, ..institution("1", "new", 2) }, "resource kind 99 is unknown")]
#[tokio::test]
async fn what_cannot_be_used_is_refused_until_it_is_mended(#[case] bad: Resource, #[case] reason: &str) {
    let (mut tenant, database) = (Tenant::start().await, database().await);
    let replica = Replica::start(tenant.address, &database.pool).await;
    let mut stream = tenant.stream().await;
    stream.snapshot(1, vec![feature(institution("1", "old", 1), "known-feature"), institution("2", "two", 1)]).await;
    assert_eq!(stream.ack_of(1).await.nacks, []);
    stream.send(delta("s-1", 2, vec![bad])).await;
    // The same in the heartbeat after it: the list is always complete.
    for _ in 0..2 {
        let nacks = stream.ack_of(2).await.nacks;
        let [Nack { uid, config_seq, reason: told }] = nacks.as_slice() else { panic!("{nacks:?}") };
        assert_eq!((uid.as_str(), *config_seq), ("1", 2));
        assert!(told.starts_with(reason), "{told}");
    }
    assert_eq!(replica.names(), [pair("1", "old"), pair("2", "two")]);
    assert_eq!(replica.handle.progress().borrow().refused, 1);
    stream.send(delta("s-1", 3, vec![institution("1", "mended", 3)])).await;
    assert_eq!(stream.ack_of(3).await.nacks, []);
    assert_eq!(replica.names(), [pair("1", "mended"), pair("2", "two")]);
}

/// tenant takes 1,000 refusals: what is not among them is not called effective either.
#[tokio::test]
async fn what_the_list_has_no_room_for_is_not_acknowledged() {
    let (mut tenant, database) = (Tenant::start().await, database().await);
    let _replica = Replica::start(tenant.address, &database.pool).await;
    let mut stream = tenant.stream().await;
    // Uids in another order than sequences.
    let refused = |seq: i64| feature(institution(&format!("{:04}", 9_999 - seq), "one of many", seq), "unheard-of");
    let mut resources: Vec<_> = (1..=1_010).map(refused).collect();
    resources.push(institution("good", "good", 1_011));
    stream.snapshot(1_011, resources).await;
    for _ in 0..2 {
        let Ack { acknowledged_seq, nacks, .. } = stream.ack().await;
        assert_eq!((acknowledged_seq, nacks.len()), (1_000, 1_000));
        assert!(nacks.iter().all(|nack| nack.config_seq <= 1_000));
    }
    let mended = (1..=20).map(|seq| institution(&format!("{:04}", 9_999 - seq), "mended", 1_012)).collect();
    stream.send(delta("s-1", 1_012, mended)).await;
    assert_eq!(stream.ack_of(1_012).await.nacks.len(), 990);
}

#[tokio::test]
async fn a_refused_resource_that_goes_is_no_longer_refused() {
    let (mut tenant, database) = (Tenant::start().await, database().await);
    let replica = Replica::start(tenant.address, &database.pool).await;
    let mut stream = tenant.stream().await;
    stream.snapshot(1, vec![feature(institution("1", "one", 1), "unheard-of")]).await;
    assert_eq!(stream.ack_of(1).await.nacks.len(), 1);
    let gone = fiorino_proto::config::v1::StreamResponse { tombstones: vec!["1".into()], ..delta("s-1", 2, vec![]) };
    stream.send(gone).await;
    assert_eq!(stream.ack_of(2).await.nacks, []);
    assert_eq!(replica.names(), []);
}
