//! What is ordinary is no case; what was odd and is so no more is none any longer (ARCHITECTURE.md 4.5).

use fiorino_proto::{
    config::v1::Association,
    payments::v1::PaymentRecorded,
    receipts::v1::{ApplyOutcome, Receipt, ReceiptTransfer},
};
use fiorino_tenant::cases::resolve_ended;
use prost::Message as _;
use rstest::rstest;
use serde_json::{Value, json};

use crate::{
    fixture::ENVIRONMENT,
    manifest::{BROKER, Manifest, STATION},
    money::{Money, numbers, position},
};

/// (kind, key) of the cases that nobody has resolved.
async fn open(money: &Money) -> Vec<(String, String)> {
    sqlx::query_as("select kind, key from cases where state <> 3 order by kind, key")
        .fetch_all(money.pool())
        .await
        .unwrap()
}

fn named(cases: &[(&str, &str)]) -> Vec<(String, String)> {
    cases.iter().map(|(kind, key)| ((*kind).to_owned(), (*key).to_owned())).collect()
}

async fn told(money: &Money) -> Vec<PaymentRecorded> {
    let payloads: Vec<Vec<u8>> =
        sqlx::query_scalar("select payload from outbox order by id").fetch_all(money.pool()).await.unwrap();
    payloads.into_iter().map(|payload| PaymentRecorded::decode(payload.as_slice()).unwrap()).collect()
}

async fn ended(money: &Money) -> usize {
    resolve_ended(money.pool(), ENVIRONMENT, money.clock().now()).await.unwrap()
}

/// An institution that has code 12 here and a broadcast station, and another intermediary beside.
async fn broadcast() -> Money {
    let mut manifest = Manifest::new();
    manifest.spec.associations[0].broadcast = true;
    Money::with(manifest).await
}

const ELSEWHERE: &str = "307000000000000077";
const OURS: &str = "312000000000471179";

/// C2.1, F8: every payment of the other intermediary comes here as well.
#[tokio::test]
async fn what_another_intermediary_issued_is_a_payment_and_no_case() {
    let money = broadcast().await;
    let receipts =
        vec![money.receipt("a", ELSEWHERE, 1_000), money.receipt("b", ELSEWHERE, 1_000), money.receipt("c", OURS, 500)];
    let outcomes = money.pay(receipts).await;
    assert_eq!(outcomes, [ApplyOutcome::Applied, ApplyOutcome::Applied, ApplyOutcome::Case]);
    assert_eq!(
        open(&money).await,
        named(&[("receipt_unknown_notice", "c/1")]),
        "a number of ours that is not there is odd"
    );
    let events: Vec<_> = told(&money)
        .await
        .into_iter()
        .map(|event| (event.issued_elsewhere, event.amount_cents, event.position_id))
        .collect();
    let none = String::new;
    assert_eq!(events, [(true, Some(1_000), none()), (true, Some(1_000), none()), (false, Some(500), none())]);
    let marked: Vec<(String, bool)> = sqlx::query_as("select receipt_id, issued_elsewhere from receipt order by 1")
        .fetch_all(money.pool())
        .await
        .unwrap();
    assert_eq!(marked, [("a".to_owned(), true), ("b".to_owned(), true), ("c".to_owned(), false)]);
}

/// Without broadcast nobody has a reason to send it; what does not add up is odd wherever it was issued.
#[tokio::test]
async fn a_number_of_nobody_is_a_case() {
    let money = Money::with(Manifest::new()).await;
    assert_eq!(money.pay(vec![money.receipt("a", ELSEWHERE, 1_000)]).await, [ApplyOutcome::Case]);
    assert_eq!(open(&money).await, named(&[("receipt_unknown_notice", "a/1")]));
    let money = broadcast().await;
    let transfer = ReceiptTransfer {
        id: 1,
        amount_cents: Some(999),
        beneficiary: money.institution().into(),
        ..ReceiptTransfer::default()
    };
    let odd = Receipt { transfers: vec![transfer], ..money.receipt("b", ELSEWHERE, 1_000) };
    assert_eq!(money.pay(vec![odd, money.receipt("c", "no number", 1_000)]).await, [ApplyOutcome::Case; 2]);
    assert_eq!(open(&money).await, named(&[("receipt_transfers_differ", "b/1"), ("receipt_unknown_notice", "c/1")]));
}

