//! Positions that were begun in another system: loaded as they are, what was paid stays paid, and nobody else is kept up.

use fiorino_proto::{
    notices::v1::Refusal,
    payments::v1::PaymentRecorded,
    positions::v1::{
        AlreadyPaid, CreatePositionsRequest, InstalmentState as State, NewPosition, Position, PositionState,
        create_outcome::Outcome, get_position_request::By, positions_server::Positions as _,
    },
    receipts::v1::{ApplyOutcome, Receipt, ReceiptTransfer},
};
use fiorino_test_support::eventually;
use futures::future::join;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use prost::Message as _;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::runtime::Runtime;
use tonic::Code;

use crate::{
    fixture::{PATIENCE, violations},
    money::{CLIENT, Money, called, count, numbers, position},
};

/// More locks than any transaction of ours takes, whatever it writes: one on each table and index that it touches.
const LOCKS_MAX: i64 = 60;

/// A position whose numbers another system issued: `3120000000000` and five digits from `first` on.
fn loaded(client_reference: &str, options: &[&[i64]], first: usize) -> NewPosition {
    let mut new = position(client_reference, options);
    let instalments = new.options.iter_mut().flat_map(|option| &mut option.instalments);
    for (place, instalment) in instalments.enumerate() {
        instalment.notice_number = number(first + place);
    }
    new
}

fn number(place: usize) -> String {
    format!("3120000000000{place:05}")
}

/// The whole debt at once, or in three.
const OPTIONS: &[&[i64]] = &[&[9_000], &[3_000, 3_000, 3_000]];

/// Kinds of the cases that wait for somebody, in order.
async fn open_cases(money: &Money) -> Vec<String> {
    sqlx::query_scalar("select kind from cases where state <> 3 order by kind").fetch_all(money.pool()).await.unwrap()
}

async fn receipt_ids(money: &Money, position: &Position) -> Vec<String> {
    let position = money.again(position).await;
    let instalments = position.options.into_iter().flat_map(|option| option.instalments);
    instalments.map(|instalment| instalment.receipt_id).collect()
}

/// The station was switched before the debts were loaded: a rate was paid here while nobody here knew it.
#[tokio::test]
async fn what_was_paid_before_it_was_loaded_is_loaded_as_paid() {
    let money = Money::start().await;
    assert_eq!(money.pay(vec![money.receipt("before", &number(1), 3_000)]).await, [ApplyOutcome::Case]);
    assert_eq!(open_cases(&money).await, ["receipt_unknown_notice"]);
    let created = money.create(loaded("ref", OPTIONS, 0)).await;
    assert_eq!(numbers(&created), [0, 1, 2, 3].map(number));
    assert_eq!(created.state(), PositionState::PartiallyPaid, "the answer says it as it is");
    assert_eq!(created, money.again(&created).await);
    assert_eq!(money.states(&created).await, [State::Superseded, State::Paid, State::Payable, State::Payable]);
    assert_eq!(receipt_ids(&money, &created).await, ["", "before", "", ""]);
    assert_eq!(money.verify(&number(0)).await.unwrap_err(), Refusal::Cancelled, "the whole debt is not asked for");
    assert_eq!(money.verify(&number(1)).await.unwrap_err(), Refusal::Paid);
    assert!(money.verify(&number(2)).await.is_ok());
    assert_eq!(open_cases(&money).await, [] as [&str; 0], "the notice is known now");
    assert_eq!(money.pay(vec![money.receipt("before", &number(1), 3_000)]).await, [ApplyOutcome::Repeated]);
    let rest = [2, 3].map(|place| money.receipt(&format!("rate-{place}"), &number(place), 3_000)).to_vec();
    assert_eq!(money.pay(rest).await, [ApplyOutcome::Applied; 2]);
    assert_eq!(money.again(&created).await.state(), PositionState::Paid);
}

/// Whoever was told of the payment is told whose it is.
#[tokio::test]
async fn a_payment_of_before_is_told_again_with_its_position() {
    let money = Money::start().await;
    let receipt = Receipt { payment_method: "card".into(), ..money.receipt("before", &number(0), 9_000) };
    money.pay(vec![receipt]).await;
    let created = money.create(loaded("ref", &[&[9_000]], 0)).await;
    let payloads: Vec<Vec<u8>> =
        sqlx::query_scalar("select payload from outbox order by id").fetch_all(money.pool()).await.unwrap();
    let [first, second] = payloads.try_into().unwrap();
    let [first, second] = [first, second].map(|payload| PaymentRecorded::decode(payload.as_slice()).unwrap());
    assert_eq!((first.position_id.as_str(), first.client_reference.as_str()), ("", ""));
    let expect = PaymentRecorded {
        position_id: created.position_id,
        client_reference: "ref".into(),
        service_code: created.service_code,
        ..first
    };
    assert_eq!(second, expect);
}

