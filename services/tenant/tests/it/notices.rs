//! What the node is answered: every refusal, the numbers of the day, and the record of an attempt.

use std::time::Duration;

use fiorino_proto::{
    config::v1::{AccountNumber, Beneficiary, ExpiryPolicy, LifecyclePhase},
    notices::v1::{
        ActivateManyRequest, ActivatedNotice, Activation, NoticeRef, Refusal, TransferType, VerifyManyRequest,
        activate_reply, notices_server::Notices as _,
    },
    positions::v1::{CancelPositionRequest, InstalmentState, positions_server::Positions as _},
};
use fiorino_test_support::eventually;
use futures::future::{join, join_all};
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;
use tonic::{Code, Request};

use crate::{
    fixture::{PATIENCE, violations},
    manifest::{IBAN, PROVINCE, STATION, account},
    money::{Money, Replica, called, numbers, position},
};

const POSTAL: &str = "IT26A0760103200001012345678";

fn activated(reply: activate_reply::Reply) -> ActivatedNotice {
    match reply {
        activate_reply::Reply::Activated(notice) => notice,
        activate_reply::Reply::Refusal(refusal) => panic!("{:?}", Refusal::try_from(refusal)),
    }
}

fn refusal(reply: activate_reply::Reply) -> Refusal {
    match reply {
        activate_reply::Reply::Activated(notice) => panic!("{:?}", notice.notice),
        activate_reply::Reply::Refusal(refusal) => Refusal::try_from(refusal).unwrap(),
    }
}

/// Verify and activation answer alike.
async fn expect(money: &Money, notice: NoticeRef, expect: Result<i64, Refusal>) {
    let verified = money.replica.verify(vec![notice.clone()]).await.remove(0).map(|notice| notice.amount_cents);
    assert_eq!(verified, expect, "verify {notice:?}");
    let activation = match money.replica.activate(notice.clone(), TransferType::Unspecified).await {
        activate_reply::Reply::Activated(activated) => Ok(activated.notice.unwrap().amount_cents),
        reply @ activate_reply::Reply::Refusal(_) => Err(refusal(reply)),
    };
    assert_eq!(activation, expect, "activate {notice:?}");
}

/// Architecture.md 11.6, on the real path.
#[tokio::test]
async fn every_refusal() {
    let mut money = Money::start().await;
    money
        .reconfigure(|manifest| manifest.services[0].expiry_policy = ExpiryPolicy::NotPayableAfterDueDate.into())
        .await;
    let mut draft = position("draft", &[&[500]]);
    draft.draft = true;
    let mut due = position("due", &[&[700]]);
    due.options[0].instalments[0].due_date = "2026-11-24".into();
    let number = async |new| numbers(&money.create(new).await).remove(0);
    let draft = number(draft).await;
    let due = number(due).await;
    let options = numbers(&money.create(position("options", &[&[300], &[150, 150]])).await);
    let open = number(position("open", &[&[900]])).await;

    expect(&money, money.notice(&open), Ok(900)).await;
    expect(&money, money.notice(&draft), Err(Refusal::Unknown)).await;
    expect(&money, money.notice("312000000000471179"), Err(Refusal::Unknown)).await;
    expect(&money, money.notice("000000000000000000"), Err(Refusal::Unknown)).await;
    expect(&money, money.notice("nonsense"), Err(Refusal::Unknown)).await;
    money.pay(vec![money.receipt("r", &options[0], 300)]).await;
    expect(&money, money.notice(&options[0]), Err(Refusal::Paid)).await;
    expect(&money, money.notice(&options[1]), Err(Refusal::Cancelled)).await;
    expect(&money, NoticeRef { station_id: "15376371009_99".into(), ..money.notice(&open) }, Err(Refusal::Station))
        .await;
    expect(&money, NoticeRef { institution: "00000000000".into(), ..money.notice(&open) }, Err(Refusal::Institution))
        .await;
    expect(&money, NoticeRef { institution: "\0".into(), ..money.notice(&open) }, Err(Refusal::Institution)).await;
    expect(&money, NoticeRef::default(), Err(Refusal::Institution)).await;

    // 23:59 in Rome, then the next day.
    money.time.set("2026-11-24T22:59:59Z".parse().unwrap());
    expect(&money, money.notice(&due), Ok(700)).await;
    money.time.set("2026-11-24T23:00:00Z".parse().unwrap());
    expect(&money, money.notice(&due), Err(Refusal::Expired)).await;

    sqlx::query("update notice set state = 6 where nav = $1").bind(&due).execute(money.pool()).await.unwrap();
    expect(&money, money.notice(&due), Err(Refusal::Paid)).await;
    for (phase, answer) in [
        (LifecyclePhase::Suspended, Ok(900)),
        (LifecyclePhase::Leaving, Ok(900)),
        (LifecyclePhase::Live, Ok(900)),
        (LifecyclePhase::Closed, Err(Refusal::Institution)),
    ] {
        money.reconfigure(|manifest| manifest.spec.phase = phase.into()).await;
        expect(&money, money.notice(&open), answer).await;
    }
}

