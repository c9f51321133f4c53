//! What a visitor of the portal sees of a notice.

use fiorino_proto::{
    config::v1::{ExpiryPolicy, LifecyclePhase},
    notices::v1::{NoticeState, ShowNoticeRequest, ShownNotice, display_server::Display as _},
    positions::v1::{CancelPositionRequest, positions_server::Positions as _},
};
use tonic::Request;

use crate::money::{CLIENT, Money, called, numbers, position};

async fn show(money: &Money, institution: &str, number: &str) -> Option<ShownNotice> {
    let request = ShowNoticeRequest { institution: institution.into(), notice_number: number.into() };
    money.replica.display.show_notice(Request::new(request)).await.unwrap().into_inner().notice
}

async fn state(money: &Money, number: &str) -> NoticeState {
    show(money, money.institution(), number).await.unwrap().state()
}

#[tokio::test]
async fn the_debt_as_it_is_now_without_its_debtor() {
    let mut money = Money::start().await;
    money.reconfigure(|manifest| manifest.spec.office_name = "Ufficio tributi".into()).await;
    let mut new = position("one", &[&[12_000]]);
    new.options[0].instalments[0].due_date = "2026-12-16".into();
    let number = numbers(&money.create(new).await).remove(0);
    let before = [money.count("activation").await, money.count("cases").await];
    let shown = show(&money, money.institution(), &number).await.unwrap();
    let expected = ShownNotice {
        institution_name: "Comune di Fontechiara".into(),
        office_name: "Ufficio tributi".into(),
        description: "TARI 2026".into(),
        amount_cents: 12_000,
        due_date: "2026-12-16".into(),
        state: NoticeState::Payable.into(),
        attempt_until: String::new(),
    };
    assert_eq!(shown, expected);
    let told = format!("{shown:?}");
    assert!(!told.contains("Rossi") && !told.contains("RSSMRA80A01H501U"), "{told}");
    assert_eq!([money.count("activation").await, money.count("cases").await], before, "looking leaves no trace");
}

#[tokio::test]
async fn every_state() {
    let mut money = Money::start().await;
    money
        .reconfigure(|manifest| manifest.services[0].expiry_policy = ExpiryPolicy::NotPayableAfterDueDate.into())
        .await;
    let mut due = position("due", &[&[700]]);
    due.options[0].instalments[0].due_date = "2026-11-24".into();
    let due = numbers(&money.create(due).await).remove(0);
    let options = numbers(&money.create(position("options", &[&[300], &[150, 150]])).await);
    let cancelled = money.create(position("cancelled", &[&[500]])).await;
    let request = CancelPositionRequest {
        institution: money.institution().into(),
        position_id: cancelled.position_id.clone(),
        ..CancelPositionRequest::default()
    };
    money.replica.positions.cancel_position(called(CLIENT, request)).await.unwrap();
    money.pay(vec![money.receipt("r", &options[0], 300)]).await;

    assert_eq!(state(&money, &due).await, NoticeState::Payable);
    assert_eq!(state(&money, &options[0]).await, NoticeState::Paid);
    assert_eq!(state(&money, &options[1]).await, NoticeState::Superseded);
    assert_eq!(state(&money, &numbers(&cancelled)[0]).await, NoticeState::Cancelled);
    // 23:59 in Rome, then the next day.
    money.time.set("2026-11-24T22:59:59Z".parse().unwrap());
    assert_eq!(state(&money, &due).await, NoticeState::Payable);
    money.time.set("2026-11-24T23:00:00Z".parse().unwrap());
    assert_eq!(state(&money, &due).await, NoticeState::Expired);
    let open = numbers(&money.create(position("open", &[&[900]])).await).remove(0);
    sqlx::query("update account_number set withdrawn = true").execute(money.pool()).await.unwrap();
    assert_eq!(state(&money, &open).await, NoticeState::Unavailable);
}

/// A draft, a number of nobody, another institution, nonsense, a closed institution: nobody learns which it was.
#[tokio::test]
async fn what_is_not_to_be_seen_is_told_in_one_way() {
    let mut money = Money::start().await;
    let mut draft = position("draft", &[&[500]]);
    draft.draft = true;
    let draft = numbers(&money.create(draft).await).remove(0);
    let open = numbers(&money.create(position("open", &[&[900]])).await).remove(0);
    let ours = money.institution().to_owned();
    for (institution, number) in [
        (ours.as_str(), draft.as_str()),
        (&ours, "312000000000471179"),
        (&ours, "nonsense"),
        (&ours, "x\0y"),
        ("00000000000", &open),
        ("\0", &open),
        ("", ""),
    ] {
        assert_eq!(show(&money, institution, number).await, None, "{institution:?} {number:?}");
    }
    assert!(show(&money, &ours, &open).await.is_some());
    money.reconfigure(|manifest| manifest.spec.phase = LifecyclePhase::Closed.into()).await;
    assert_eq!(show(&money, &ours, &open).await, None);
}

#[tokio::test]
async fn an_attempt_is_in_progress_as_long_as_its_token_or_until_it_is_paid() {
    let money = Money::start().await;
    let made = money.create(position("two", &[&[400], &[200, 200]])).await;
    let [first, second] = [&numbers(&made)[0], &numbers(&made)[1]].map(Clone::clone);
    let attempt = async |number: &str| show(&money, money.institution(), number).await.unwrap().attempt_until;
    money.activate(&first).await;
    money.activate(&second).await;
    money.advance(10);
    assert_eq!(attempt(&first).await, "2026-11-24T10:30:15Z");
    // A later attempt counts from its own beginning.
    money.activate(&second).await;
    assert_eq!(attempt(&second).await, "2026-11-24T10:40:15Z");
    money.pay(vec![money.receipt("r", &first, 400)]).await;
    assert_eq!(attempt(&first).await, "", "paid");
    money.advance(29);
    assert_eq!(attempt(&second).await, "2026-11-24T10:40:15Z", "superseded, but somebody may still be paying");
    money.advance(2);
    assert_eq!(attempt(&second).await, "", "over");
}