#[tokio::test]
async fn a_batch_is_loaded_with_what_was_paid_of_it() {
    let money = Money::start().await;
    money.pay(vec![money.receipt("a", &number(1), 3_000), money.receipt("b", &number(8), 100)]).await;
    let mut draft = loaded("draft", &[&[100]], 8);
    draft.draft = true;
    let positions = vec![loaded("first", OPTIONS, 0), loaded("second", &[&[100]], 7), draft];
    let request = CreatePositionsRequest { institution: money.institution().into(), positions };
    let outcomes =
        money.replica.positions.create_positions(called(CLIENT, request)).await.unwrap().into_inner().outcomes;
    for outcome in &outcomes {
        assert!(matches!(&outcome.outcome, Some(Outcome::Created(created)) if !created.replayed), "{outcome:?}");
    }
    let state = async |reference: &str| money.get(By::ClientReference(reference.into())).await.unwrap().state();
    assert_eq!(state("first").await, PositionState::PartiallyPaid);
    assert_eq!(state("second").await, PositionState::Open);
    assert_eq!(state("draft").await, PositionState::Paid);
    assert_eq!(open_cases(&money).await, ["receipt_unpublished"]);
}

/// Only the issuer's own payments take a number: others number from 1 as well, and who sent no money paid nothing.
#[tokio::test]
async fn a_number_that_others_used_is_free() {
    let money = Money::start().await;
    let province = money.province.fiscal_code().to_owned();
    let ours = ReceiptTransfer {
        id: 1,
        amount_cents: Some(500),
        beneficiary: money.institution().into(),
        ..ReceiptTransfer::default()
    };
    let share = Receipt { issuer: province, transfers: vec![ours], ..money.receipt("share", &number(0), 500) };
    let failed = Receipt { outcome: "KO".into(), ..money.receipt("failed", &number(1), 9_000) };
    let nameless = Receipt { issuer: String::new(), ..money.receipt("nameless", &number(2), 9_000) };
    let outcomes = money.pay(vec![share, failed, nameless]).await;
    assert_eq!(outcomes, [ApplyOutcome::Beneficiary, ApplyOutcome::Case, ApplyOutcome::Case]);
    for (place, state) in [State::Payable, State::Payable, State::Paid].into_iter().enumerate() {
        let created = money.create(loaded(&format!("ref-{place}"), &[&[9_000]], place)).await;
        assert_eq!(money.states(&created).await, [state], "{place}");
    }
    assert!(money.verify(&number(0)).await.is_ok());
    assert!(money.verify(&number(1)).await.is_ok());
    assert_eq!(money.verify(&number(2)).await.unwrap_err(), Refusal::Paid);
}

/// Receipt and notice at the same moment: one of both sees the other, so nobody is asked to pay again.
#[tokio::test]
async fn a_number_that_is_paid_while_it_is_loaded_never_stays_payable() {
    let money = Money::start().await;
    let another = money.another();
    let mut before = 0;
    for round in 0..40 {
        let receipt = money.receipt(&format!("receipt-{round}"), &number(round), 9_000);
        let new = loaded(&format!("ref-{round}"), &[&[9_000]], round);
        let (outcomes, created) =
            join(money.pay(vec![receipt]), another.create(money.institution(), CLIENT, new)).await;
        created.unwrap();
        before += usize::from(outcomes == [ApplyOutcome::Case]);
        assert_eq!(money.verify(&number(round)).await.unwrap_err(), Refusal::Paid);
    }
    assert_eq!(open_cases(&money).await, [] as [&str; 0], "{before} came before the notice");
}

/// Whichever comes first, receipts or notices: states, receipts and open cases are the same in the end.
#[test]
fn receipts_of_before_do_what_those_of_after_do() {
    let runtime = Runtime::new().unwrap();
    let money = runtime.block_on(Money::start());
    let mut runner = TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
    let runs = std::cell::Cell::new(0);
    // Instalment, name, cents more than are owed.
    let receipts = prop::collection::vec((0..4usize, 0..4u8, prop_oneof![Just(0), Just(100)]), 1..6);
    let outcome = runner.run(&receipts, |receipts| {
        runs.set(runs.get() + 1);
        let [after, before] = runtime.block_on(async {
            [
                run(&money, runs.get() * 2, &receipts, false).await,
                run(&money, runs.get() * 2 + 1, &receipts, true).await,
            ]
        });
        prop_assert_eq!(after, before);
        Ok(())
    });
    // The database goes before the runtime that its pool lives in.
    let _entered = runtime.enter();
    drop(money);
    outcome.unwrap();
}