#[tokio::test]
async fn a_batch_is_answered_in_its_order_whatever_is_in_it() {
    let money = Money::start().await;
    let first = numbers(&money.create(position("a", &[&[100]])).await).remove(0);
    let second = numbers(&money.create(position("b", &[&[200]])).await).remove(0);
    let asked = [second.as_str(), "x\0y", &first, &second, "312000000000471179", &first];
    let replies = money.replica.verify(asked.map(|number| money.notice(number)).to_vec()).await;
    let amounts: Vec<_> = replies.into_iter().map(|reply| reply.map(|notice| notice.amount_cents)).collect();
    let unknown = Err(Refusal::Unknown);
    assert_eq!(amounts, [Ok(200), unknown, Ok(100), Ok(200), unknown, Ok(100)]);
    assert!(money.replica.verify(Vec::new()).await.is_empty());
    let too_many = VerifyManyRequest { notices: vec![NoticeRef::default(); 65] };
    let status = money.replica.notices.verify_many(Request::new(too_many)).await.unwrap_err();
    assert_eq!(
        (status.code(), violations(&status)),
        (
            Code::InvalidArgument,
            vec!["notices: has 65 entries, at most 64 are allowed; send several requests".to_owned()]
        )
    );
    let too_many = ActivateManyRequest { activations: vec![Activation::default(); 65] };
    let status = money.replica.notices.activate_many(Request::new(too_many)).await.unwrap_err();
    assert_eq!(violations(&status), ["activations: has 65 entries, at most 64 are allowed; send several requests"]);
}

#[tokio::test]
async fn an_activation_answers_everything_and_is_recorded_before() {
    let money = Money::start().await;
    let number = numbers(&money.create(position("a", &[&[10_000]])).await).remove(0);
    let activation = Activation {
        notice: Some(money.notice(&number)),
        requested_cents: Some(9_000),
        payment_note: "cart-1".into(),
        ..Activation::default()
    };
    let request = ActivateManyRequest { activations: vec![activation] };
    let reply = money.replica.notices.activate_many(called("node-connector", request)).await.unwrap().into_inner();
    let activated = activated(reply.replies[0].reply.clone().unwrap());
    let debtor = activated.debtor.unwrap();
    assert_eq!(
        (debtor.kind.as_str(), debtor.fiscal_code.as_str(), debtor.city.as_str()),
        ("F", "RSSMRA80A01H501U", "Roma")
    );
    let transfers: Vec<_> =
        activated.transfers.iter().map(|t| (t.id, t.amount_cents, t.iban.as_str(), t.taxonomy_code.as_str())).collect();
    assert_eq!(transfers, [(1, 9_500, IBAN, "9/0101101IM/"), (2, 500, PROVINCE, "9/0201102IM/")]);
    let row: (i64, i64, String, Value, i64, String, String) = sqlx::query_as(
        "select amount_cents, requested_cents, payment_note, transfers, notice_version, recorded_by, station_id from activation",
    )
    .fetch_one(money.pool())
    .await
    .unwrap();
    let province = &money.manifest.services[0].beneficiaries[0].fiscal_code;
    let recorded = json!([
        { "id": 1, "cents": 9_500, "beneficiary": money.institution(), "iban": IBAN },
        { "id": 2, "cents": 500, "beneficiary": province, "iban": PROVINCE },
    ]);
    assert_eq!(row, (10_000, 9_000, "cart-1".into(), recorded, 1, "node-connector".into(), STATION.into()));
    money.activate(&number).await;
    assert_eq!(money.count("activation").await, 2);
}

