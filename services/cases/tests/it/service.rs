//! The service.

use std::collections::BTreeSet;

use fiorino_cases::{Cases, EVENTS_DDL, TABLES_DDL, store};
use fiorino_kit::{
    clock::{Clock, ManualClock},
    rpc::ACTOR,
};
use fiorino_proto::{
    cases::v1::{
        AssignCaseRequest, GetCaseRequest, ListCasesRequest, NoteCaseRequest, ResolveCaseRequest, ResolveCasesRequest,
        cases_server::Cases as _,
    },
    common::v1::{Case, CaseAction, CaseEvent, CaseState},
};
use fiorino_test_support::{Parts, TestDatabase};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use rstest::rstest;
use sqlx::{AssertSqlSafe, PgPool};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

const START: &str = "2026-07-14T10:00:00Z";
const ONE: &str = "80012340560";
const OTHER: &str = "15376371009";
const DOUBLE: &str = "receipt_double";

struct World {
    database: TestDatabase,
    cases: Cases,
    time: ManualClock,
}

impl World {
    async fn new() -> Self {
        let database = Parts::get()
            .database("cases_1", async |pool: PgPool| {
                sqlx::raw_sql(AssertSqlSafe(format!("{TABLES_DDL}{EVENTS_DDL}"))).execute(&pool).await.map(drop)
            })
            .await
            .unwrap();
        let (clock, time) = Clock::manual(START.parse().unwrap());
        let cases = Cases::new(database.pool.clone(), clock);
        Self { database, cases, time }
    }

    /// A finding, so many minutes after the start.
    async fn open(&self, institution: &str, kind: &str, key: &str, minutes: i64) -> String {
        self.open_with(institution, kind, key, minutes, "{}").await
    }

    async fn open_with(&self, institution: &str, kind: &str, key: &str, minutes: i64, detail: &str) -> String {
        let id = Uuid::now_v7();
        let at: Timestamp = START.parse().unwrap();
        let at = at.checked_add(jiff::SignedDuration::from_mins(minutes)).unwrap();
        sqlx::query(
            "insert into cases (institution, kind, key, id, detail, opened_at) values ($1, $2, $3, $4, $5::jsonb, $6)",
        )
        .bind(institution)
        .bind(kind)
        .bind(key)
        .bind(id)
        .bind(detail)
        .bind(at.to_sqlx())
        .execute(&self.database.pool)
        .await
        .unwrap();
        id.to_string()
    }

    /// Keys of every page, and how many pages there were.
    async fn keys(&self, request: &ListCasesRequest) -> (Vec<String>, usize) {
        let (mut keys, mut pages, mut request) = (Vec::new(), 0, request.clone());
        loop {
            let page = self.cases.list_cases(Request::new(request.clone())).await.unwrap().into_inner();
            assert!(!page.cases.is_empty() || page.next_page_token.is_empty());
            keys.extend(page.cases.into_iter().map(|case| case.key));
            pages += 1;
            if page.next_page_token.is_empty() {
                return (keys, pages);
            }
            request.page_token = page.next_page_token;
        }
    }

    async fn get(&self, case_id: &str) -> Result<(Case, Vec<CaseEvent>), Status> {
        let request = Request::new(GetCaseRequest { case_id: case_id.to_owned() });
        let got = self.cases.get_case(request).await?.into_inner();
        Ok((got.case.unwrap(), got.events))
    }

    async fn resolve(&self, case_id: &str, note: &str) -> Result<Case, Status> {
        let request = ResolveCaseRequest { case_id: case_id.to_owned(), note: note.to_owned() };
        Ok(self.cases.resolve_case(called("carla", request)).await?.into_inner().case.unwrap())
    }

    async fn waiting(&self) -> BTreeSet<(String, u64)> {
        let waiting = store::waiting(&self.database.pool).await.unwrap();
        waiting.into_iter().map(|(kind, (count, _))| (kind, count)).collect()
    }
}

fn called<T>(actor: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(ACTOR, actor.parse().unwrap());
    request
}

fn list(change: impl FnOnce(&mut ListCasesRequest)) -> ListCasesRequest {
    let mut request = ListCasesRequest::default();
    change(&mut request);
    request
}

fn field(status: &Status) -> String {
    status.get_details_bad_request().unwrap().field_violations[0].field.clone()
}

