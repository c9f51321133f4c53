//! A finding has one case; one that was resolved opens again when it is found again; people see, take and end them.

use fiorino_domain::case::CaseKind;
use fiorino_proto::{
    cases::v1::{
        AssignCaseRequest, GetCaseRequest, ListCasesRequest, ResolveCaseRequest, ResolveCasesRequest,
        cases_client::CasesClient,
    },
    common::v1::{CaseAction, CaseState},
    config::v1::MarkUnmanagedRequest,
};
use fiorino_tenant::cases::{self, NewCase};
use futures::future::join_all;
use sqlx::Connection as _;

use crate::{
    fixture::{ENVIRONMENT, PLATFORM, Tenant},
    manifest::Manifest,
    money::{Money, START},
};

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

/// What happened to a case, newest first.
async fn actions(money: &Money, key: &str) -> Vec<(i16, String)> {
    sqlx::query_as(
        "select e.action, e.actor from case_event e join cases c on c.id = e.case_id where c.key = $1 order by e.id desc",
    )
    .bind(key)
    .fetch_all(money.pool())
    .await
    .unwrap()
}

#[tokio::test]
async fn what_comes_again_is_recorded_and_what_is_new_is_not() {
    let money = Money::start().await;
    let mut connection = money.pool().acquire().await.unwrap();
    let found = [case(CaseKind::NoAccount, "a"), case(CaseKind::NoAccount, "b")];
    cases::open(&mut connection, &found).await.unwrap();
    cases::open(&mut connection, &found).await.unwrap();
    assert_eq!(actions(&money, "a").await, []);
    cases::resolve(&mut connection, 1, CaseKind::NoAccount, "a").await.unwrap();
    cases::resolve(&mut connection, 1, CaseKind::NoAccount, "a").await.unwrap();
    cases::open(&mut connection, &found).await.unwrap();
    let of_tenant = |action: CaseAction| (i16::try_from(i32::from(action)).unwrap(), "tenant".to_owned());
    assert_eq!(actions(&money, "a").await, [of_tenant(CaseAction::Reopened), of_tenant(CaseAction::Resolved)]);
    assert_eq!(actions(&money, "b").await, []);
}

/// The version before writes the columns that it knows: what it opens and ends is seen here.
#[tokio::test]
async fn what_the_version_before_writes_is_listed() {
    let tenant = Tenant::start().await;
    sqlx::query(
        "insert into cases (institution_id, kind, key, id, nav, receipt_id, detail, opened_at)
         values (0, 'addressee_never_ours', 'a', gen_random_uuid(), null, 'r', '{}', now()),
                (0, 'addressee_never_ours', 'b', gen_random_uuid(), null, 'r', '{}', now())",
    )
    .execute(tenant.pool())
    .await
    .unwrap();
    sqlx::query("update cases set state = 3 where institution_id = 0 and kind = 'addressee_never_ours' and key = 'b'")
        .execute(tenant.pool())
        .await
        .unwrap();
    let mut client = CasesClient::new(tenant.replica.channel("dev"));
    let listed = client.list_cases(ListCasesRequest::default()).await.unwrap().into_inner().cases;
    let told: Vec<_> = listed.iter().map(|case| (case.key.as_str(), case.institution.as_str())).collect();
    assert_eq!(told, [("a", "")]);
}

/// An institution that is served without a manifest is seen, by its fiscal code, and its case ends by itself when it has one again.
#[tokio::test]
async fn an_institution_without_a_manifest_is_listed() {
    let tenant = Tenant::start().await;
    let mut manifest = Manifest::new();
    tenant.applied(&manifest).await;
    let request = MarkUnmanagedRequest {
        fence: tenant.fence().await,
        platform: PLATFORM.into(),
        environment: ENVIRONMENT.into(),
        fiscal_code: manifest.fiscal_code().into(),
        uid: manifest.bundle().institution.unwrap().uid,
    };
    tenant.replica.apply().mark_unmanaged(request).await.unwrap();
    let mut client = CasesClient::new(tenant.replica.channel("dev"));
    let of_kind = ListCasesRequest { kind: "institution_unmanaged".into(), ..ListCasesRequest::default() };
    let listed = client.list_cases(of_kind.clone()).await.unwrap().into_inner().cases;
    let [unmanaged] = listed.as_slice() else { panic!("{listed:?}") };
    assert_eq!((unmanaged.institution.as_str(), unmanaged.state()), (manifest.fiscal_code(), CaseState::Open));
    let of_it = ListCasesRequest { institution: manifest.fiscal_code().into(), ..of_kind.clone() };
    assert_eq!(client.list_cases(of_it).await.unwrap().into_inner().cases.len(), 1);
    let assign = AssignCaseRequest { case_id: unmanaged.case_id.clone(), owner: "anna".into(), note: String::new() };
    client.assign_case(assign).await.unwrap();
    manifest.generation += 1;
    tenant.applied(&manifest).await;
    assert_eq!(client.list_cases(of_kind).await.unwrap().into_inner().cases, []);
    let got = client.get_case(GetCaseRequest { case_id: unmanaged.case_id.clone() }).await.unwrap().into_inner();
    let told: Vec<_> = got.events.iter().map(|event| (event.action(), event.actor.as_str())).collect();
    assert_eq!(told, [(CaseAction::Resolved, "tenant"), (CaseAction::Assigned, "dev")]);
    let resolve = ResolveCaseRequest { case_id: unmanaged.case_id.clone(), note: "applied again".into() };
    assert_eq!(client.resolve_case(resolve).await.unwrap().into_inner().case.unwrap().state(), CaseState::Resolved);
}

/// Ending many while receipts open the same cases: both go through.
#[tokio::test]
async fn ending_many_and_opening_them_never_lock_each_other_out() {
    let tenant = Tenant::start().await;
    let found: Vec<_> = (0..200).map(|at| case(CaseKind::ReceiptDouble, &format!("k{at:03}"))).collect();
    let mut first = tenant.pool().acquire().await.unwrap();
    cases::open(&mut first, &found).await.unwrap();
    drop(first);
    let opening = (0..4).map(|_| {
        let (url, found) = (tenant.database.url.clone(), found.clone());
        async move {
            let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
            for _ in 0..10 {
                cases::open(&mut connection, &found).await.unwrap();
            }
        }
    });
    let ending = (0..4).map(|_| {
        let mut client = CasesClient::new(tenant.replica.channel("dev"));
        async move {
            let request = ResolveCasesRequest {
                kind: "receipt_double".into(),
                opened_before: "2100-01-01T00:00:00Z".into(),
                note: "refunded".into(),
                limit: 150,
                ..ResolveCasesRequest::default()
            };
            for _ in 0..10 {
                client.resolve_cases(request.clone()).await.unwrap();
            }
        }
    });
    futures::join!(join_all(opening), join_all(ending));
}
