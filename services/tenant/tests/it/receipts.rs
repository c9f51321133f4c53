//! Receipts are applied once each, whatever comes with them, and the rest of the product is told.

use std::collections::{HashMap, HashSet};

use fiorino_proto::{
    config::v1::LifecyclePhase,
    payments::v1::PaymentRecorded,
    positions::v1::{
        CancelPositionRequest,
        InstalmentState::{self, Paid, Payable, Superseded},
        PositionState,
        positions_server::Positions as _,
    },
    receipts::v1::{ApplyOutcome, ApplyReceiptsRequest, Receipt, ReceiptTransfer, receipts_server::Receipts as _},
    topics,
};
use futures::future::join_all;
use prost::Message as _;
use rstest::rstest;
use serde_json::Value;
use tonic::{Code, Request};

use crate::{
    fixture::violations,
    manifest::Manifest,
    money::{Money, called, numbers, position},
};

type OutboxRow = (String, String, String, Vec<u8>, Option<String>);

/// (key, event, traceparent) of the outbox, in the order of insertion.
async fn events(money: &Money) -> Vec<(String, PaymentRecorded, Option<String>)> {
    let rows: Vec<OutboxRow> =
        sqlx::query_as("select topic, event_type, key, payload, traceparent from outbox order by id")
            .fetch_all(money.pool())
            .await
            .unwrap();
    rows.into_iter()
        .map(|(topic, event_type, key, payload, traceparent)| {
            assert_eq!((topic.as_str(), event_type.as_str()), (topics::PAYMENTS.name, topics::PAYMENTS.event_type));
            (key, PaymentRecorded::decode(payload.as_slice()).unwrap(), traceparent)
        })
        .collect()
}

async fn kinds(money: &Money) -> Vec<String> {
    money.cases().await.into_iter().map(|(kind, _)| kind).collect()
}

#[tokio::test]
async fn a_receipt_pays_and_is_told() {
    let money = Money::start().await;
    let created = money.create(position("ref-1", &[&[10_000]])).await;
    let number = numbers(&created).remove(0);
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let transfer = ReceiptTransfer {
        id: 1,
        amount_cents: Some(10_000),
        beneficiary: money.institution().into(),
        ..ReceiptTransfer::default()
    };
    let receipt =
        Receipt { traceparent: traceparent.into(), transfers: vec![transfer], ..money.receipt("r1", &number, 10_000) };
    assert_eq!(money.pay(vec![receipt.clone()]).await, [ApplyOutcome::Applied]);

    let paid = money.again(&created).await;
    let instalment = &paid.options[0].instalments[0];
    assert_eq!((paid.state(), instalment.state()), (PositionState::Paid, InstalmentState::Paid));
    assert_eq!((instalment.receipt_id.as_str(), instalment.version), ("r1", 2));
    let (outcome, content, applied_by): (i16, Value, String) =
        sqlx::query_as("select outcome, content, applied_by from receipt").fetch_one(money.pool()).await.unwrap();
    assert_eq!((outcome, content["psp_name"].as_str(), applied_by.as_str()), (1, Some("Banca"), "node-connector"));
    assert!(content.get("fee_cents").is_none(), "a fee that was not told is none");

    let (key, event, trace) = events(&money).await.remove(0);
    assert_eq!(key, format!("{}/{number}", money.institution()));
    assert_eq!((event.position_id.as_str(), event.client_reference.as_str()), (created.position_id.as_str(), "ref-1"));
    assert_eq!((event.service_code.as_str(), event.amount_cents, event.version), ("TARI", Some(10_000), 1));
    assert_eq!((event.paid_at.as_str(), event.transfers.len()), ("2026-11-24T10:05:00Z", 1));
    assert!(trace.unwrap().contains("0af7651916cd43dd8448eb211c80319c"), "the trace of the node's call goes on");

    assert_eq!(money.pay(vec![receipt]).await, [ApplyOutcome::Repeated]);
    assert_eq!((events(&money).await.len(), money.count("receipt").await, money.cases().await.len()), (1, 1, 0));
}

#[tokio::test]
async fn a_second_receipt_is_a_case_and_the_payment_stays_one() {
    let money = Money::start().await;
    let created = money.create(position("ref", &[&[10_000]])).await;
    let number = numbers(&created).remove(0);
    let outcomes = money.pay(vec![money.receipt("r1", &number, 10_000), money.receipt("r2", &number, 10_000)]).await;
    assert_eq!(outcomes, [ApplyOutcome::Applied, ApplyOutcome::Case]);
    assert_eq!(money.pay(vec![money.receipt("r3", &number, 10_000)]).await, [ApplyOutcome::Case]);
    let expect = ["r2", "r3"].map(|key| ("receipt_double".to_owned(), key.to_owned()));
    assert_eq!(money.cases().await, expect);
    assert_eq!(money.again(&created).await.options[0].instalments[0].receipt_id, "r1");
    assert_eq!((money.count("receipt").await, events(&money).await.len()), (3, 3), "money that came is told each time");
}