/// Architecture.md 5.5: one line of YAML, no position is touched.
#[tokio::test]
async fn the_treasurer_changes_by_date_and_by_what_pagopa_shows() {
    let mut money = Money::start().await;
    let number = numbers(&money.create(position("a", &[&[10_000]])).await).remove(0);
    let iban = async |money: &Money| activated(money.activate(&number).await).transfers[0].iban.clone();
    assert_eq!(iban(&money).await, IBAN);
    money
        .reconfigure(|manifest| {
            let later =
                AccountNumber { valid_from: "2026-12-01".into(), iban: POSTAL.into(), postal: true, withdrawn: false };
            manifest.accounts[0].numbers.push(later);
        })
        .await;
    money.time.set("2026-12-01T10:00:00Z".parse().unwrap());
    assert_eq!(iban(&money).await, IBAN, "pagoPA does not show it yet");
    let shown = "update account_number set registered = true, registered_from = $2 where iban = $1";
    let day = |text: &str| jiff_sqlx::Date::from(text.parse::<jiff::civil::Date>().unwrap());
    sqlx::query(shown).bind(POSTAL).bind(day("2026-12-02")).execute(money.pool()).await.unwrap();
    assert_eq!(iban(&money).await, IBAN, "pagoPA takes it from tomorrow on");
    money.time.set("2026-12-01T23:30:00Z".parse().unwrap());
    assert_eq!(iban(&money).await, POSTAL, "the day begins in Rome");
    assert!(!money.verify(&number).await.unwrap().all_postal, "the province's account is none of the post");
    money.reconfigure(|manifest| manifest.accounts[0].numbers[1].withdrawn = true).await;
    assert_eq!(iban(&money).await, IBAN);
}

/// The rule of the issuer's accounts holds for those of others: their owner alone changes them, and pagoPA must show it.
#[tokio::test]
async fn a_beneficiarys_treasurer_changes_by_the_same_rule() {
    let mut money = Money::start().await;
    let number = numbers(&money.create(position("a", &[&[10_000]])).await).remove(0);
    let iban = async |money: &Money| activated(money.activate(&number).await).transfers[1].iban.clone();
    let later = AccountNumber { valid_from: "2026-11-24".into(), iban: POSTAL.into(), postal: true, withdrawn: false };
    money.reconfigure_province(|province| province.accounts[0].numbers.push(later)).await;
    assert_eq!(iban(&money).await, PROVINCE, "pagoPA does not show it yet");
    let shown = "update account_number set registered = true, registered_from = '2026-11-24' where iban = $1";
    sqlx::query(shown).bind(POSTAL).execute(money.pool()).await.unwrap();
    assert_eq!(iban(&money).await, POSTAL);
}

/// Of one institution, to two accounts, each with its own number.
#[tokio::test]
async fn one_institution_receives_to_two_accounts() {
    let mut money = Money::start().await;
    money.reconfigure_province(|province| province.accounts.push(account("sanzioni", &[("2026-01-01", POSTAL)]))).await;
    money
        .reconfigure(|manifest| {
            let shares = &mut manifest.services[0].beneficiaries;
            let fines = Beneficiary { account: "sanzioni".into(), share_basis_points: 300, ..shares[0].clone() };
            shares.push(fines);
        })
        .await;
    let number = numbers(&money.create(position("a", &[&[10_000]])).await).remove(0);
    let transfers = activated(money.activate(&number).await).transfers;
    let shown: Vec<_> = transfers.iter().map(|t| (t.amount_cents, t.iban.as_str())).collect();
    assert_eq!(shown, [(9_200, IBAN), (500, PROVINCE), (300, POSTAL)]);
}

#[tokio::test]
async fn without_a_number_nobody_pays_and_somebody_is_told() {
    let money = Money::start().await;
    let number = numbers(&money.create(position("a", &[&[10_000]])).await).remove(0);
    sqlx::query("update account_number set withdrawn = true").execute(money.pool()).await.unwrap();
    assert_eq!(money.verify(&number).await.unwrap_err(), Refusal::NoAccount);
    let case = ("no_account".to_owned(), "tesoreria".to_owned());
    let found = eventually(PATIENCE, async || {
        let cases = money.cases().await;
        if cases == [case.clone()] { Ok(()) } else { Err(anyhow::anyhow!("{cases:?}")) }
    });
    found.await.unwrap();
    sqlx::query("delete from cases").execute(money.pool()).await.unwrap();
    assert_eq!(refusal(money.activate(&number).await), Refusal::NoAccount);
    assert_eq!(money.cases().await, [case], "the case is there before the answer");
    assert_eq!(money.count("activation").await, 0);
}

