//! A schema that grows under the service: the version before works on with the migrations of the next.

use std::cell::Cell;

use fiorino_kit::schema::{self, Options};
use fiorino_proto::payments::v1::{GetPaymentRequest, ListPaymentsRequest};
use fiorino_reporting::MIGRATIONS;
use fiorino_test_support::{eventually, schema as ahead};
use tonic::Request;

use crate::support::{DEADLINE, Running, World, payment};

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(DEADLINE);
    request
}

/// A failed call ends the test.
async fn round(world: &World, service: &Running, round: u32) {
    let mut client = world.client(service, "dev");
    let institution = world.institution.clone();
    world.produce_payments([payment(&world.institution, &format!("r{round}"))]).await;
    let first = GetPaymentRequest { institution: institution.clone(), receipt_id: "first".to_owned() };
    client.get_payment(timed(first)).await.unwrap();
    for notice_number in [String::new(), "312000000000471179".to_owned()] {
        let list =
            ListPaymentsRequest { institution: institution.clone(), notice_number, ..ListPaymentsRequest::default() };
        assert!(!client.list_payments(timed(list)).await.unwrap().into_inner().payments.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_more_in_each_table_fails_no_call() {
    let world = World::new().await;
    let service = world.start("reporting-0").await;
    world.produce_payments([payment(&world.institution, "first")]).await;
    world.wait_for(1).await;
    let tables = ahead::tables(&world.database.pool).await.unwrap();
    assert!(tables.len() > 5, "{tables:?}");
    let rounds = Cell::new(0_u32);
    let load = async {
        loop {
            round(&world, &service, rounds.get()).await;
            rounds.set(rounds.get() + 1);
        }
    };
    let growing = async {
        let options = Options::for_url(&world.database.url).unwrap();
        for changed in 1..=tables.len() {
            schema::migrate(&options, &ahead::ahead(&MIGRATIONS, &tables[..changed])).await.unwrap();
            let (until, taken_in) = (rounds.get() + 3, world.taken_in().await);
            eventually(DEADLINE, async || {
                let goes_on = rounds.get() >= until && world.taken_in().await > taken_in;
                if goes_on { Ok(()) } else { Err("calls and messages go on") }
            })
            .await
            .unwrap();
        }
    };
    tokio::select! {
        () = growing => {}
        () = load => unreachable!("calls until the other ends"),
    }
    service.stop().await;
}
