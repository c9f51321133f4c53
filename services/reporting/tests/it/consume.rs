//! What happens to messages.

use fiorino_domain::institution::InstitutionCode;
use fiorino_proto::payments::v1::{PaidTransfer, PaymentRecorded};
use fiorino_reporting::store;
use fiorino_test_support::eventually;
use serde_json::json;

use crate::support::{DEADLINE, Produced, World, payment};

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_is_delivered_twice_is_recorded_once() {
    let world = World::new().await;
    let (first, second) = (payment(&world.institution, "r1"), payment(&world.institution, "r2"));
    // In one batch and, once the service runs, in another.
    world.produce_payments([first.clone(), first.clone(), second.clone()]).await;
    let service = world.start("reporting-0").await;
    world.wait_for(3).await;
    world.produce_payments([first, second]).await;
    world.wait_for(5).await;
    assert_eq!(world.recorded().await, ["r1", "r2"]);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lower_version_does_not_overwrite() {
    let world = World::new().await;
    let told = |version: i64| PaymentRecorded {
        version,
        description: format!("as of version {version}"),
        ..payment(&world.institution, "r1")
    };
    world.produce_payments([told(2), told(1), payment(&world.institution, "r2")]).await;
    let service = world.start("reporting-0").await;
    world.wait_for(3).await;
    world.produce_payments([told(1)]).await;
    world.wait_for(4).await;
    assert_eq!(description(&world).await, "as of version 2");
    world.produce_payments([told(3)]).await;
    world.wait_for(5).await;
    assert_eq!(description(&world).await, "as of version 3");
    assert_eq!(
        world.recorded().await,
        ["r2", "r1"],
        "a newer version comes again, for those who had read the one before"
    );
    service.stop().await;
}

/// The notice was loaded after its receipt had come: tenant tells the payment again, with its position.
#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_becomes_known_is_taken_and_kept() {
    let world = World::new().await;
    let without = |receipt_id: &str| PaymentRecorded {
        position_id: String::new(),
        client_reference: String::new(),
        service_code: String::new(),
        ..payment(&world.institution, receipt_id)
    };
    let with = |receipt_id: &str| PaymentRecorded {
        position_id: "p".to_owned(),
        client_reference: "ref".to_owned(),
        ..payment(&world.institution, receipt_id)
    };
    // r1 in one batch, r2 in several.
    world.produce_payments([without("r1"), with("r1"), without("r1"), without("r2")]).await;
    let service = world.start("reporting-0").await;
    world.wait_for(4).await;
    world.produce_payments([with("r2")]).await;
    world.wait_for(5).await;
    world.produce_payments([without("r2")]).await;
    world.wait_for(6).await;
    let known: Vec<(String, String, String)> =
        sqlx::query_as("select receipt_id, position_id, client_reference from payment order by receipt_id")
            .fetch_all(&world.database.pool)
            .await
            .unwrap();
    let row = |receipt_id: &str| (receipt_id.to_owned(), "p".to_owned(), "ref".to_owned());
    assert_eq!(known, ["r1", "r2"].map(row));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_is_parked_with_its_case_and_the_rest_goes_on() {
    let world = World::new().await;
    let good = |receipt_id: &str| Produced::from(payment(&world.institution, receipt_id));
    let gibberish = Produced { payload: b"\xff\xff\xff".to_vec(), ..good("p1") };
    let headless = Produced { headers: Vec::new(), ..good("p2") };
    let foreign =
        Produced { headers: vec![("ce_id", "1".to_owned()), ("ce_type", "another".to_owned())], ..good("p3") };
    let nameless = Produced { key: "no key of ours".to_owned(), ..payment("1234", "p4").into() };
    // Our types hold it, PostgreSQL's date does not: only the transaction finds out.
    let refused = PaymentRecorded { transfer_date: "-005000-01-01".to_owned(), ..payment(&world.institution, "p5") };
    world.produce([good("r1"), gibberish, headless, good("r2"), foreign, nameless, refused.into(), good("r3")]).await;
    let service = world.start("reporting-0").await;
    world.wait_for(8).await;
    assert_eq!(world.recorded().await, ["r1", "r2", "r3"]);
    let parked: Vec<(String, String, String)> = sqlx::query_as(
        "select p.institution, reason, c.state || ' ' || c.kind from parked_message p join cases c on c.id = p.case_id
             where p.institution = c.institution order by reason",
    )
    .fetch_all(&world.database.pool)
    .await
    .unwrap();
    let reasons: Vec<&str> = parked.iter().map(|(_, reason, _)| reason.split(':').next().unwrap()).collect();
    assert_eq!(reasons[..4], ["ce_type", "headers", "institution", "payload"]);
    assert!(reasons[4].starts_with("the database refuses it with code 22"), "{}", reasons[4]);
    assert!(parked.iter().all(|(_, _, case)| case == "1 message_poison"));
    let institutions: Vec<&str> = parked.iter().map(|(institution, _, _)| institution.as_str()).collect();
    let ours = world.institution.as_str();
    assert_eq!(institutions, [ours, ours, "", ours, ours], "as the key tells");
    let payload: Vec<u8> = sqlx::query_scalar("select payload from parked_message where reason like 'payload%'")
        .fetch_one(&world.database.pool)
        .await
        .unwrap();
    assert_eq!(payload, b"\xff\xff\xff", "kept as it came");
    assert_eq!(world.cases().await.len(), 5);
    service.stop().await;
}

/// In the table as on the way out: a receipt whose amount nobody can read paid something.
#[tokio::test(flavor = "multi_thread")]
async fn an_amount_that_nobody_told_is_not_zero() {
    let world = World::new().await;
    let institution = InstitutionCode::parse(&world.institution).unwrap();
    let untold = PaymentRecorded {
        amount_cents: None,
        transfers: vec![PaidTransfer { id: 1, ..PaidTransfer::default() }],
        issued_elsewhere: true,
        ..payment(&world.institution, "r1")
    };
    let zero = PaymentRecorded { amount_cents: Some(0), ..payment(&world.institution, "r2") };
    world.produce([untold.clone(), zero.clone()].map(Produced::from)).await;
    let service = world.start("reporting-0").await;
    world.wait_for(2).await;
    for told in [untold, zero] {
        let kept = store::get(&world.database.pool, &institution, &told.receipt_id).await.unwrap().unwrap();
        assert_eq!(PaymentRecorded::from(kept), told);
    }
    let before: (i64, bool) =
        sqlx::query_as("select amount_cents, transfers->0 ? 'amount_cents' from payment where receipt_id = 'r1'")
            .fetch_one(&world.database.pool)
            .await
            .unwrap();
    assert_eq!(before, (0, true), "the previous version reads the rows of this one");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kafka_kept_no_longer_is_a_case() {
    let world = World::new().await;
    let message = |receipt_id: &str| Produced { partition: Some(3), ..payment(&world.institution, receipt_id).into() };
    // Before anything was ever read, and again while nobody read.
    world.produce([message("r1"), message("r2")]).await;
    world.forget_before(3, 2).await;
    world.produce([message("r3")]).await;
    let service = world.start("reporting-0").await;
    world.wait_for(3).await;
    service.stop().await;
    world.produce([message("r4"), message("r5"), message("r6")]).await;
    world.forget_before(3, 5).await;
    let service = world.start("reporting-0").await;
    world.wait_for(6).await;
    assert_eq!(world.recorded().await, ["r3", "r6"]);
    let cases = world.cases().await;
    let told = |offsets: [i64; 2], from: serde_json::Value| {
        let detail = json!({
            "topic": world.topic(), "partition": 3, "offsets": offsets, "from": from, "to": "2026-05-04T10:00:01Z",
        });
        ("messages_expired".to_owned(), detail)
    };
    // Before r3 nothing had been taken in; r3 was recorded at 10:00:01, and an hour is taken off.
    assert_eq!(cases, [told([0, 1], json!(null)), told([3, 4], json!("2026-05-04T09:00:01Z"))]);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_where_it_was() {
    let world = World::new().await;
    let receipts = |ids: &[&str]| ids.iter().map(|id| payment(&world.institution, id)).collect::<Vec<_>>();
    world.produce_payments(receipts(&["r1", "r2", "r3"])).await;
    let service = world.start("reporting-0").await;
    world.wait_for(3).await;
    service.stop().await;
    // Were the topic read from its beginning again, it would come back.
    sqlx::query("delete from payment where receipt_id = 'r2'").execute(&world.database.pool).await.unwrap();
    world.produce_payments(receipts(&["r4", "r5"])).await;
    let service = world.start("reporting-0").await;
    world.wait_for(5).await;
    assert_eq!(world.recorded().await, ["r1", "r3", "r4", "r5"]);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_grows_is_read_whole() {
    let world = World::new().await;
    let service = world.start("reporting-0").await;
    world.produce_payments([payment(&world.institution, "r1")]).await;
    world.wait_for(1).await;
    world.grow_topic(20).await;
    let message = Produced { partition: Some(19), ..payment(&world.institution, "r2").into() };
    world.produce([message]).await;
    world.wait_for(2).await;
    assert_eq!(world.recorded().await, ["r1", "r2"]);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_comes_back_loses_nothing() {
    let world = World::new().await;
    let service = world.start("reporting-0").await;
    world.produce_payments([payment(&world.institution, "r1")]).await;
    world.wait_for(1).await;
    // Taken away under the consumer's feet.
    rename(&world, "payment", "payment_away").await;
    let before = rollbacks(&world).await;
    world.produce_payments([payment(&world.institution, "r2")]).await;
    eventually(DEADLINE, async || match rollbacks(&world).await {
        now if now > before => Ok(()),
        _ => Err("the consumer did not try yet"),
    })
    .await
    .unwrap();
    assert_eq!(world.taken_in().await, 1, "nothing is passed over");
    rename(&world, "payment_away", "payment").await;
    world.wait_for(2).await;
    assert_eq!(world.recorded().await, ["r1", "r2"]);
    service.stop().await;
}

/// Transactions that failed in the test's database.
async fn rollbacks(world: &World) -> i64 {
    sqlx::query_scalar("select xact_rollback from pg_stat_database where datname = current_database()")
        .fetch_one(&world.database.pool)
        .await
        .unwrap()
}

async fn rename(world: &World, from: &str, to: &str) {
    let statement = format!("alter table {from} rename to {to}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&world.database.pool).await.unwrap();
}

async fn description(world: &World) -> String {
    sqlx::query_scalar("select description from payment where institution = $1 and receipt_id = 'r1'")
        .bind(&world.institution)
        .fetch_one(&world.database.pool)
        .await
        .unwrap()
}
