//! What was paid beside what was answered, and what of it can be read (ARCHITECTURE.md 4.3, 4.5).

use fiorino_proto::{
    notices::v1::{Transfer, activate_reply::Reply},
    payments::v1::PaymentRecorded,
    positions::v1::InstalmentState::Paid,
    receipts::v1::{ApplyOutcome, Receipt, ReceiptTransfer, SchemaViolation},
};
use prost::Message as _;
use rstest::rstest;
use serde_json::{Value, json};

use crate::{
    manifest::IBAN_LATER,
    money::{Money, numbers, position},
};

/// (kind, key, detail) of every case.
async fn cases(money: &Money) -> Vec<(String, String, Value)> {
    sqlx::query_as("select kind, key, detail from cases order by kind, key").fetch_all(money.pool()).await.unwrap()
}

/// What is told of payments, in order.
async fn told(money: &Money) -> Vec<PaymentRecorded> {
    let payloads: Vec<Vec<u8>> =
        sqlx::query_scalar("select payload from outbox order by id").fetch_all(money.pool()).await.unwrap();
    payloads.into_iter().map(|payload| PaymentRecorded::decode(payload.as_slice()).unwrap()).collect()
}

/// The amounts of a payment: total, and of each transfer.
fn amounts(event: &PaymentRecorded) -> (Option<i64>, Vec<Option<i64>>) {
    (event.amount_cents, event.transfers.iter().map(|transfer| transfer.amount_cents).collect())
}

/// A receipt of exactly what was answered.
async fn of_activation(money: &Money, receipt_id: &str, number: &str) -> Receipt {
    let Reply::Activated(activated) = money.activate(number).await else { panic!("not payable") };
    let paid = |it: Transfer| ReceiptTransfer {
        id: it.id,
        amount_cents: Some(it.amount_cents),
        beneficiary: it.beneficiary,
        iban: it.iban,
        remittance: it.remittance,
        taxonomy_code: it.taxonomy_code,
        stamp: false,
    };
    let cents = activated.notice.unwrap().amount_cents;
    Receipt {
        transfers: activated.transfers.into_iter().map(paid).collect(),
        ..money.receipt(receipt_id, number, cents)
    }
}

/// F1: 100.00, of which the province has 5.00; whatever the receipt says, the debt is paid.
#[rstest]
#[case::as_answered(|_: &mut Receipt| (), &[])]
#[case::in_another_order(|it: &mut Receipt| it.transfers.reverse(), &[])]
#[case::other_texts(
    |it: &mut Receipt| {
        it.transfers[0].remittance = "altro".into();
        it.transfers[0].taxonomy_code = "9/0000000XX/".into();
        it.description = "altro".into();
        it.psp_name = "altro".into();
    },
    &[]
)]
#[case::another_account(|it: &mut Receipt| it.transfers[0].iban = IBAN_LATER.into(), &["account"])]
#[case::another_beneficiary(|it: &mut Receipt| it.transfers[0].beneficiary = "80190000770".into(), &["beneficiary"])]
#[case::less(|it: &mut Receipt| it.transfers[0].amount_cents = Some(9_400), &["amount", "sum"])]
#[case::more(
    |it: &mut Receipt| {
        let more = ReceiptTransfer { id: 3, amount_cents: Some(1), ..it.transfers[0].clone() };
        it.transfers.push(more);
    },
    &["transfers", "sum"]
)]
#[case::all_to_the_issuer(
    |it: &mut Receipt| {
        it.transfers.truncate(1);
        it.transfers[0].amount_cents = Some(10_000);
    },
    &["transfers", "amount"]
)]
#[case::another_split(
    |it: &mut Receipt| {
        it.transfers[0].amount_cents = Some(5_000);
        it.transfers[1].amount_cents = Some(5_000);
    },
    &["amount"]
)]
#[case::another_reference(|it: &mut Receipt| it.iuv = "12000000000471170".into(), &["reference"])]
#[tokio::test]
async fn what_was_paid_is_compared_with_what_was_answered(#[case] spoil: fn(&mut Receipt), #[case] differs: &[&str]) {
    let money = Money::start().await;
    let created = money.create(position("ref", &[&[10_000]])).await;
    let mut receipt = of_activation(&money, "r", &numbers(&created)[0]).await;
    assert_eq!(receipt.transfers.len(), 2);
    spoil(&mut receipt);
    let outcome = if differs.is_empty() { ApplyOutcome::Applied } else { ApplyOutcome::Case };
    assert_eq!(money.pay(vec![receipt.clone()]).await, [outcome]);
    assert_eq!(money.states(&created).await, [Paid]);
    let found = cases(&money).await;
    if differs.is_empty() {
        assert_eq!(found, []);
    } else {
        let (kind, key, detail) = &found[0];
        assert_eq!((found.len(), kind.as_str(), key.as_str()), (1, "receipt_transfers_differ", "r/1"));
        assert_eq!(detail["differs"], json!(differs));
        assert!(!detail.to_string().contains("IT"), "no account number: {detail}");
    }
    assert_eq!(told(&money).await[0].transfers.len(), receipt.transfers.len(), "told as it was paid");
}

