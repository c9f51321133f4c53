//! Publish, change, cancel: what the state, the version and an open attempt to pay allow.

use fiorino_proto::{
    config::v1::LifecyclePhase,
    positions::v1::{
        CancelPositionRequest, InstalmentState, Position, PositionState, PublishPositionRequest,
        UpdateInstalmentRequest, positions_server::Positions as _,
    },
};
use rstest::rstest;
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::{
    fixture::violations,
    money::{Money, called, numbers, position},
};

async fn update(money: &Money, change: UpdateInstalmentRequest) -> Result<Position, Status> {
    let request = UpdateInstalmentRequest { institution: money.institution().into(), ..change };
    let response = money.replica.positions.update_instalment(called("maria", request)).await?;
    Ok(response.into_inner().position.unwrap())
}

async fn publish(money: &Money, position: &Position) -> Result<Position, Status> {
    let request =
        PublishPositionRequest { institution: money.institution().into(), position_id: position.position_id.clone() };
    let response = money.replica.positions.publish_position(called("maria", request)).await?;
    Ok(response.into_inner().position.unwrap())
}

async fn cancel(money: &Money, position: &Position, force: bool) -> Result<Position, Status> {
    let position_id = position.position_id.clone();
    let request = CancelPositionRequest { institution: money.institution().into(), position_id, force };
    let response = money.replica.positions.cancel_position(called("maria", request)).await?;
    Ok(response.into_inner().position.unwrap())
}

