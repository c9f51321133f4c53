//! Cancelled, and taken back: a whole position or one instalment of it (ARCHITECTURE.md 4.6).

use fiorino_proto::{
    notices::v1::Refusal,
    positions::v1::{
        CancelInstalmentRequest, CancelPositionRequest, InstalmentState as State, NewPosition, Position, PositionState,
        PublishPositionRequest, RestorePositionRequest, positions_server::Positions as _,
    },
    receipts::v1::ApplyOutcome,
};
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::{
    fixture::violations,
    money::{Money, called, numbers, position},
};

async fn cancel(money: &Money, position: &Position) -> Position {
    let position_id = position.position_id.clone();
    let request = CancelPositionRequest { institution: money.institution().into(), position_id, force: false };
    let response = money.replica.positions.cancel_position(called("maria", request)).await.unwrap();
    response.into_inner().position.unwrap()
}

async fn cancel_one(money: &Money, number: &str, force: bool) -> Result<Position, Status> {
    let institution = money.institution().to_owned();
    let request = CancelInstalmentRequest { institution, notice_number: number.into(), force };
    let response = money.replica.positions.cancel_instalment(called("maria", request)).await?;
    Ok(response.into_inner().position.unwrap())
}

/// All that is cancelled, or one.
async fn restore(money: &Money, position: &Position, number: &str, force: bool) -> Result<Position, Status> {
    let request = RestorePositionRequest {
        institution: money.institution().into(),
        position_id: position.position_id.clone(),
        notice_number: number.into(),
        force,
    };
    let response = money.replica.positions.restore_position(called("maria", request)).await?;
    Ok(response.into_inner().position.unwrap())
}

async fn publish(money: &Money, position: &Position) -> Position {
    let position_id = position.position_id.clone();
    let request = PublishPositionRequest { institution: money.institution().into(), position_id };
    let response = money.replica.positions.publish_position(called("maria", request)).await.unwrap();
    response.into_inner().position.unwrap()
}

/// (action, nav, forced, detail) of what was recorded.
async fn journal(money: &Money) -> Vec<(String, Option<String>, bool, Value)> {
    sqlx::query_as("select action, nav, forced, detail from position_change order by id")
        .fetch_all(money.pool())
        .await
        .unwrap()
}

fn draft(reference: &str) -> NewPosition {
    NewPosition { draft: true, ..position(reference, &[&[10_000]]) }
}

fn refusal(status: &Status) -> String {
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    violations(status).join("; ")
}

/// The clerk's mistake: the paper that the debtor holds is good again.
#[tokio::test]
async fn a_debt_that_was_cancelled_by_mistake_is_paid_by_the_same_number() {
    let money = Money::start().await;
    let created = money.create(position("ref", &[&[10_000], &[5_000, 5_000]])).await;
    let number = numbers(&created).remove(0);
    let before = money.verify(&number).await.unwrap();
    assert_eq!(cancel(&money, &created).await.state(), PositionState::Cancelled);
    assert_eq!(money.verify(&number).await.unwrap_err(), Refusal::Cancelled);
    money.advance(24 * 60);
    let restored = restore(&money, &created, "", false).await.unwrap();
    assert_eq!((restored.state(), numbers(&restored)), (PositionState::Open, numbers(&created)));
    assert_eq!(money.verify(&number).await.unwrap(), before, "number, amount, and day of issue are the same");
    let again = restore(&money, &created, "", false).await.unwrap();
    assert_eq!(again, restored, "a repetition changes nothing");
    let all = json!({ "notices": 3 });
    assert_eq!(
        journal(&money).await,
        [("cancelled".into(), None, false, all.clone()), ("restored".into(), None, false, all)]
    );
    assert_eq!(money.pay(vec![money.receipt("r", &number, 10_000)]).await, [ApplyOutcome::Applied]);
    assert_eq!(money.states(&created).await, [State::Paid, State::Superseded, State::Superseded]);
    assert_eq!(money.cases().await, [], "nothing is odd about it");
    let status = restore(&money, &created, "", true).await.unwrap_err();
    assert_eq!(
        refusal(&status),
        "position_id: an instalment that is paid cannot be restored; nothing of this position is cancelled"
    );
}

#[tokio::test]
async fn a_draft_comes_back_as_a_draft() {
    let money = Money::start().await;
    let created = money.create(draft("ref")).await;
    cancel(&money, &created).await;
    assert_eq!(restore(&money, &created, "", false).await.unwrap().state(), PositionState::Draft);
    assert_eq!(money.verify(&numbers(&created)[0]).await.unwrap_err(), Refusal::Unknown);
    publish(&money, &created).await;
    cancel(&money, &created).await;
    let restored = restore(&money, &created, "", false).await.unwrap();
    assert_eq!(restored.state(), PositionState::Open, "what it was when it was cancelled last");
    // Cancelled by a version that did not keep what it was.
    cancel(&money, &created).await;
    sqlx::query("update notice set cancelled_from = null").execute(money.pool()).await.unwrap();
    assert_eq!(restore(&money, &created, "", false).await.unwrap().state(), PositionState::Draft);
}