/// Batches that overlap, at the same time, over several processes.
#[tokio::test]
async fn overlapping_batches_apply_each_receipt_once() {
    let money = Money::start().await;
    let mut receipts = Vec::new();
    for at in 0..20 {
        let created = money.create(position(&format!("p{at}"), &[&[300], &[100, 200]])).await;
        let numbers = numbers(&created);
        receipts.push(money.receipt(&format!("r{at}"), &numbers[1], 100));
        receipts.push(money.receipt(&format!("s{at}"), &numbers[2], 200));
    }
    let replicas: Vec<_> = (0..4).map(|_| money.another()).collect();
    let batches = (0..16).map(|batch| {
        let mut own: Vec<_> = (0..25).map(|at| receipts[(batch * 7 + at) % 40].clone()).collect();
        if batch % 2 == 1 {
            own.reverse();
        }
        replicas[batch % 4].pay(own)
    });
    let outcomes: Vec<_> = join_all(batches).await.into_iter().flat_map(Result::unwrap).collect();
    let of = |wanted| outcomes.iter().filter(|outcome| **outcome == wanted).count();
    assert_eq!((of(ApplyOutcome::Applied), of(ApplyOutcome::Repeated)), (40, 16 * 25 - 40));
    let told: Vec<_> = events(&money).await.into_iter().map(|(_, event, _)| event.receipt_id).collect();
    assert_eq!((told.len(), told.iter().collect::<HashSet<_>>().len()), (40, 40));
    let states: HashMap<i16, i64> = sqlx::query_as("select state, count(*) from notice group by state")
        .fetch_all(money.pool())
        .await
        .unwrap()
        .into_iter()
        .collect();
    assert_eq!(states, HashMap::from([(3, 40), (4, 20)]));
    assert!(money.cases().await.is_empty());
}

#[tokio::test]
async fn paying_an_option_supersedes_the_others() {
    let money = Money::start().await;
    let created = money.create(position("ref", &[&[10_000], &[5_000, 5_000], &[10_500]])).await;
    let numbers = numbers(&created);
    money.pay(vec![money.receipt("r", &numbers[1], 5_000)]).await;
    let states = [Superseded, Paid, Payable, Superseded];
    assert_eq!(money.states(&created).await, states);
    assert_eq!(money.again(&created).await.state(), PositionState::PartiallyPaid);
    // The node had given out the other notice before: its money is taken, and somebody must look.
    assert_eq!(money.pay(vec![money.receipt("late", &numbers[0], 10_000)]).await, [ApplyOutcome::Case]);
    assert_eq!(money.states(&created).await, [Paid, Paid, Superseded, Superseded]);
    assert_eq!(kinds(&money).await, ["receipt_late"]);
}

#[tokio::test]
async fn a_receipt_for_a_cancelled_notice_counts_and_is_a_case() {
    let money = Money::start().await;
    let created = money.create(position("ref", &[&[10_000]])).await;
    let request = CancelPositionRequest {
        institution: money.institution().into(),
        position_id: created.position_id.clone(),
        force: false,
    };
    money.replica.positions.cancel_position(called("maria", request)).await.unwrap();
    assert_eq!(money.pay(vec![money.receipt("r", &numbers(&created)[0], 10_000)]).await, [ApplyOutcome::Case]);
    assert_eq!(
        (kinds(&money).await, money.again(&created).await.state()),
        (vec!["receipt_late".to_owned()], PositionState::Paid)
    );
}

/// Architecture.md 5.2: what was paid is compared with what was asked for, by the attempt before the receipt.
#[tokio::test]
async fn amounts_are_compared_with_the_activation() {
    let money = Money::start().await;
    let notices = [money.create(position("a", &[&[10_000]])).await, money.create(position("b", &[&[10_000]])).await];
    let numbers = notices.each_ref().map(|created| numbers(created).remove(0));
    for number in &numbers {
        money.activate(number).await;
        sqlx::query("update notice set amount_cents = 12000 where nav = $1")
            .bind(number)
            .execute(money.pool())
            .await
            .unwrap();
    }
    money.advance(1);
    let received = money.receipt("a", &numbers[0], 10_000);
    money.advance(1);
    money.activate(&numbers[0]).await;
    assert_eq!(
        money.pay(vec![received]).await,
        [ApplyOutcome::Applied],
        "the later attempt asked for more, this one did not"
    );
    assert_eq!(money.pay(vec![money.receipt("b", &numbers[1], 12_000)]).await, [ApplyOutcome::Case]);
    let (kind, detail): (String, Value) =
        sqlx::query_as("select kind, detail from cases").fetch_one(money.pool()).await.unwrap();
    assert_eq!(
        (kind.as_str(), &detail["expected_cents"], &detail["paid_cents"]),
        ("receipt_amount_differs", &10_000.into(), &12_000.into())
    );
}