#[tokio::test]
async fn a_list_is_by_institution_kind_state_and_age() {
    let world = World::new().await;
    world.open(ONE, DOUBLE, "a", 1).await;
    world.open(OTHER, DOUBLE, "b", 2).await;
    world.open("", "message_poison", "c", 3).await;
    let d = world.open(ONE, "no_account", "d", 4).await;
    world.resolve(&d, "the account is back").await.unwrap();
    let keys = async |request: ListCasesRequest| world.keys(&request).await.0;
    assert_eq!(keys(list(|_| ())).await, ["a", "b", "c"], "whatever waits, the oldest first");
    assert_eq!(keys(list(|asked| asked.institution = ONE.to_owned())).await, ["a"]);
    assert_eq!(keys(list(|asked| asked.kind = DOUBLE.to_owned())).await, ["a", "b"]);
    assert_eq!(keys(list(|asked| asked.state = CaseState::Resolved.into())).await, ["d"]);
    assert_eq!(keys(list(|asked| asked.state = CaseState::Assigned.into())).await, [""; 0]);
    assert_eq!(keys(list(|asked| asked.opened_before = "2026-07-14T10:02:00Z".to_owned())).await, ["a"]);
    let both = list(|asked| {
        asked.institution = ONE.to_owned();
        asked.state = CaseState::Resolved.into();
    });
    assert_eq!(keys(both).await, ["d"]);
}

#[tokio::test]
async fn pages_end_by_number_and_by_bytes_and_miss_nothing() {
    let world = World::new().await;
    let large = format!("{{\"text\":\"{}\"}}", "x".repeat(300 << 10));
    for number in 0..9 {
        // Of one moment, so that the id decides.
        world.open_with(ONE, DOUBLE, &format!("k{number}"), 1, if number < 8 { "{}" } else { &large }).await;
    }
    let expected: Vec<String> = (0..9).map(|number| format!("k{number}")).collect();
    assert_eq!(world.keys(&list(|asked| asked.page_size = 4)).await, (expected.clone(), 3));
    for number in 0..4 {
        world.open_with(ONE, DOUBLE, &format!("l{number}"), 2, &large).await;
    }
    // 300 KiB each, and 1 MiB at most: three on a page, whatever was asked for.
    let (keys, pages) = world.keys(&list(|asked| asked.page_size = 500)).await;
    assert_eq!((keys.len(), pages), (13, 2));
    assert_eq!(keys.into_iter().collect::<BTreeSet<_>>().len(), 13, "each once");
}

#[tokio::test]
async fn what_is_done_is_recorded_with_actor_and_time() {
    let world = World::new().await;
    let id = world.open(ONE, DOUBLE, "a", 0).await;
    let assign = AssignCaseRequest { case_id: id.clone(), owner: "ufficio tributi".into(), note: "asked".into() };
    let assigned = world.cases.assign_case(called("anna", assign)).await.unwrap().into_inner().case.unwrap();
    assert_eq!((assigned.state(), assigned.owner.as_str()), (CaseState::Assigned, "ufficio tributi"));
    world.time.advance(std::time::Duration::from_mins(5));
    let note = NoteCaseRequest { case_id: id.clone(), note: "bank transfer ordered".into() };
    world.cases.note_case(called("bruno", note)).await.unwrap();
    assert_eq!(world.waiting().await, [(DOUBLE.to_owned(), 1)].into(), "an assigned case still waits");
    let resolved = world.resolve(&id, "refunded").await.unwrap();
    assert_eq!((resolved.state(), resolved.owner.as_str()), (CaseState::Resolved, "ufficio tributi"));
    world.resolve(&id, "refunded once more").await.unwrap();
    assert_eq!(world.waiting().await, [].into(), "what is resolved alarms nobody");
    let (case, events) = world.get(&id).await.unwrap();
    assert_eq!((case.institution.as_str(), case.kind.as_str(), case.detail.as_str()), (ONE, DOUBLE, "{}"));
    let told: Vec<_> = events
        .iter()
        .map(|event| {
            (event.action(), event.actor.as_str(), event.owner.as_str(), event.note.as_str(), event.at.as_str())
        })
        .collect();
    let later = "2026-07-14T10:05:00Z";
    assert_eq!(
        told,
        [
            (CaseAction::Resolved, "carla", "", "refunded", later),
            (CaseAction::Noted, "bruno", "", "bank transfer ordered", later),
            (CaseAction::Assigned, "anna", "ufficio tributi", "asked", START),
        ],
        "newest first, and a repetition is none"
    );
    let late = AssignCaseRequest { case_id: id, owner: "anna".into(), note: String::new() };
    let refused = world.cases.assign_case(called("anna", late)).await.unwrap_err();
    assert_eq!((refused.code(), field(&refused)), (Code::FailedPrecondition, "case_id".to_owned()));
}