#[tokio::test]
async fn one_instalment_is_cancelled_and_restored_alone() {
    let money = Money::start().await;
    let created = money.create(position("ref", &[&[5_000, 4_000], &[9_000]])).await;
    let [first, second, _] = numbers(&created).try_into().unwrap();
    let cancelled = cancel_one(&money, &second, false).await.unwrap();
    assert_eq!(cancelled.state(), PositionState::Open, "the others can be paid");
    assert_eq!(money.states(&created).await, [State::Payable, State::Cancelled, State::Payable]);
    assert_eq!(money.verify(&second).await.unwrap_err(), Refusal::Cancelled);
    assert!(money.verify(&first).await.is_ok());
    assert_eq!(cancel_one(&money, &second, false).await.unwrap(), cancelled, "a repetition changes nothing");
    money.pay(vec![money.receipt("r", &first, 5_000)]).await;
    assert_eq!(money.again(&created).await.state(), PositionState::Paid, "nothing is open");
    let restored = restore(&money, &created, &second, false).await.unwrap();
    assert_eq!(restored.state(), PositionState::PartiallyPaid);
    assert_eq!(money.states(&created).await, [State::Paid, State::Payable, State::Superseded]);
    let one = json!({ "notices": 1 });
    assert_eq!(
        journal(&money).await,
        [
            ("cancelled".into(), Some(second.clone()), false, one.clone()),
            ("restored".into(), Some(second.clone()), false, one)
        ]
    );
    assert_eq!(
        refusal(&cancel_one(&money, &first, true).await.unwrap_err()),
        "notice_number: an instalment that is paid cannot be cancelled; it is not open"
    );
    assert_eq!(
        refusal(&restore(&money, &created, &first, true).await.unwrap_err()),
        "notice_number: an instalment that is paid cannot be restored; it is not cancelled"
    );
    let other = money.create(position("other", &[&[100]])).await;
    let status = restore(&money, &other, &second, false).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(violations(&status)[0].starts_with("notice_number: is of another position"), "{status:?}");
    let status = cancel_one(&money, "312000000000471179", false).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
}

#[tokio::test]
async fn during_an_attempt_to_pay_it_needs_force() {
    let money = Money::start().await;
    let created = money.create(position("ref", &[&[5_000, 5_000]])).await;
    let [first, second] = numbers(&created).try_into().unwrap();
    money.activate(&first).await;
    assert!(cancel_one(&money, &second, false).await.is_ok(), "nobody pays that one");
    let expect = "force: somebody may be paying until 2026-11-24T10:30:15Z; wait, or send force";
    assert_eq!(refusal(&cancel_one(&money, &first, false).await.unwrap_err()), expect);
    cancel_one(&money, &first, true).await.unwrap();
    assert_eq!(refusal(&restore(&money, &created, "", false).await.unwrap_err()), expect);
    assert_eq!(money.states(&created).await, [State::Cancelled; 2], "nothing was restored");
    restore(&money, &created, &second, false).await.unwrap();
    restore(&money, &created, "", true).await.unwrap();
    assert_eq!(money.states(&created).await, [State::Payable; 2]);
    let forced: Vec<_> = journal(&money).await.into_iter().map(|(_, _, forced, _)| forced).collect();
    assert_eq!(forced, [false, true, false, true]);
}

/// A late receipt pays a cancelled instalment: the other option is out, and restoring it would ask for the same money again.
#[tokio::test]
async fn what_another_option_paid_is_not_restored() {
    let money = Money::start().await;
    let created = money.create(position("ref", &[&[10_000], &[5_000, 5_000]])).await;
    let [single, first, second] = numbers(&created).try_into().unwrap();
    cancel(&money, &created).await;
    assert_eq!(money.pay(vec![money.receipt("late", &first, 5_000)]).await, [ApplyOutcome::Case]);
    assert_eq!(money.states(&created).await, [State::Superseded, State::Paid, State::Cancelled]);
    let restored = restore(&money, &created, "", false).await.unwrap();
    assert_eq!(restored.state(), PositionState::PartiallyPaid);
    assert!(money.verify(&second).await.is_ok(), "the rest of that option is owed");
    assert_eq!(money.verify(&single).await.unwrap_err(), Refusal::Cancelled);
    let status = restore(&money, &created, &single, true).await.unwrap_err();
    assert!(refusal(&status).contains("is superseded cannot be restored"), "{status:?}");
}

/// A flow reports a cancelled instalment: the money came, whatever its state says.
#[tokio::test]
async fn what_a_flow_reports_is_not_restored() {
    let money = Money::start().await;
    let created = money.create(position("ref", &[&[5_000, 5_000]])).await;
    let [first, second] = numbers(&created).try_into().unwrap();
    cancel(&money, &created).await;
    sqlx::query(
        "insert into cases (institution_id, kind, key, id, nav, detail, opened_at)
         values ($1, 'flow_not_payable', 'k', gen_random_uuid(), $2, '{}', now())",
    )
    .bind(money.institution_id().await)
    .bind(&first)
    .execute(money.pool())
    .await
    .unwrap();
    let told = "a flow reports it as paid; resolve that case first (flow_not_payable), then restore it";
    assert_eq!(
        refusal(&restore(&money, &created, "", true).await.unwrap_err()),
        format!("position_id: {told}"),
        "force is about attempts alone"
    );
    assert_eq!(refusal(&restore(&money, &created, &first, false).await.unwrap_err()), format!("notice_number: {told}"));
    restore(&money, &created, &second, false).await.unwrap();
    sqlx::query("update cases set state = 3").execute(money.pool()).await.unwrap();
    restore(&money, &created, "", false).await.unwrap();
    assert_eq!(money.states(&created).await, [State::Payable; 2]);
}