/// Whatever became of the institution, its money is booked (ARCHITECTURE.md 3, 4.5).
#[rstest]
#[case("update institution set phase = 3")]
#[case("update institution set phase = 4")]
#[case("update institution set phase = 5")]
#[case("update institution set managed = false")]
#[case("update association set removed = true")]
#[tokio::test]
async fn receipts_are_taken_in_every_state_of_the_institution(#[case] change: &'static str) {
    let mut money = Money::start().await;
    money.reconfigure(|manifest| manifest.spec.phase = LifecyclePhase::Live.into()).await;
    let created = money.create(position("ref", &[&[10_000]])).await;
    sqlx::query(change).execute(money.pool()).await.unwrap();
    assert_eq!(money.pay(vec![money.receipt("r", &numbers(&created)[0], 10_000)]).await, [ApplyOutcome::Applied]);
}

#[tokio::test]
async fn what_is_odd_is_kept_and_becomes_a_case() {
    let money = Money::start().await;
    let created = money.create(position("ref", &[&[10_000]])).await;
    let number = numbers(&created).remove(0);
    let findings = vec!["receipt_schema".to_owned(), "receipt_path_mismatch".to_owned()];
    let never = vec!["addressee_never_ours".to_owned()];
    let outcomes = money
        .pay(vec![
            Receipt { findings, ..money.receipt("odd", &number, 10_000) },
            Receipt {
                version: 2,
                content_hash: vec![2].into(),
                findings: vec!["receipt_version".into()],
                ..money.receipt("odd", &number, 9_999)
            },
            money.receipt("unknown", "312000000000471179", 500),
            Receipt { outcome: "KO".into(), ..money.receipt("ko", "312000000000471179", 500) },
            Receipt {
                institution: "00000000000".into(),
                findings: never.clone(),
                ..money.receipt("nobodys", &number, 500)
            },
            Receipt { findings: never, ..money.receipt("never", &number, 500) },
            Receipt { paid_at: "yesterday".into(), received_at: String::new(), ..money.receipt("no-number", "", 500) },
            Receipt { content_hash: vec![9].into(), ..money.receipt("odd", &number, 1) },
        ])
        .await;
    assert_eq!(outcomes, [ApplyOutcome::Case; 8]);
    let expect = [
        ("addressee_never_ours", format!("{}/never/1", money.institution())),
        ("addressee_never_ours", "00000000000/nobodys/1".to_owned()),
        ("receipt_path_mismatch", "odd/1".to_owned()),
        ("receipt_outcome", "ko/1".to_owned()),
        ("receipt_schema", "odd/1".to_owned()),
        ("receipt_unknown_notice", "no-number/1".to_owned()),
        ("receipt_unknown_notice", "unknown/1".to_owned()),
        ("receipt_version", "odd/0000000000000009/1".to_owned()),
        ("receipt_version", "odd/2".to_owned()),
    ];
    let mut cases = money.cases().await;
    cases.sort();
    let mut expect = expect.map(|(kind, key)| (kind.to_owned(), key)).to_vec();
    expect.sort();
    assert_eq!(cases, expect);
    assert_eq!(money.states(&created).await, [InstalmentState::Paid]);
    let told: Vec<_> =
        events(&money).await.into_iter().map(|(_, event, _)| (event.receipt_id, event.version)).collect();
    assert_eq!(told, [("odd".into(), 1), ("odd".into(), 2), ("unknown".into(), 1), ("no-number".to_owned(), 1)]);
}

/// The amount of a receipt is compared with its own notice's activation, not with that of a repetition further down.
#[tokio::test]
async fn of_a_receipt_that_a_batch_repeats_the_first_one_counts() {
    let money = Money::start().await;
    let created = money.create(position("ref", &[&[100, 300]])).await;
    let numbers = numbers(&created);
    money.activate(&numbers[1]).await;
    let batch = vec![money.receipt("r", &numbers[0], 100), money.receipt("r", &numbers[1], 300)];
    assert_eq!(money.pay(batch).await, [ApplyOutcome::Applied, ApplyOutcome::Repeated]);
    assert!(money.cases().await.is_empty());
    assert_eq!(money.states(&created).await, [Paid, Payable]);
}

