//! A finding has one case; one that was resolved opens again when it is found again; somebody sees how old they are.

use fiorino_domain::case::CaseKind;
use fiorino_tenant::cases::{self, NewCase};
use futures::future::join_all;
use sqlx::Connection as _;

use crate::money::{Money, START};

fn case(kind: CaseKind, key: &str) -> NewCase {
    NewCase {
        institution_id: 1,
        kind,
        key: key.into(),
        nav: None,
        receipt_id: None,
        detail: serde_json::json!({}),
        opened_at: START.parse().unwrap(),
    }
}

async fn state(money: &Money, key: &str) -> i16 {
    sqlx::query_scalar("select state from cases where key = $1").bind(key).fetch_one(money.pool()).await.unwrap()
}

#[tokio::test]
async fn a_finding_has_one_case() {
    let money = Money::start().await;
    let mut connection = money.pool().acquire().await.unwrap();
    let both = [case(CaseKind::NoAccount, "b"), case(CaseKind::NoAccount, "a"), case(CaseKind::NoAccount, "b")];
    cases::open(&mut connection, &both).await.unwrap();
    cases::open(&mut connection, &both).await.unwrap();
    cases::open(&mut connection, &[]).await.unwrap();
    assert_eq!(money.count("cases").await, 2);
    cases::resolve(&mut connection, 1, CaseKind::NoAccount, "a").await.unwrap();
    cases::resolve(&mut connection, 1, CaseKind::NoAccount, "none").await.unwrap();
    assert_eq!((state(&money, "a").await, state(&money, "b").await), (3, 1));
    cases::open(&mut connection, &both).await.unwrap();
    assert_eq!((state(&money, "a").await, money.count("cases").await), (1, 2), "found again, open again");
}

/// Findings in opposite orders, at the same time, within transactions: no deadlock.
#[tokio::test]
async fn concurrent_findings_wait_for_each_other() {
    let money = Money::start().await;
    let opening = (0..8).map(|task: usize| {
        let mut found: Vec<_> = (0..30).map(|at| case(CaseKind::ReceiptDouble, &format!("k{at}"))).collect();
        if task.is_multiple_of(2) {
            found.reverse();
        }
        let url = money.database.url.clone();
        async move {
            let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
            cases::open(&mut connection, &found).await.unwrap();
        }
    });
    join_all(opening).await;
    assert_eq!(money.count("cases").await, 30);
}