/// The latest attempt before the receipt counts; without one the receipt is compared with itself.
#[tokio::test]
async fn without_an_attempt_a_receipt_is_compared_with_itself() {
    let money = Money::start().await;
    let created = money.create(position("ref", &[&[10_000]])).await;
    let number = numbers(&created).remove(0);
    let transfer = |cents| ReceiptTransfer {
        id: 1,
        amount_cents: Some(cents),
        beneficiary: money.institution().into(),
        ..ReceiptTransfer::default()
    };
    let right = Receipt { transfers: vec![transfer(10_000)], ..money.receipt("right", &number, 10_000) };
    assert_eq!(money.pay(vec![right]).await, [ApplyOutcome::Applied]);
    let other = money.create(position("other", &[&[10_000]])).await;
    let odd = Receipt {
        iuv: "12000000000471170".into(),
        transfers: vec![transfer(9_999)],
        ..money.receipt("odd", &numbers(&other)[0], 10_000)
    };
    assert_eq!(money.pay(vec![odd]).await, [ApplyOutcome::Case]);
    let found = cases(&money).await;
    assert_eq!((found.len(), &found[0].2), (1, &json!({ "differs": ["sum", "reference"], "transfers": [] })));
}

/// A5: an account that changes between two attempts.
#[tokio::test]
async fn the_latest_attempt_before_the_receipt_counts() {
    let money = Money::start().await;
    let created = money.create(position("ref", &[&[10_000]])).await;
    let number = numbers(&created).remove(0);
    let first = of_activation(&money, "first", &number).await;
    money.advance(1);
    sqlx::query("update account_number set iban = $1 where account = 'tesoreria'")
        .bind(IBAN_LATER)
        .execute(money.pool())
        .await
        .unwrap();
    let mut second = of_activation(&money, "second", &number).await;
    assert_ne!(first.transfers[0].iban, second.transfers[0].iban);
    assert_eq!(money.pay(vec![first.clone()]).await, [ApplyOutcome::Applied], "received before the second attempt");
    second.transfers[0].iban.clone_from(&first.transfers[0].iban);
    money.pay(vec![second]).await;
    let kinds: Vec<_> = cases(&money).await.into_iter().map(|(kind, ..)| kind).collect();
    assert_eq!(kinds, ["receipt_double", "receipt_transfers_differ"]);
}

fn schema(field: &str, rule: &str) -> Vec<SchemaViolation> {
    vec![SchemaViolation { field: field.into(), rule: rule.into() }]
}

/// F2: not told is not zero; payments say what the attempt was answered, and the case that nobody could read it.
#[tokio::test]
async fn an_amount_that_cannot_be_read_is_not_zero() {
    let money = Money::start().await;
    let created = money.create(position("ref", &[&[10_000]])).await;
    let mut receipt = of_activation(&money, "r", &numbers(&created)[0]).await;
    receipt.amount_cents = None;
    receipt.transfers[0].amount_cents = None;
    receipt.findings = vec!["receipt_schema".into()];
    receipt.violations = schema("receipt.paymentAmount", "amount");
    assert_eq!(money.pay(vec![receipt]).await, [ApplyOutcome::Case]);
    assert_eq!(money.states(&created).await, [Paid]);
    let detail = json!({
        "violations": [{ "field": "receipt.paymentAmount", "rule": "amount" }], "amount": "the amount could not be read",
    });
    assert_eq!(cases(&money).await, [("receipt_schema".to_owned(), "r/1".to_owned(), detail)]);
    assert_eq!(amounts(&told(&money).await[0]), (Some(10_000), vec![Some(9_500), Some(500)]));
    let (cents, transfers): (Option<i64>, Value) =
        sqlx::query_as("select amount_cents, content->'transfers' from receipt").fetch_one(money.pool()).await.unwrap();
    assert_eq!((cents, transfers[0].get("cents"), &transfers[1]["cents"]), (None, None, &json!(500)), "as it came");
}

