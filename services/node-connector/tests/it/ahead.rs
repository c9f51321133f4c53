//! A schema that grows under the service: the version before works on with the migrations of the next.

use std::{cell::Cell, time::Duration};

use anyhow::ensure;
use fiorino_kit::schema::{self, Options};
use fiorino_node_connector::MIGRATIONS;
use fiorino_test_support::{eventually, schema as ahead};
use fiorino_wire::FaultCode;

use crate::rig::{
    Node, Rig,
    messages::{NOTICE, Receipt, verify},
};

const PATIENCE: Duration = Duration::from_mins(2);

/// A failed call ends the test.
async fn round(rig: &Rig, node: &Node, lane: usize, round: u32) {
    let station = &rig.names.station;
    node.call(station, verify(&rig.names, NOTICE)).await.assert_ok();
    let receipt = Receipt::new(&rig.names, &format!("{lane}-{round}"));
    node.call(station, receipt.write()).await.assert_ok();
    node.call(station, receipt.write()).await.assert_ko(FaultCode::ReceiptDuplicata, &rig.names.institution);
    // Another version of it.
    let other = Receipt { amount: "99.00".to_owned(), ..Receipt::new(&rig.names, &format!("{lane}-{round}")) };
    node.call(station, other.write()).await.assert_ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_more_in_each_table_fails_no_call() {
    let (rig, node) = Rig::with_node().await;
    let tables = ahead::tables(&rig.db.pool).await.unwrap();
    assert!(tables.len() > 5, "{tables:?}");
    let rounds = [Cell::new(0_u32), Cell::new(0)];
    let load = |lane: usize| {
        let (rig, node, done) = (&rig, &node, &rounds[lane]);
        async move {
            loop {
                round(rig, node, lane, done.get()).await;
                done.set(done.get() + 1);
            }
        }
    };
    let growing = async {
        let options = Options::for_url(&rig.db.url).unwrap();
        for changed in 1..=tables.len() {
            schema::migrate(&options, &ahead::ahead(&MIGRATIONS, &tables[..changed])).await.unwrap();
            let until = rounds.each_ref().map(|rounds| rounds.get() + 3);
            eventually(PATIENCE, async || {
                ensure!(rounds.iter().zip(until).all(|(rounds, until)| rounds.get() >= until), "the calls go on");
                Ok(())
            })
            .await
            .unwrap();
        }
    };
    tokio::select! {
        () = growing => {}
        _ = futures::future::join(load(0), load(1)) => unreachable!("calls until the other ends"),
    }
    // The dispatcher went on too.
    eventually(PATIENCE, async || {
        let left: i64 = sqlx::query_scalar("select count(*) from receipt_inbox where state <> 'applied'")
            .fetch_one(&rig.db.pool)
            .await?;
        ensure!(left == 0, "{left} are not applied");
        Ok(())
    })
    .await
    .unwrap();
    node.stop().await;
}

/// What the process says of a schema that left it behind; the rest is `fiorino-kit::it::schema`.
#[tokio::test(flavor = "multi_thread")]
async fn on_a_schema_that_left_it_behind_it_is_not_ready() {
    let rig = Rig::start().await;
    let behind = format!("insert into schema_version (version, compatible_from) values ({0}, {0})", ahead::AHEAD);
    sqlx::query(sqlx::AssertSqlSafe(behind)).execute(&rig.db.pool).await.unwrap();
    let readiness = fiorino_kit::admin::Readiness::new(fiorino_node_connector::service::CONDITIONS);
    let (options, clock) = (rig.options("node-connector-0"), fiorino_kit::clock::Clock::system());
    let starting = tokio::spawn(fiorino_node_connector::Service::start(
        options,
        fiorino_node_connector::Tuning::default(),
        clock,
        readiness.clone(),
    ));
    eventually(PATIENCE, async || {
        let waiting = readiness.waiting().unwrap_or_default();
        ensure!(waiting.contains("schema (the schema has version 9000"), "{waiting}");
        Ok(())
    })
    .await
    .unwrap();
    assert!(!starting.is_finished());
    starting.abort();
}
