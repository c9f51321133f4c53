//! Several replicas on one database.

use std::collections::BTreeSet;

use fiorino_domain::institution::InstitutionCode;
use fiorino_proto::payments::v1::PaymentRecorded;
use fiorino_reporting::{
    Payment,
    store::{self, Advance, Changes},
};
use fiorino_test_support::eventually;

use crate::support::{DEADLINE, TOPIC, World, payment};

#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_the_work_and_take_over() {
    let world = World::new().await;
    let (one, two) = (world.start("reporting-0").await, world.start("reporting-1").await);
    eventually(DEADLINE, async || {
        let holders: Vec<(String, i64)> =
            sqlx::query_as("select holder, count(*) from lease where name ~ '/[0-9]{5}$' group by holder")
                .fetch_all(&world.database.pool)
                .await?;
        anyhow::ensure!(holders.len() == 2 && holders.iter().all(|(_, held)| *held == 8), "{holders:?}");
        Ok(())
    })
    .await
    .unwrap();
    world.produce_payments(spread(&world.institution, 0..40)).await;
    world.wait_for(40).await;
    one.stop().await;
    world.produce_payments(spread(&world.institution, 40..80)).await;
    world.wait_for(80).await;
    let recorded = world.recorded().await;
    assert_eq!(recorded.len(), 80);
    assert_eq!(recorded.into_iter().collect::<BTreeSet<_>>(), (0..80).map(receipt_id).collect());
    two.stop().await;
}

/// A replica that still believes to hold a partition changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn who_was_overtaken_writes_nothing() {
    let world = World::new().await;
    let (pool, topic) = (&world.database.pool, TOPIC);
    assert_eq!(store::offsets(pool, topic, &[0, 1]).await.unwrap(), [(0, 0), (1, 0)].into());
    let advance = |partition, from, to| Advance { partition, from, to, event_at: None };
    store::record(pool, topic, &changes(&world.institution, ["r1"], vec![advance(0, 0, 1)])).await.unwrap();
    let late = changes(&world.institution, ["r2"], vec![advance(0, 0, 1), advance(1, 0, 1)]);
    let refused = store::record(pool, topic, &late).await;
    assert!(matches!(refused, Err(store::Error::Overtaken)), "{refused:?}");
    assert_eq!(world.recorded().await, ["r1"]);
    assert_eq!(store::offsets(pool, topic, &[0, 1]).await.unwrap(), [(0, 1), (1, 0)].into());
}

/// Numbers of an institution are committed in their order: a reader who goes on after the last number that it saw misses nothing,
/// however many replicas write meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_who_follows_misses_nothing() {
    const WRITERS: i32 = 6;
    const BATCHES: i64 = 25;
    let world = World::new().await;
    let (pool, institution) = (&world.database.pool, InstitutionCode::parse(&world.institution).unwrap());
    store::offsets(pool, TOPIC, &(0..WRITERS).collect::<Vec<_>>()).await.unwrap();
    let writers: Vec<_> = (0..WRITERS)
        .map(|partition| {
            let (pool, institution) = (pool.clone(), world.institution.clone());
            tokio::spawn(async move {
                for batch in 0..BATCHES {
                    let receipts = [format!("{partition}-{batch}-a"), format!("{partition}-{batch}-b")];
                    let advance = Advance { partition, from: batch, to: batch + 1, event_at: None };
                    let receipts = receipts.each_ref().map(String::as_str);
                    store::record(&pool, TOPIC, &changes(&institution, receipts, vec![advance])).await.unwrap();
                }
            })
        })
        .collect();
    let (mut seen, mut after) = (Vec::new(), 0);
    let all = usize::try_from(i64::from(WRITERS) * BATCHES * 2).unwrap();
    eventually(DEADLINE, async || {
        for (sequence, payment) in store::list(pool, &institution, "", after, 7).await? {
            assert!(sequence > after);
            after = sequence;
            seen.push(payment.receipt_id);
        }
        anyhow::ensure!(seen.len() >= all || writers.iter().any(|writer| !writer.is_finished()), "{} seen", seen.len());
        anyhow::ensure!(seen.len() >= all, "{} of {all} seen", seen.len());
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), all, "each once");
}

fn changes<'a>(institution: &str, receipts: impl IntoIterator<Item = &'a str>, advances: Vec<Advance>) -> Changes {
    let payments = receipts.into_iter().map(|receipt_id| {
        let payment = Payment::try_from(payment(institution, receipt_id)).unwrap();
        ((payment.institution, receipt_id.to_owned()), payment)
    });
    Changes { payments: payments.collect(), advances, ..Changes::default() }
}

/// Payments of as many notices, so that they go to all partitions.
fn spread(institution: &str, numbers: std::ops::Range<u32>) -> impl Iterator<Item = PaymentRecorded> {
    numbers.map(move |number| PaymentRecorded {
        notice_number: format!("3120000000{number:08}"),
        ..payment(institution, &receipt_id(number))
    })
}

fn receipt_id(number: u32) -> String {
    format!("r{number}")
}
