//! Payments are announced again as they were, out of the receipts.

use std::collections::BTreeMap;

use fiorino_kit::outbox::Waker;
use fiorino_proto::{
    payments::v1::{PaymentRecorded, SendAgainRequest, SendAgainResponse, payments_again_server::PaymentsAgain as _},
    receipts::v1::{Receipt, ReceiptTransfer},
};
use fiorino_tenant::receipts::PaymentsAgain;
use fiorino_test_support::fiscal_code;
use prost::Message as _;
use rstest::rstest;
use tonic::{Code, Status};

use crate::{
    fixture::{ENVIRONMENT, violations},
    money::{Money, called, numbers, position},
};

/// (topic, key, event id, type, payload) of what waits for Kafka.
type Event = (String, String, uuid::Uuid, String, Vec<u8>);

async fn events(money: &Money) -> Vec<Event> {
    sqlx::query_as("select topic, key, event_id, event_type, payload from outbox order by event_id")
        .fetch_all(money.pool())
        .await
        .unwrap()
}

/// As if everything had left for Kafka.
async fn leave(money: &Money) -> Vec<Event> {
    let left = events(money).await;
    sqlx::query("delete from outbox").execute(money.pool()).await.unwrap();
    left
}

async fn send(money: &Money, request: SendAgainRequest) -> Result<SendAgainResponse, Status> {
    let service = PaymentsAgain::new(money.pool().clone(), ENVIRONMENT.to_owned(), Waker::default());
    service.send_again(called("anna", request)).await.map(tonic::Response::into_inner)
}

fn always() -> SendAgainRequest {
    SendAgainRequest {
        from: "2000-01-01T00:00:00Z".into(),
        to: "2100-01-01T00:00:00Z".into(),
        ..SendAgainRequest::default()
    }
}

/// A payment of an own position, a beneficiary's share, one of an unknown notice, a second version, and a receipt that pays nothing.
async fn received(money: &Money) {
    let position = money.create(position("tari-1", &[&[10_000]])).await;
    let number = numbers(&position).remove(0);
    let transfer = |id, amount_cents: i64, beneficiary: &str| ReceiptTransfer {
        id,
        amount_cents,
        beneficiary: beneficiary.into(),
        iban: "IT60X0542811101000000123456".into(),
        remittance: "TARI 2026".into(),
        taxonomy_code: "9/0101101IM/".into(),
    };
    let own = Receipt {
        transfers: vec![transfer(1, 9_500, money.institution()), transfer(2, 500, money.province.fiscal_code())],
        payment_method: "creditCard".into(),
        application_date: "2026-11-24".into(),
        transfer_date: "2026-11-25".into(),
        stand_in: true,
        ..money.receipt("own", &number, 10_000)
    };
    let share = Receipt { institution: money.province.fiscal_code().into(), ..own.clone() };
    let later = Receipt {
        version: 2,
        content_hash: b"another".to_vec().into(),
        psp_name: "Another bank".into(),
        ..own.clone()
    };
    let unknown = money.receipt("unknown", "312999999999999999", 700);
    let refused = Receipt { outcome: "KO".into(), ..money.receipt("refused", &number, 10_000) };
    money.pay(vec![own, share, unknown]).await;
    money.advance(60);
    money.pay(vec![later, refused]).await;
}

#[tokio::test]
async fn the_same_events_leave_again() {
    let money = Money::start().await;
    received(&money).await;
    let first = leave(&money).await;
    assert_eq!(first.len(), 4, "the receipt that pays nothing is no payment");
    let answer = send(&money, always()).await.unwrap();
    assert_eq!((answer.sent, answer.next_page_token.as_str()), (4, ""));
    let again = events(&money).await;
    let told = |events: &[Event]| -> BTreeMap<uuid::Uuid, PaymentRecorded> {
        events.iter().map(|(.., id, _, payload)| (*id, PaymentRecorded::decode(&payload[..]).unwrap())).collect()
    };
    assert_eq!(told(&again), told(&first), "to the last field");
    assert_eq!(again, first, "and to the byte, under the same keys");
}

#[tokio::test]
async fn page_by_page_each_receipt_once() {
    let money = Money::start().await;
    received(&money).await;
    let first = leave(&money).await;
    let (mut request, mut sent, mut pages) = (SendAgainRequest { page_size: 2, ..always() }, 0, 0);
    loop {
        let answer = send(&money, request.clone()).await.unwrap();
        (sent, pages) = (sent + answer.sent, pages + 1);
        if answer.next_page_token.is_empty() {
            break;
        }
        request.page_token = answer.next_page_token;
    }
    assert_eq!((sent, pages), (4, 3), "five receipts, two on a page");
    assert_eq!(events(&money).await, first);
}

#[tokio::test]
async fn of_one_institution_and_of_a_time() {
    let money = Money::start().await;
    received(&money).await;
    leave(&money).await;
    let of_province = SendAgainRequest { institution: money.province.fiscal_code().into(), ..always() };
    assert_eq!(send(&money, of_province).await.unwrap().sent, 1);
    // The later version was recorded an hour after the others; a time ends before its end.
    let between = |from: &str, to: &str| SendAgainRequest { from: from.into(), to: to.into(), ..always() };
    assert_eq!(send(&money, between("2026-11-24T10:00:00Z", "2026-11-24T11:00:00Z")).await.unwrap().sent, 3);
    assert_eq!(send(&money, between("2026-11-24T11:00:00Z", "2026-11-24T11:00:01Z")).await.unwrap().sent, 1);
    assert_eq!(send(&money, between("2026-11-24T11:00:01Z", "2026-11-25T00:00:00Z")).await.unwrap().sent, 0);
}

/// What is paid now must not wait behind what is announced again.
#[tokio::test]
async fn while_much_waits_for_kafka_nothing_is_added() {
    let money = Money::start().await;
    received(&money).await;
    sqlx::query(
        "insert into outbox (shard, topic, key, event_id, event_type, payload)
         select 1, 't', 'k', gen_random_uuid(), 'e', '' from generate_series(1, 20000)",
    )
    .execute(money.pool())
    .await
    .unwrap();
    let before = money.count("outbox").await;
    let refused = send(&money, always()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("wait until they have left"), "{}", refused.message());
    assert_eq!(money.count("outbox").await, before);
}

#[rstest]
#[case::institution("institution", |request: &mut SendAgainRequest| request.institution = "1234".into())]
#[case::from("from", |request: &mut SendAgainRequest| request.from = String::new())]
#[case::to("to", |request: &mut SendAgainRequest| request.to = "tomorrow".into())]
#[case::nothing("to", |request: &mut SendAgainRequest| request.to.clone_from(&request.from))]
#[case::size("page_size", |request: &mut SendAgainRequest| request.page_size = 2_001)]
#[case::token("page_token", |request: &mut SendAgainRequest| request.page_token = "1.2".into())]
#[case::nul("page_token", |request: &mut SendAgainRequest| request.page_token = "1.2.\0".into())]
#[tokio::test]
async fn a_wrong_call_names_its_field(#[case] name: &str, #[case] spoil: fn(&mut SendAgainRequest)) {
    let money = Money::start().await;
    let mut request = always();
    spoil(&mut request);
    let refused = send(&money, request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(violations(&refused)[0].starts_with(&format!("{name}: ")), "{:?}", violations(&refused));
}

#[tokio::test]
async fn an_institution_that_was_never_served_is_told() {
    let money = Money::start().await;
    let refused = send(&money, SendAgainRequest { institution: fiscal_code(), ..always() }).await.unwrap_err();
    assert_eq!((refused.code(), violations(&refused).len()), (Code::NotFound, 1));
}