/// Verify runs where nothing can be written.
#[tokio::test]
async fn verify_only_reads() {
    let money = Money::start().await;
    let number = numbers(&money.create(position("a", &[&[10_000]])).await).remove(0);
    let read_only = PgPoolOptions::new()
        .max_connections(2)
        .after_connect(|connection, _| {
            Box::pin(async move {
                sqlx::query("set default_transaction_read_only = on").execute(connection).await.map(drop)
            })
        })
        .connect(&money.database.url)
        .await
        .unwrap();
    let replica = Replica::on(&read_only, &money.clock());
    assert_eq!(replica.verify(vec![money.notice(&number)]).await[0].as_ref().unwrap().amount_cents, 10_000);
    let request = ActivateManyRequest {
        activations: vec![Activation { notice: Some(money.notice(&number)), ..Activation::default() }],
    };
    assert!(replica.notices.activate_many(Request::new(request)).await.is_err(), "an activation is a record");
    read_only.close().await;
}

#[tokio::test]
async fn the_first_call_of_the_node_is_marked_once() {
    let money = Money::start().await;
    let number = numbers(&money.create(position("a", &[&[10_000]])).await).remove(0);
    let marked = async || -> Option<jiff_sqlx::Timestamp> {
        let statement = "select node_connected_at from institution where fiscal_code = $1";
        sqlx::query_scalar(statement).bind(money.institution()).fetch_one(money.pool()).await.unwrap()
    };
    assert!(marked().await.is_none());
    money.verify(&number).await.unwrap();
    let at = eventually(PATIENCE, async || marked().await.ok_or_else(|| anyhow::anyhow!("not marked"))).await.unwrap();
    money.advance(5);
    let head = async || -> i64 {
        sqlx::query_scalar("select status_seq from config_head").fetch_one(money.pool()).await.unwrap()
    };
    let before = head().await;
    money.verify(&number).await.unwrap();
    money.activate(&number).await;
    assert_eq!((marked().await.unwrap().to_jiff(), head().await), (at.to_jiff(), before));
}

/// Either the cancellation came first and nobody was told to pay, or it saw the attempt.
#[tokio::test]
async fn an_activation_and_a_cancellation_never_both_succeed() {
    let money = Money::start().await;
    let replica = money.another();
    let mut cancelled = 0;
    for at in 0..40 {
        let created = money.create(position(&format!("p{at}"), &[&[1_000]])).await;
        let number = numbers(&created).remove(0);
        let position_id = created.position_id.clone();
        let cancel = CancelPositionRequest { institution: money.institution().into(), position_id, force: false };
        let activate = async {
            // Both orders happen: one of them starts a little later, in turn.
            tokio::time::sleep(Duration::from_micros(at % 4 * 400)).await;
            replica.activate(money.notice(&number), TransferType::Unspecified).await
        };
        let (reply, cancellation) =
            join(activate, money.replica.positions.cancel_position(called("maria", cancel))).await;
        match (reply, cancellation) {
            (activate_reply::Reply::Activated(_), Err(status)) => assert_eq!(status.code(), Code::FailedPrecondition),
            (activate_reply::Reply::Refusal(refusal), Ok(_)) => {
                assert_eq!(refusal, i32::from(Refusal::Cancelled));
                cancelled += 1;
            }
            (reply, cancellation) => panic!("round {at}: {reply:?}, {cancellation:?}"),
        }
    }
    assert!(cancelled > 0, "the race was never run");
}

/// Many activations of overlapping notices beside receipts for them: nobody waits for somebody who waits for him.
#[tokio::test]
async fn activations_and_receipts_do_not_lock_each_other_out() {
    let money = Money::start().await;
    let created = money.create(position("p", &[&[100; 20], &[2_000]])).await;
    let numbers = numbers(&created);
    let replicas: Vec<_> = (0..4).map(|_| money.another()).collect();
    let activations = (0..12).map(|at: usize| {
        let mut asked: Vec<_> = numbers
            .iter()
            .map(|number| Activation { notice: Some(money.notice(number)), ..Activation::default() })
            .collect();
        asked.rotate_left(at);
        replicas[at % 4].notices.activate_many(called("node-connector", ActivateManyRequest { activations: asked }))
    });
    let receipts = (0..12).map(|at| replicas[at % 4].pay(vec![money.receipt(&format!("r{at}"), &numbers[at], 100)]));
    let (activations, receipts) = join(join_all(activations), join_all(receipts)).await;
    for reply in activations {
        assert_eq!(reply.unwrap().into_inner().replies.len(), 21);
    }
    for outcome in receipts {
        assert_eq!(outcome.unwrap().len(), 1);
    }
    let paid = money.states(&created).await.iter().filter(|state| **state == InstalmentState::Paid).count();
    assert_eq!(paid, 12);
}