/// (states, receipts, open cases) of a position with these receipts.
async fn run(
    money: &Money,
    run: usize,
    receipts: &[(usize, u8, i64)],
    before: bool,
) -> (Vec<State>, Vec<String>, Vec<String>) {
    sqlx::query("update cases set state = 3").execute(money.pool()).await.unwrap();
    let owed = [9_000, 3_000, 3_000, 3_000];
    let name = |receipt: u8| format!("{run}-{receipt}");
    let load = money.create(loaded(&format!("p{run}"), OPTIONS, run * 4));
    let pay = async {
        for (place, receipt, more) in receipts {
            money.advance(1);
            money.pay(vec![money.receipt(&name(*receipt), &number(run * 4 + place), owed[*place] + more)]).await;
        }
    };
    let created = if before {
        pay.await;
        load.await
    } else {
        let created = load.await;
        pay.await;
        created
    };
    let ids = receipt_ids(money, &created).await;
    let ids = ids.iter().map(|id| id.split_once('-').map_or(String::new(), |(_, name)| name.to_owned())).collect();
    (money.states(&created).await, ids, open_cases(money).await)
}

fn paid_elsewhere(new: &mut NewPosition, option: usize, instalment: usize) -> &mut AlreadyPaid {
    let paid = AlreadyPaid { paid_on: "2026-05-04".into(), how: "il gestionale di prima".into() };
    new.options[option].instalments[instalment].already_paid.insert(paid)
}

/// What another system was paid for is loaded as a tombstone: it is known, and nobody is asked for it.
#[tokio::test]
async fn what_another_system_was_paid_for_is_not_asked_for() {
    let money = Money::start().await;
    let mut new = loaded("ref", OPTIONS, 0);
    // More than the service takes: limits are about what is asked for.
    paid_elsewhere(&mut new, 1, 0);
    let created = money.create(new.clone()).await;
    assert_eq!(created.state(), PositionState::PartiallyPaid);
    assert_eq!(money.states(&created).await, [State::Superseded, State::Paid, State::Payable, State::Payable]);
    assert_eq!(created, money.again(&created).await);
    assert_eq!(created.options[1].instalments[0].already_paid, new.options[1].instalments[0].already_paid);
    assert_eq!(money.verify(&number(0)).await.unwrap_err(), Refusal::Cancelled);
    assert_eq!(money.verify(&number(1)).await.unwrap_err(), Refusal::Paid);
    assert!(money.verify(&number(3)).await.is_ok());
    let again = money.replica.create(money.institution(), CLIENT, new).await.unwrap();
    assert!(again.replayed);
    assert_eq!((count(money.pool(), "nav_sequence where next > 0").await, open_cases(&money).await), (0, vec![]));
    // The same payment, or a second one: only a person can tell. One more is a double payment in any case.
    assert_eq!(money.pay(vec![money.receipt("r", &number(1), 3_000)]).await, [ApplyOutcome::Case]);
    assert_eq!(open_cases(&money).await, ["receipt_paid_elsewhere"]);
    assert_eq!(receipt_ids(&money, &created).await, ["", "r", "", ""]);
    assert_eq!(money.pay(vec![money.receipt("s", &number(1), 3_000)]).await, [ApplyOutcome::Case]);
    assert_eq!(open_cases(&money).await, ["receipt_double", "receipt_paid_elsewhere"]);
}

#[tokio::test]
async fn a_position_that_was_paid_elsewhere_as_a_whole_is_loaded_as_it_is() {
    let money = Money::start().await;
    money.pay(vec![money.receipt("came-here-too", &number(0), 9_000)]).await;
    let mut new = loaded("ref", OPTIONS, 0);
    new.draft = true;
    paid_elsewhere(&mut new, 0, 0);
    let created = money.create(new).await;
    assert_eq!(
        (created.state(), money.states(&created).await),
        (PositionState::Paid, vec![State::Paid, State::Superseded, State::Superseded, State::Superseded])
    );
    assert_eq!(receipt_ids(&money, &created).await[0], "came-here-too");
    assert_eq!(open_cases(&money).await, ["receipt_paid_elsewhere"]);
}

#[tokio::test]
async fn refused_tombstones() {
    let money = Money::start().await;
    let refused = async |change: fn(&mut NewPosition)| {
        let mut new = loaded("ref", &[&[9_000]], 0);
        paid_elsewhere(&mut new, 0, 0);
        change(&mut new);
        let status = money.replica.create(money.institution(), CLIENT, new).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        violations(&status)
    };
    let at = "position.options[0].instalments[0]";
    assert_eq!(
        refused(|new| new.options[0].instalments[0].notice_number.clear()).await,
        [format!(
            "{at}.notice_number: must be set where already_paid is: no number is issued for what another system was paid for; send its number"
        )]
    );
    assert_eq!(
        refused(|new| {
            let paid = paid_elsewhere(new, 0, 0);
            (paid.paid_on, paid.how) = ("ieri".into(), String::new());
        })
        .await,
        [
            format!(
                "{at}.already_paid.paid_on: a date is written YYYY-MM-DD and exists in the calendar; send the day on which it was paid"
            ),
            format!("{at}.already_paid.how: must not be empty; send 1 to 70 characters that say which system was paid")
        ]
    );
    assert_eq!(
        refused(|new| paid_elsewhere(new, 0, 0).paid_on = "2026-11-25".into()).await,
        [format!(
            "{at}.already_paid.paid_on: is after today; send the day on which it was paid, or leave already_paid out"
        )]
    );
    assert_eq!(
        refused(|new| paid_elsewhere(new, 0, 0).how = "bonifico di RSSMRA80A01H501U".into()).await,
        [format!(
            "{at}.already_paid.how: must not hold the debtor's fiscal code: it travels to the payer; leave it out"
        )]
    );
    assert_eq!(money.count("notice").await, 0);
}