/// As after tenant was restored from before the institution came: what the inbox took in for it waits there.
#[tokio::test]
async fn a_receipt_of_an_institution_that_is_applied_later_waits_for_it() {
    let money = Money::start().await;
    let created = money.create(position("ref", &[&[10_000]])).await;
    let later = Manifest::new();
    let waiting = Receipt {
        institution: later.fiscal_code().into(),
        issuer: later.fiscal_code().into(),
        ..money.receipt("later", "312000000000471179", 500)
    };
    let batch = vec![waiting.clone(), money.receipt("now", &numbers(&created)[0], 10_000)];
    assert_eq!(money.pay(batch).await, [ApplyOutcome::Unspecified, ApplyOutcome::Applied]);
    assert!(money.cases().await.is_empty());
    assert_eq!((money.count("receipt").await, money.count("outbox").await), (1, 1));
    money.applied(&later).await;
    assert_eq!(money.pay(vec![waiting.clone()]).await, [ApplyOutcome::Case], "of a notice that nobody knows: kept");
    assert_eq!((money.count("receipt").await, money.count("outbox").await), (2, 2));
    assert_eq!(money.pay(vec![waiting]).await, [ApplyOutcome::Repeated]);
}

#[tokio::test]
async fn a_beneficiary_gets_its_share() {
    let money = Money::start().await;
    let transfer = |id, amount_cents, beneficiary: &str| ReceiptTransfer {
        id,
        amount_cents: Some(amount_cents),
        beneficiary: beneficiary.into(),
        ..ReceiptTransfer::default()
    };
    let issuer = "80001234567";
    let transfers = vec![transfer(1, 9_500, issuer), transfer(2, 500, money.institution())];
    let receipt = Receipt { issuer: issuer.into(), transfers, ..money.receipt("r", "312000000000471179", 10_000) };
    assert_eq!(money.pay(vec![receipt]).await, [ApplyOutcome::Beneficiary]);
    let (_, event, _) = events(&money).await.remove(0);
    assert_eq!((event.amount_cents, event.issuer.as_str(), event.transfers.len()), (Some(500), issuer, 1));
    assert!(money.cases().await.is_empty());
}

/// One receipt that the database does not take keeps nobody up, is told, and is applied when the cause is gone.
#[tokio::test]
async fn poison_blocks_nobody() {
    let money = Money::start().await;
    let created = money.create(position("ref", &[&[100, 200, 300]])).await;
    let numbers = numbers(&created);
    let trap = "create function trap() returns trigger language plpgsql as
            $$ begin if new.receipt_id = 'poison' then raise exception 'trapped'; end if; return new; end $$;
        create trigger trap before insert on receipt for each row execute function trap()";
    sqlx::raw_sql(trap).execute(money.pool()).await.unwrap();
    let batch = vec![
        money.receipt("a", &numbers[0], 100),
        money.receipt("poison", &numbers[1], 200),
        money.receipt("b", &numbers[2], 300),
    ];
    let outcomes = money.pay(batch.clone()).await;
    assert_eq!(outcomes, [ApplyOutcome::Applied, ApplyOutcome::Unspecified, ApplyOutcome::Applied]);
    let poison = ("message_poison".to_owned(), format!("{}/poison/1", money.institution()));
    assert_eq!(money.cases().await, std::slice::from_ref(&poison));
    assert_eq!(money.states(&created).await, [InstalmentState::Paid, InstalmentState::Payable, InstalmentState::Paid]);
    assert_eq!(money.pay(vec![batch[1].clone()]).await, [ApplyOutcome::Unspecified]);
    assert_eq!(money.cases().await, [poison], "told once");
    sqlx::raw_sql("drop trigger trap on receipt").execute(money.pool()).await.unwrap();
    assert_eq!(money.pay(batch).await, [ApplyOutcome::Repeated, ApplyOutcome::Applied, ApplyOutcome::Repeated]);
    let nul = Receipt { description: "a\0b".into(), ..money.receipt("nul\0", &numbers[0], 100) };
    assert_eq!(money.pay(vec![nul]).await, [ApplyOutcome::Unspecified]);
    assert_eq!(money.cases().await.len(), 2);
}

#[tokio::test]
async fn without_the_database_the_inbox_is_told_to_come_again() {
    let money = Money::start().await;
    money.pool().close().await;
    let status = money.replica.pay(vec![money.receipt("r", "312000000000471179", 1)]).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.message(), "failed to use the database");
    let many = ApplyReceiptsRequest { receipts: vec![Receipt::default(); 257] };
    let status = money.replica.receipts.apply_receipts(Request::new(many)).await.unwrap_err();
    assert_eq!(
        (status.code(), violations(&status)),
        (
            Code::InvalidArgument,
            vec!["receipts: has 257 entries, at most 256 are allowed; send several requests".to_owned()]
        )
    );
}