/// A code that is only accepted here is ours as well.
#[tokio::test]
async fn an_accepted_code_is_ours() {
    let mut manifest = Manifest::new();
    manifest.spec.associations[0].broadcast = true;
    manifest.spec.associations.push(Association {
        code: "07".into(),
        state: fiorino_proto::config::v1::AssociationState::AcceptingOnly.into(),
        ..manifest.spec.associations[0].clone()
    });
    let money = Money::with(manifest).await;
    assert_eq!(money.pay(vec![money.receipt("a", ELSEWHERE, 1_000)]).await, [ApplyOutcome::Case]);
}

/// C2.2: the inbox knows the present alone; tenant knows what belonged to each other.
#[rstest]
#[case::as_it_is(None, BROKER, 0)]
#[case::it_was_removed(Some("update association set removed = true"), BROKER, 0)]
#[case::a_peer_of_before(Some("update association set removed = true"), "", 0)]
#[case::another_broker(None, "99999999999", 1)]
#[case::it_never_was(Some("delete from association"), BROKER, 1)]
#[tokio::test]
async fn an_association_that_was_is_one(
    #[case] change: Option<&'static str>,
    #[case] broker: &str,
    #[case] odd: usize,
) {
    let money = Money::start().await;
    let created = money.create(position("ref", &[&[10_000]])).await;
    if let Some(change) = change {
        sqlx::query(change).execute(money.pool()).await.unwrap();
    }
    let receipt = Receipt {
        findings: vec!["receipt_not_associated".into()],
        broker: broker.into(),
        ..money.receipt("r", &numbers(&created)[0], 10_000)
    };
    let outcome = if odd == 0 { ApplyOutcome::Applied } else { ApplyOutcome::Case };
    assert_eq!(money.pay(vec![receipt]).await, [outcome]);
    let details: Vec<Value> = sqlx::query_scalar("select detail from cases").fetch_all(money.pool()).await.unwrap();
    assert_eq!(details, vec![json!({ "broker": broker, "station": STATION }); odd]);
}

/// F8: nothing for us of what somebody else issued is no payment of zero.
#[tokio::test]
async fn a_strangers_receipt_without_a_share_is_a_case_and_no_payment() {
    let money = Money::start().await;
    let issuer = "80001234567";
    let transfer = |beneficiary: &str| ReceiptTransfer {
        id: 1,
        amount_cents: Some(500),
        beneficiary: beneficiary.into(),
        ..ReceiptTransfer::default()
    };
    let of = |id: &str, beneficiary: &str| Receipt {
        issuer: issuer.into(),
        transfers: vec![transfer(beneficiary)],
        ..money.receipt(id, OURS, 500)
    };
    let outcomes = money.pay(vec![of("nothing", issuer), of("share", money.institution())]).await;
    assert_eq!(outcomes, [ApplyOutcome::Case, ApplyOutcome::Beneficiary]);
    assert_eq!(open(&money).await, named(&[("receipt_no_share", "nothing/1")]));
    assert_eq!(told(&money).await.into_iter().map(|event| event.receipt_id).collect::<Vec<_>>(), ["share"]);
    assert_eq!(money.count("receipt").await, 2, "both are kept");
}

/// A share whose amount cannot be read is not told as zero.
#[tokio::test]
async fn a_share_that_cannot_be_read_is_untold() {
    let money = Money::start().await;
    let transfer = |id, cents| ReceiptTransfer {
        id,
        amount_cents: cents,
        beneficiary: money.institution().into(),
        ..ReceiptTransfer::default()
    };
    let receipt = Receipt {
        issuer: "80001234567".into(),
        transfers: vec![transfer(1, Some(300)), transfer(2, None)],
        findings: vec!["receipt_schema".into()],
        ..money.receipt("r", OURS, 500)
    };
    assert_eq!(money.pay(vec![receipt]).await, [ApplyOutcome::Beneficiary]);
    let event = told(&money).await.remove(0);
    assert_eq!(
        (event.amount_cents, event.transfers[0].amount_cents, event.transfers[1].amount_cents),
        (None, Some(300), None)
    );
}

