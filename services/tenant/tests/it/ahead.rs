//! A schema that grows under the service: the version before works on with the migrations of the next.

use std::{cell::Cell, time::Duration};

use anyhow::ensure;
use fiorino_kit::schema::{self, Options};
use fiorino_proto::{
    notices::v1::{ShowNoticeRequest, display_server::Display as _},
    positions::v1::{ListPositionsRequest, positions_server::Positions as _},
    receipts::v1::ApplyOutcome,
};
use fiorino_tenant::MIGRATIONS;
use fiorino_test_support::{eventually, schema as ahead};
use tonic::Request;

use crate::{
    fixture,
    money::{CLIENT, Money, called, numbers, position},
};

const PATIENCE: Duration = Duration::from_mins(2);

/// A debt from its creation to its receipts, and the institution applied once more: a failed call ends the test.
async fn round(money: &Money, lane: u32, round: u32) {
    let created = money.create(position(&format!("{lane}/{round}"), &[&[10_000], &[5_000, 5_000]])).await;
    let number = numbers(&created).remove(0);
    assert!(money.verify(&number).await.is_ok());
    money.activate(&number).await;
    let show = ShowNoticeRequest { institution: money.institution().into(), notice_number: number.clone() };
    money.replica.display.show_notice(Request::new(show)).await.unwrap().into_inner().notice.unwrap();
    money.again(&created).await;
    let list = ListPositionsRequest { institution: money.institution().into(), ..ListPositionsRequest::default() };
    let listed = money.replica.positions.list_positions(called(CLIENT, list)).await.unwrap().into_inner();
    assert!(!listed.positions.is_empty());
    let receipt = money.receipt(&format!("{lane}/{round}"), &number, 10_000);
    let unknown = money.receipt(&format!("{lane}/{round}/unknown"), "312999999999999999", 10_000);
    let outcomes = money.pay(vec![receipt.clone(), unknown]).await;
    assert_eq!(outcomes, [ApplyOutcome::Applied, ApplyOutcome::Case]);
    assert_eq!(money.pay(vec![receipt]).await, [ApplyOutcome::Repeated]);
    money.applied(&money.manifest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_more_in_each_table_fails_no_call() {
    let money = Money::start().await;
    // Relay, stream and gauges of a whole process beside the calls.
    let process = fixture::Replica::start(&money.database).await;
    let tables = ahead::tables(money.pool()).await.unwrap();
    assert!(tables.len() > 20, "{tables:?}");
    let rounds = [Cell::new(0_u32), Cell::new(0)];
    let load = |lane: usize| {
        let (money, done) = (&money, &rounds[lane]);
        async move {
            loop {
                round(money, u32::try_from(lane).unwrap(), done.get()).await;
                done.set(done.get() + 1);
            }
        }
    };
    // In turn: each lane did everything between two tables.
    let growing = async {
        let options = Options::for_url(&money.database.url).unwrap();
        for changed in 1..=tables.len() {
            schema::migrate(&options, &ahead::ahead(&MIGRATIONS, &tables[..changed])).await.unwrap();
            let until = rounds.each_ref().map(|rounds| rounds.get() + 2);
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
    // What the calls left in the outbox was sent by the process.
    eventually(PATIENCE, async || match money.count("outbox").await {
        0 => Ok(()),
        left => Err(format!("{left} events were not sent")),
    })
    .await
    .unwrap();
    process.stop().await;
}