/// Without an attempt nobody knows, and nothing is made up; a real zero is told as one.
#[rstest]
#[case(None)]
#[case(Some(0))]
#[tokio::test]
async fn without_an_attempt_an_untold_amount_stays_untold(#[case] cents: Option<i64>) {
    let money = Money::start().await;
    let created = money.create(position("ref", &[&[10_000]])).await;
    let transfer = ReceiptTransfer {
        id: 1,
        amount_cents: cents,
        beneficiary: money.institution().into(),
        ..ReceiptTransfer::default()
    };
    let receipt = Receipt {
        amount_cents: cents,
        transfers: vec![transfer],
        findings: vec!["receipt_schema".into()],
        ..money.receipt("r", &numbers(&created)[0], 0)
    };
    money.pay(vec![receipt]).await;
    assert_eq!(amounts(&told(&money).await[0]), (cents, vec![cents]));
    let stored: Option<i64> =
        sqlx::query_scalar("select amount_cents from receipt").fetch_one(money.pool()).await.unwrap();
    assert_eq!(stored, cents);
    let kinds: Vec<_> = cases(&money).await.into_iter().map(|(kind, ..)| kind).collect();
    let expected: &[&str] =
        if cents.is_none() { &["receipt_schema"] } else { &["receipt_amount_differs", "receipt_schema"] };
    assert_eq!(kinds, expected, "what is not told differs from nothing");
}

/// An inbox of before tells neither violations nor that an amount is absent.
#[tokio::test]
async fn an_older_inbox_is_understood() {
    let money = Money::start().await;
    let created = money.create(position("ref", &[&[10_000]])).await;
    let receipt = Receipt { amount_cents: None, ..money.receipt("r", &numbers(&created)[0], 0) };
    money.pay(vec![Receipt { findings: vec!["receipt_schema".into()], ..receipt }]).await;
    let (_, _, detail) = cases(&money).await.remove(0);
    assert_eq!(detail["violations"], json!([]));
    assert!(detail["note"].as_str().unwrap().contains("older version"), "{detail}");
    assert_eq!(detail["amount"], json!("the amount could not be read"));
}

/// Receipts of one id: what becomes of each, and of the cases.
async fn pay(money: &Money, receipts: Vec<Receipt>, together: bool) -> Vec<ApplyOutcome> {
    if together {
        return money.pay(receipts).await;
    }
    let mut outcomes = Vec::new();
    for receipt in receipts {
        outcomes.extend(money.pay(vec![receipt]).await);
    }
    outcomes
}

fn version(receipt: &Receipt, version: u32) -> Receipt {
    Receipt {
        version,
        content_hash: vec![u8::try_from(version).unwrap(); 32].into(),
        findings: vec!["receipt_version".into()],
        ..receipt.clone()
    }
}

/// A6: who works the list refunds a double payment once.
#[rstest]
#[tokio::test]
async fn a_further_version_of_a_double_payment_is_a_version_alone(#[values(false, true)] together: bool) {
    let money = Money::start().await;
    let created = money.create(position("ref", &[&[10_000]])).await;
    let number = numbers(&created).remove(0);
    let second = money.receipt("r2", &number, 10_000);
    let changed = Receipt { psp_name: "altra".into(), ..version(&second, 2) };
    let outcomes = pay(&money, vec![money.receipt("r1", &number, 10_000), second, changed], together).await;
    assert_eq!(outcomes, [ApplyOutcome::Applied, ApplyOutcome::Case, ApplyOutcome::Case]);
    let expected = [
        ("receipt_double".to_owned(), "r2".to_owned(), json!({ "amount_cents": 10_000 })),
        (
            "receipt_version".to_owned(),
            "r2/2".to_owned(),
            json!({ "version": 2, "others": [1], "amount_cents": 10_000 }),
        ),
    ];
    assert_eq!(cases(&money).await, expected);
    let versions: Vec<_> = told(&money).await.into_iter().map(|event| (event.receipt_id, event.version)).collect();
    assert_eq!(versions, [("r1".to_owned(), 1), ("r2".to_owned(), 1), ("r2".to_owned(), 2)]);
}

