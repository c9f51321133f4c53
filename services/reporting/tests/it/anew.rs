//! A topic that is deleted and made anew: the same name, the same offsets, other messages.

use std::collections::BTreeSet;

use fiorino_reporting::store::{self, Advance, Changes, Topic};
use fiorino_test_support::eventually;
use uuid::Uuid;

use crate::support::{DEADLINE, Produced, TOPIC, World, payment};

/// A message of partition 3.
fn message(world: &World, receipt_id: &str) -> Produced {
    Produced { partition: Some(3), ..payment(&world.institution, receipt_id).into() }
}

/// One that cannot be read.
fn poison(world: &World, receipt_id: &str) -> Produced {
    Produced { payload: b"\xff\xff\xff".to_vec(), ..message(world, receipt_id) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_topic_that_has_passed_the_old_offset_is_read_from_its_beginning() {
    let world = World::new().await;
    world.produce([message(&world, "r1"), poison(&world, "p1"), message(&world, "r2")]).await;
    let service = world.start("reporting-0").await;
    world.wait_for(3).await;
    service.stop().await;
    // While nobody reads, the new one gets further than the old one was.
    world.replace_topic().await;
    let anew = ["n0", "n2", "n3", "n4"].map(|receipt_id| message(&world, receipt_id));
    let [first, rest @ ..] = anew;
    world.produce([first, poison(&world, "p2")].into_iter().chain(rest)).await;
    let service = world.start("reporting-0").await;
    world.wait_for(5).await;
    assert_eq!(world.recorded().await, ["r1", "r2", "n0", "n2", "n3", "n4"]);
    let cases = world.cases().await;
    let kinds: Vec<&str> = cases.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(
        kinds,
        ["message_poison", "topic_replaced", "message_poison"],
        "poison at the same offset is kept twice"
    );
    let parked: i64 = sqlx::query_scalar(r#"select count(*) from parked_message where partition = 3 and "offset" = 1"#)
        .fetch_one(&world.database.pool)
        .await
        .unwrap();
    assert_eq!(parked, 2);
    let detail = &cases[1].1;
    assert_eq!(detail["read_up_to"]["3"], 3);
    // What the old one told until 10:00:01 was read, an hour is taken off; the other partitions had nothing since they are followed.
    assert_eq!(detail["from"], "2026-05-04T09:00:01Z");
    let (before, now): (Uuid, Uuid) = (
        detail["topic_id_before"].as_str().unwrap().parse().unwrap(),
        detail["topic_id"].as_str().unwrap().parse().unwrap(),
    );
    assert_ne!(before, now);
    service.stop().await;
    // The same topic is no new one.
    let service = world.start("reporting-0").await;
    world.produce([message(&world, "n5")]).await;
    world.wait_for(6).await;
    assert_eq!(world.cases().await.len(), 3);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_meanwhile_notices_it() {
    let world = World::new().await;
    let service = world.start("reporting-0").await;
    world.produce([message(&world, "r1"), message(&world, "r2")]).await;
    world.wait_for(2).await;
    world.replace_topic().await;
    // As far as the old one: an offset alone tells nothing.
    world.produce([message(&world, "n1"), message(&world, "n2")]).await;
    let expected: BTreeSet<String> = ["r1", "r2", "n1", "n2"].map(str::to_owned).into();
    eventually(DEADLINE, async || {
        let recorded: BTreeSet<String> = world.recorded().await.into_iter().collect();
        anyhow::ensure!(recorded == expected, "{recorded:?}");
        Ok(())
    })
    .await
    .unwrap();
    let kinds: Vec<String> = world.cases().await.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["topic_replaced"]);
    service.stop().await;
}

/// Kafka was restored to an earlier time: the same topic, and less in it than was read.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_lost_its_end_is_read_on_and_told() {
    let world = World::new().await;
    world.produce([message(&world, "r1")]).await;
    let service = world.start("reporting-0").await;
    world.wait_for(1).await;
    service.stop().await;
    sqlx::query("update consumer_offset set next_offset = 100 where partition = 3")
        .execute(&world.database.pool)
        .await
        .unwrap();
    world.produce([message(&world, "r2")]).await;
    let service = world.start("reporting-0").await;
    world.wait_for(2).await;
    assert_eq!(world.recorded().await, ["r1", "r2"]);
    let cases = world.cases().await;
    let [(kind, detail)] = cases.as_slice() else { panic!("{cases:?}") };
    assert_eq!(
        (kind.as_str(), &detail["read_up_to"], &detail["partition"]),
        ("messages_expired", &100.into(), &3.into())
    );
    assert_eq!(detail["from"], "2026-05-04T09:00:01Z");
    world.produce([message(&world, "r3")]).await;
    world.wait_for(3).await;
    assert_eq!(world.cases().await.len(), 1);
    service.stop().await;
}

/// A replica that does not know yet that the topic is another one advances nothing of it, though the offset fits.
#[tokio::test(flavor = "multi_thread")]
async fn who_still_reads_the_old_topic_writes_nothing() {
    let world = World::new().await;
    let pool = &world.database.pool;
    let another = Topic { id: Uuid::from_u128(2), ..TOPIC };
    assert_eq!(store::offsets(pool, TOPIC, &[0]).await.unwrap(), [(0, 0)].into());
    assert_eq!(store::offsets(pool, another, &[0]).await.unwrap(), [(0, 0)].into());
    let advances = vec![Advance { partition: 0, from: 0, to: 1, event_at: None }];
    let changes = Changes { advances, ..Changes::default() };
    let refused = store::record(pool, TOPIC, &changes).await;
    assert!(matches!(refused, Err(store::Error::Overtaken)), "{refused:?}");
    store::record(pool, another, &changes).await.unwrap();
    assert_eq!(store::offsets(pool, another, &[0]).await.unwrap(), [(0, 1)].into());
}

/// The version before asks for no id: its offsets are taken over, and what it writes meanwhile counts.
#[tokio::test(flavor = "multi_thread")]
async fn offsets_of_the_version_before_are_taken_over() {
    let world = World::new().await;
    let pool = &world.database.pool;
    sqlx::query("insert into consumer_offset (topic, partition, next_offset) values ($1, 0, 7)")
        .bind(TOPIC.name)
        .execute(pool)
        .await
        .unwrap();
    assert_eq!(store::offsets(pool, TOPIC, &[0]).await.unwrap(), [(0, 7)].into());
    sqlx::query("update consumer_offset set next_offset = 8 where topic = $1 and partition = 0 and next_offset = 7")
        .bind(TOPIC.name)
        .execute(pool)
        .await
        .unwrap();
    assert_eq!(store::offsets(pool, TOPIC, &[0]).await.unwrap(), [(0, 8)].into());
    assert_eq!(world.cases().await, []);
}