#[tokio::test]
async fn many_are_ended_by_kind_age_and_institution_so_many_at_a_time() {
    let world = World::new().await;
    for number in 0..5 {
        world.open(ONE, DOUBLE, &format!("a{number}"), number).await;
    }
    world.open(ONE, DOUBLE, "later", 60).await;
    world.open(OTHER, DOUBLE, "other", 1).await;
    world.open(ONE, "no_account", "kind", 1).await;
    let ask = async |limit| {
        let request = ResolveCasesRequest {
            kind: DOUBLE.into(),
            institution: ONE.into(),
            opened_before: "2026-07-14T10:30:00Z".into(),
            note: "refunded by the treasurer's list".into(),
            limit,
        };
        let answer = world.cases.resolve_cases(called("carla", request)).await.unwrap().into_inner();
        (answer.resolved, answer.more)
    };
    assert_eq!(ask(3).await, (3, true));
    // Held by whoever changes it now: it is not waited for, and told.
    let mut holder = fiorino_kit::store::begin(&world.database.pool).await.unwrap();
    sqlx::query("select id from cases where key = 'a3' for update").execute(&mut *holder).await.unwrap();
    assert_eq!(ask(0).await, (1, true));
    holder.rollback().await.unwrap();
    assert_eq!(ask(0).await, (1, false));
    assert_eq!(ask(0).await, (0, false));
    assert_eq!(world.keys(&list(|_| ())).await.0, ["other", "kind", "later"]);
    let events: i64 = sqlx::query_scalar("select count(*) from case_event where action = 3 and actor = 'carla'")
        .fetch_one(&world.database.pool)
        .await
        .unwrap();
    assert_eq!(events, 5);
}

#[rstest]
#[case::no_uuid("4711", "fine", Code::InvalidArgument, "case_id")]
#[case::nobody("00000000-0000-7000-8000-000000000000", "fine", Code::NotFound, "case_id")]
#[case::nul("00000000-0000-7000-8000-000000000000", "a\0b", Code::InvalidArgument, "note")]
#[case::person("00000000-0000-7000-8000-000000000000", "of RSSMRA80A01H501U", Code::InvalidArgument, "note")]
#[case::silent("00000000-0000-7000-8000-000000000000", "", Code::InvalidArgument, "note")]
#[tokio::test]
async fn a_wrong_call_names_its_field(#[case] id: &str, #[case] note: &str, #[case] code: Code, #[case] name: &str) {
    let world = World::new().await;
    let refused = world.resolve(id, note).await.unwrap_err();
    assert_eq!((refused.code(), field(&refused)), (code, name.to_owned()), "{}", refused.message());
    let request = NoteCaseRequest { case_id: id.to_owned(), note: note.to_owned() };
    let refused = world.cases.note_case(called("anna", request)).await.unwrap_err();
    assert_eq!((refused.code(), field(&refused)), (code, name.to_owned()));
    let written: i64 =
        sqlx::query_scalar("select count(*) from case_event").fetch_one(&world.database.pool).await.unwrap();
    assert_eq!(written, 0);
}

/// A page of what waits is read off the index of its order, whatever was resolved before.
#[tokio::test]
async fn a_page_reads_what_waits_alone() {
    let world = World::new().await;
    sqlx::raw_sql(
        "insert into cases (institution, kind, key, id, state, detail, opened_at)
         select '80012340560', 'receipt_double', n::text, gen_random_uuid(), case when n % 1000 = 0 then 1 else 3 end, '{}',
                now() - n * interval '1 minute'
         from generate_series(1, 20000) as n;
         analyze cases",
    )
    .execute(&world.database.pool)
    .await
    .unwrap();
    for (state, index) in [(CaseState::Unspecified, "cases_waiting"), (CaseState::Resolved, "cases_resolved")] {
        let statement = store::list_statement(state, false);
        let mut connection = world.database.pool.acquire().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(format!("set plan_cache_mode = force_generic_plan; prepare asked as {statement}")))
            .execute(&mut *connection)
            .await
            .unwrap();
        let asked =
            "explain execute asked ('', 'infinity', '1970-01-01', '00000000-0000-0000-0000-000000000000', 101, '')";
        let plan: Vec<String> = sqlx::query_scalar(asked).persistent(false).fetch_all(&mut *connection).await.unwrap();
        let plan = plan.join("\n");
        assert!(plan.contains(index) && !plan.contains("Sort") && !plan.contains("Seq Scan"), "{plan}");
        sqlx::raw_sql("deallocate asked").execute(&mut *connection).await.unwrap();
    }
}