/// The same of a receipt that came late, or for a notice that nobody knows, or with another amount: what a version changes, its case says.
#[tokio::test]
async fn a_further_version_never_doubles_a_case() {
    let money = Money::start().await;
    let created = money.create(position("ref", &[&[10_000], &[10_500]])).await;
    let numbers = numbers(&created);
    money.pay(vec![money.receipt("first", &numbers[0], 10_000)]).await;
    let late = money.receipt("late", &numbers[1], 10_500);
    let unknown = money.receipt("unknown", "312000000000471179", 500);
    let more = Receipt { amount_cents: Some(10_600), ..version(&late, 2) };
    let refused = Receipt { outcome: "KO".into(), ..version(&late, 3) };
    money.pay(vec![late.clone(), more, refused, unknown.clone(), version(&unknown, 2)]).await;
    let found: Vec<_> = cases(&money).await;
    let keys: Vec<_> = found.iter().map(|(kind, key, _)| (kind.as_str(), key.as_str())).collect();
    let expected = [
        ("receipt_late", "late"),
        ("receipt_unknown_notice", "unknown/1"),
        ("receipt_version", "late/2"),
        ("receipt_version", "late/3"),
        ("receipt_version", "unknown/2"),
    ];
    assert_eq!(keys, expected);
    assert_eq!(found[2].2, json!({ "version": 2, "others": [1], "amount_cents": 10_600, "expected_cents": 10_500 }));
    assert_eq!(found[3].2["outcome"], json!("KO"));
}

/// A version that told of no payment has not counted: the one that does, counts.
#[tokio::test]
async fn after_a_version_that_paid_nothing_the_next_one_pays() {
    let money = Money::start().await;
    let created = money.create(position("ref", &[&[10_000]])).await;
    let number = numbers(&created).remove(0);
    let refused = Receipt { outcome: "KO".into(), ..money.receipt("r", &number, 10_000) };
    let paid = version(&money.receipt("r", &number, 10_000), 2);
    money.pay(vec![refused]).await;
    money.pay(vec![paid]).await;
    assert_eq!(money.states(&created).await, [Paid]);
    let kinds: Vec<_> = cases(&money).await.into_iter().map(|(kind, key, _)| (kind, key)).collect();
    let expected = [("receipt_outcome", "r/1"), ("receipt_version", "r/2")];
    assert_eq!(kinds, expected.map(|(kind, key)| (kind.to_owned(), key.to_owned())));
}

/// A version that names another notice: that is not asked for again either, and a person decides.
#[tokio::test]
async fn a_version_of_another_notice_pays_it_and_is_a_version_alone() {
    let money = Money::start().await;
    let created = money.create(position("ref", &[&[10_000, 10_000]])).await;
    let numbers = numbers(&created);
    money.pay(vec![money.receipt("r", &numbers[0], 10_000)]).await;
    money.pay(vec![version(&money.receipt("r", &numbers[1], 10_000), 2)]).await;
    assert_eq!(money.states(&created).await, [Paid, Paid]);
    let found = cases(&money).await;
    assert_eq!(
        (found.len(), found[0].0.as_str(), &found[0].2["notice"]),
        (1, "receipt_version", &json!("another than before"))
    );
}

/// F2: a right receipt, then the same one with an amount that nobody can read: payments go on showing the one that was told.
#[rstest]
#[tokio::test]
async fn an_earlier_versions_amount_stands_on(#[values(false, true)] together: bool) {
    let money = Money::start().await;
    let created = money.create(position("ref", &[&[1_000]])).await;
    let transfer = |cents| ReceiptTransfer {
        id: 1,
        amount_cents: cents,
        beneficiary: money.institution().into(),
        ..ReceiptTransfer::default()
    };
    let first = Receipt { transfers: vec![transfer(Some(1_000))], ..money.receipt("r", &numbers(&created)[0], 1_000) };
    let unread = Receipt { amount_cents: None, transfers: vec![transfer(None)], ..version(&first, 2) };
    pay(&money, vec![first, unread], together).await;
    let events = told(&money).await;
    assert_eq!((events[1].version, amounts(&events[1])), (2, (Some(1_000), vec![Some(1_000)])));
}