/// C1: nobody needs to look any more.
#[tokio::test]
async fn a_case_ends_with_its_cause_and_no_other() {
    let money = Money::start().await;
    let created = money.create(position("ref", &[&[10_000]])).await;
    let number = numbers(&created).remove(0);
    sqlx::query("update account_number set withdrawn = true where account = 'tesoreria'")
        .execute(money.pool())
        .await
        .unwrap();
    money.activate(&number).await;
    let no_account = named(&[("no_account", "tesoreria")]);
    assert_eq!((open(&money).await, ended(&money).await), (no_account.clone(), 0), "the cause is still there");
    sqlx::query("update account_number set withdrawn = false").execute(money.pool()).await.unwrap();
    money.pay(vec![money.receipt("r1", &number, 10_000), money.receipt("r2", &number, 10_000)]).await;
    assert_eq!(ended(&money).await, 1);
    assert_eq!(open(&money).await, named(&[("receipt_double", "r2")]));
    assert_eq!(ended(&money).await, 0);
}

#[tokio::test]
async fn cases_of_receipts_end_when_they_find_their_place() {
    let money = Money::start().await;
    let unassociated = Receipt {
        findings: vec!["receipt_not_associated".into()],
        station_id: "15376371009_09".into(),
        broker: BROKER.into(),
        ..money.receipt("moved", OURS, 500)
    };
    let refused = Receipt { findings: vec!["addressee_never_ours".into()], ..money.receipt("never", OURS, 500) };
    money.pay(vec![unassociated, refused]).await;
    let trap = "create function trap() returns trigger language plpgsql as $$ begin raise exception 'trapped'; end $$;
        create trigger trap before insert on receipt for each row execute function trap()";
    sqlx::raw_sql(trap).execute(money.pool()).await.unwrap();
    let poison = [money.receipt("poison", OURS, 500), money.receipt("poison too", OURS, 500)];
    money.pay(poison.to_vec()).await;
    sqlx::raw_sql("drop trigger trap on receipt").execute(money.pool()).await.unwrap();
    let before = open(&money).await;
    assert_eq!(ended(&money).await, 0, "{before:?}");

    // The station is associated, the notice is loaded and paid by what came before it, the receipts are applied after all.
    let statements = "
        insert into station (station_id, uid, broker_fiscal_code, primitive_version, config_seq)
        select '15376371009_09', 'u', broker_fiscal_code, primitive_version, config_seq from station;
        insert into association (institution_id, station_id, aux_digit, code, nav_prefix, issuing, broadcast)
        select institution_id, '15376371009_09', 3, '44', nav_prefix, false, false from association limit 1";
    sqlx::raw_sql(statements).execute(money.pool()).await.unwrap();
    money.pay(poison[..1].to_vec()).await;
    let again = Receipt { version: 2, ..money.receipt("never", OURS, 500) };
    money.pay(vec![again]).await;
    let created = money.create(position("ref", &[&[500]])).await;
    sqlx::query("update notice set nav = $1, state = 3, receipt_id = 'moved' where nav = $2")
        .bind(OURS)
        .bind(&numbers(&created)[0])
        .execute(money.pool())
        .await
        .unwrap();
    assert_eq!(ended(&money).await, 4);
    let institution = money.institution();
    let left = [
        ("message_poison", format!("{institution}/poison too/1")),
        ("receipt_unknown_notice", "never/2".to_owned()),
        ("receipt_unknown_notice", "poison/1".to_owned()),
    ];
    assert_eq!(open(&money).await, left.map(|(kind, key)| (kind.to_owned(), key)));
}