/// (actor, action, nav, forced, detail) of what was recorded.
async fn journal(money: &Money) -> Vec<(String, String, Option<String>, bool, Value)> {
    sqlx::query_as("select actor, action, nav, forced, detail from position_change order by id")
        .fetch_all(money.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_draft_becomes_payable_when_it_is_published() {
    let mut money = Money::start().await;
    let mut new = position("draft", &[&[10_000], &[5_000, 5_000]]);
    new.draft = true;
    let draft = money.create(new).await;
    assert_eq!((draft.state(), money.states(&draft).await), (PositionState::Draft, vec![InstalmentState::Draft; 3]));
    money.advance(24 * 60);
    let published = publish(&money, &draft).await.unwrap();
    assert_eq!(published.state(), PositionState::Open);
    let notice = money.verify(&numbers(&draft)[0]).await.unwrap();
    assert_eq!(notice.issued_on, "2026-11-25", "issued on the day on which the debtor can know of it");
    let again = publish(&money, &draft).await.unwrap();
    assert_eq!(again, published, "a repetition changes nothing");
    assert_eq!(journal(&money).await, [("maria".into(), "published".into(), None, false, json!({ "notices": 3 }))]);
    let other = money
        .create({
            let mut new = position("later", &[&[1_000]]);
            new.draft = true;
            new
        })
        .await;
    money.reconfigure(|manifest| manifest.spec.phase = LifecyclePhase::Suspended.into()).await;
    let status = publish(&money, &other).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(violations(&status)[0].contains("is suspended"), "{status:?}");
}

#[tokio::test]
async fn a_change_divides_the_amount_anew_and_counts_the_version() {
    let money = Money::start().await;
    let created = money.create(position("ref", &[&[10_000]])).await;
    let notice_number = numbers(&created).remove(0);
    let change = UpdateInstalmentRequest {
        notice_number: notice_number.clone(),
        version: 1,
        amount_cents: Some(20_000),
        due_date: Some("2027-01-31".into()),
        description: Some("TARI 2026, ricalcolo".into()),
        ..UpdateInstalmentRequest::default()
    };
    let changed = update(&money, change.clone()).await.unwrap();
    let instalment = &changed.options[0].instalments[0];
    assert_eq!((instalment.version, instalment.amount_cents, instalment.due_date.as_str()), (2, 20_000, "2027-01-31"));
    assert_eq!(instalment.transfers.iter().map(|t| t.amount_cents).collect::<Vec<_>>(), [19_000, 1_000]);
    assert_eq!(instalment.transfers[0].remittance, "TARI 2026, ricalcolo");
    assert_eq!(money.verify(&notice_number).await.unwrap().amount_cents, 20_000);
    let status = update(&money, change.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(violations(&status), ["version: is 1, the instalment has 2; read it again and decide anew"]);
    let without = update(
        &money,
        UpdateInstalmentRequest {
            version: 2,
            due_date: Some(String::new()),
            amount_cents: None,
            description: None,
            ..change
        },
    )
    .await;
    assert_eq!(without.unwrap().options[0].instalments[0].due_date, "");
    let (actor, action, nav, forced, detail) = journal(&money).await.remove(0);
    assert_eq!((actor.as_str(), action.as_str(), nav, forced), ("maria", "changed", Some(notice_number), false));
    assert_eq!(detail["amount_cents"], json!([10_000, 20_000]));
    assert_eq!(detail["due_date"], json!([null, "2027-01-31"]));
}

/// 30 minutes from the activation, to the second (ARCHITECTURE.md 4.3).
#[tokio::test]
async fn during_an_attempt_to_pay_a_change_needs_force() {
    let money = Money::start().await;
    let created = money.create(position("ref", &[&[10_000], &[5_000, 5_000]])).await;
    let numbers = numbers(&created);
    money.activate(&numbers[0]).await;
    assert_eq!(money.again(&created).await.options[0].instalments[0].attempt_until, "2026-11-24T10:30:00Z");
    money.advance(29);
    let change = |notice: usize, force| UpdateInstalmentRequest {
        notice_number: numbers[notice].clone(),
        version: 1,
        description: Some("TARI".into()),
        force,
        ..UpdateInstalmentRequest::default()
    };
    let expect = "force: somebody may be paying until 2026-11-24T10:30:00Z; wait, or send force";
    for status in
        [update(&money, change(0, false)).await.unwrap_err(), cancel(&money, &created, false).await.unwrap_err()]
    {
        assert_eq!((status.code(), violations(&status)), (Code::FailedPrecondition, vec![expect.to_owned()]));
    }
    assert!(update(&money, change(1, false)).await.is_ok(), "nobody pays that one");
    assert!(update(&money, change(0, true)).await.is_ok());
    assert_eq!(journal(&money).await.iter().map(|entry| entry.3).collect::<Vec<_>>(), [false, true]);
    money.advance(1);
    assert_eq!(money.again(&created).await.options[0].instalments[0].attempt_until, "");
    assert_eq!(cancel(&money, &created, false).await.unwrap().state(), PositionState::Cancelled);
    assert!(!journal(&money).await[2].3);
}

#[tokio::test]
async fn cancelling_takes_what_is_open() {
    let money = Money::start().await;
    let created = money.create(position("ref", &[&[5_000, 5_000]])).await;
    let numbers = numbers(&created);
    money.pay(vec![money.receipt("r", &numbers[0], 5_000)]).await;
    let cancelled = cancel(&money, &created, false).await.unwrap();
    assert_eq!(cancelled.state(), PositionState::Paid, "what was paid stays, nothing is open");
    assert_eq!(money.states(&created).await, [InstalmentState::Paid, InstalmentState::Cancelled]);
    assert!(cancel(&money, &created, false).await.is_ok(), "a repetition changes nothing");
    assert_eq!(journal(&money).await.len(), 1);
    let paid = money.create(position("paid", &[&[700]])).await;
    money.pay(vec![money.receipt("s", &crate::money::numbers(&paid)[0], 700)]).await;
    let status = cancel(&money, &paid, true).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(
        violations(&status),
        ["position_id: an instalment that is paid cannot be cancelled; nothing of this position is open"]
    );
}

#[rstest]
#[case(UpdateInstalmentRequest { amount_cents: Some(0), ..Default::default() }, "amount_cents: must be above zero; send whole cents")]
#[case(UpdateInstalmentRequest { due_date: Some("soon".into()), ..Default::default() }, "due_date: a date is written YYYY-MM-DD and exists in the calendar; leave it empty for none")]
#[case(UpdateInstalmentRequest { description: Some(String::new()), ..Default::default() }, "description: must not be empty; send 1 to 140 characters")]
#[case(UpdateInstalmentRequest { description: Some("rssmra80a01h501u".into()), ..Default::default() }, "description: must not hold the debtor's fiscal code: it travels to the payer; leave it out")]
#[case(
    UpdateInstalmentRequest::default(),
    "amount_cents: nothing is to be changed; send amount_cents, transfers, due_date or description"
)]
#[case(UpdateInstalmentRequest { notice_number: "3".into(), ..Default::default() }, "notice_number: a notice number is 18 digits; send it as it was answered")]
#[tokio::test]
async fn refused_changes(#[case] change: UpdateInstalmentRequest, #[case] expect: &str) {
    let money = Money::start().await;
    let created = money.create(position("ref", &[&[10_000]])).await;
    let mut request = UpdateInstalmentRequest { version: 1, ..change };
    if request.notice_number.is_empty() {
        request.notice_number = numbers(&created).remove(0);
    }
    let status = update(&money, request).await.unwrap_err();
    assert_eq!((status.code(), violations(&status)), (Code::InvalidArgument, vec![expect.to_owned()]));
    assert_eq!(money.again(&created).await, created);
}

#[tokio::test]
async fn closed_instalments_do_not_change() {
    let money = Money::start().await;
    let created = money.create(position("ref", &[&[10_000]])).await;
    let notice_number = numbers(&created).remove(0);
    cancel(&money, &created, false).await.unwrap();
    let amount_cents = Some(1);
    let request =
        UpdateInstalmentRequest { notice_number, version: 2, amount_cents, ..UpdateInstalmentRequest::default() };
    let status = update(&money, request).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(
        violations(&status),
        ["notice_number: an instalment that is cancelled cannot be changed; create a new position"]
    );
    for status in [
        publish(&money, &created).await.unwrap_err(),
        publish(&money, &Position { position_id: uuid::Uuid::nil().to_string(), ..created }).await.unwrap_err(),
    ] {
        assert!(matches!(status.code(), Code::FailedPrecondition | Code::NotFound));
        assert!(violations(&status)[0].starts_with("position_id: "), "{status:?}");
    }
}