/// How many locks the transaction holds that waits for somebody else's row, apart from those that PostgreSQL keeps outside its table.
async fn locks_of_who_waits(connection: &mut PgConnection) -> i64 {
    let statement = "select l.pid, count(*) from pg_locks l
         where l.granted and l.pid in (select pid from pg_locks where not granted and locktype = 'transactionid')
             and l.pid in (select pid from pg_stat_activity where datname = current_database())
         group by l.pid";
    let rows: Vec<(i32, i64)> = eventually(PATIENCE, async || {
        let rows: Vec<(i32, i64)> = sqlx::query_as(statement).fetch_all(&mut *connection).await?;
        if rows.is_empty() { Err(anyhow::anyhow!("nobody waits yet")) } else { Ok(rows) }
    })
    .await
    .unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows[0].1
}

/// The lock table is the server's: who fills it takes the node's calls with him (ARCHITECTURE.md 5.3).
#[tokio::test]
async fn loading_ten_thousand_numbers_takes_no_lock_for_each() {
    let money = Money::start().await;
    money.create(loaded("last", &[&[100]], 99_999)).await;
    let mut observer = PgConnection::connect(&money.database.url).await.unwrap();
    let mut other = PgConnection::connect(&money.database.url).await.unwrap();
    // Somebody is about to write the last number of the load.
    let mut tx = other.begin().await.unwrap();
    let row = sqlx::query("select column_name::text from information_schema.columns where table_name = 'notice'");
    let columns: Vec<String> =
        row.fetch_all(&mut *tx).await.unwrap().iter().map(|row| sqlx::Row::get(row, 0)).collect();
    let values =
        columns.iter().map(|column| if column == "nav" { format!("'{}'", number(9_999)) } else { column.clone() });
    let statement = format!(
        "insert into notice ({}) select {} from notice",
        columns.join(", "),
        values.collect::<Vec<_>>().join(", ")
    );
    sqlx::query(AssertSqlSafe(statement)).execute(&mut *tx).await.unwrap();
    let positions = (0..1_000).map(|place| loaded(&format!("p{place}"), &[&[100; 10]], place * 10)).collect();
    let request = CreatePositionsRequest { institution: money.institution().into(), positions };
    let load = money.replica.positions.create_positions(called(CLIENT, request));
    let ended = async {
        let locks = locks_of_who_waits(&mut observer).await;
        tx.rollback().await.unwrap();
        locks
    };
    let (loaded, locks) = join(load, ended).await;
    assert!(locks <= LOCKS_MAX, "{locks} locks for 10,000 numbers");
    let outcomes = loaded.unwrap().into_inner().outcomes;
    assert!(outcomes.iter().all(|outcome| matches!(outcome.outcome, Some(Outcome::Created(_)))));
    assert_eq!(money.count("notice").await, 10_001);
}

#[tokio::test]
async fn receipts_of_unknown_numbers_take_no_lock_for_each() {
    let money = Money::start().await;
    let id = money.institution_id().await;
    let mut observer = PgConnection::connect(&money.database.url).await.unwrap();
    let mut other = PgConnection::connect(&money.database.url).await.unwrap();
    let mut tx = other.begin().await.unwrap();
    sqlx::query(
        "insert into cases (institution_id, kind, key, id, detail, opened_at)
         values ($1, 'receipt_unknown_notice', 'r255/1', gen_random_uuid(), '{}', now())",
    )
    .bind(id)
    .execute(&mut *tx)
    .await
    .unwrap();
    let receipts = (0..256).map(|place| money.receipt(&format!("r{place:03}"), &number(place), 100)).collect();
    let ended = async {
        let locks = locks_of_who_waits(&mut observer).await;
        tx.rollback().await.unwrap();
        locks
    };
    let (outcomes, locks) = join(money.pay(receipts), ended).await;
    assert!(locks <= LOCKS_MAX, "{locks} locks for 256 receipts");
    assert_eq!(outcomes, [ApplyOutcome::Case; 256]);
}
