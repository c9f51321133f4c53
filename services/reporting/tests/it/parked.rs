//! Parked messages: tried again, ended, and taken over from the version before.

use fiorino_proto::{
    cases::v1::{GetCaseRequest, ListCasesRequest, ResolveCasesRequest, cases_client::CasesClient},
    common::v1::{CaseAction, CaseState},
    payments::v1::{RetriedMessage, RetryParkedRequest, parked_messages_client::ParkedMessagesClient},
};
use fiorino_reporting::{MIGRATIONS, store};
use fiorino_test_support::Parts;
use sqlx::migrate::Migrator;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::support::{Produced, Running, World, payment};

/// A service that parked three messages: two that the table refuses, and one that nobody can read.
async fn parked(world: &World) -> Running {
    refuse(world).await;
    let good = |receipt_id: &str| Produced { partition: Some(3), ..payment(&world.institution, receipt_id).into() };
    let gibberish = Produced { payload: b"\xff\xff\xff".to_vec(), ..good("p3") };
    world.produce([good("p1"), good("p2"), gibberish, good("r1")]).await;
    let service = world.start("reporting-0").await;
    world.wait_for(4).await;
    assert_eq!(world.recorded().await, ["r1"]);
    service
}

/// As a rule that a later version takes back.
async fn refuse(world: &World) {
    sqlx::query("alter table payment add constraint no_p check (receipt_id !~ '^p')")
        .execute(&world.database.pool)
        .await
        .unwrap();
}

async fn accept(world: &World) {
    sqlx::query("alter table payment drop constraint no_p").execute(&world.database.pool).await.unwrap();
}

async fn retry(world: &World, service: &Running, request: RetryParkedRequest) -> (Vec<RetriedMessage>, String) {
    let mut client = ParkedMessagesClient::new(world.channel(service.address, "dev"));
    let answer = client.retry_parked(request).await.unwrap().into_inner();
    (answer.messages, answer.next_page_token)
}

fn cases(world: &World, service: &Running) -> CasesClient<fiorino_kit::rpc::Channel> {
    CasesClient::new(world.channel(service.address, "dev"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_taken_in_now_is_and_its_case_ends_with_it() {
    let world = World::new().await;
    let service = parked(&world).await;
    // Still refused: it stays as it is, and is told.
    let (messages, _) =
        retry(&world, &service, RetryParkedRequest { page_size: 1, ..RetryParkedRequest::default() }).await;
    let [refused] = messages.as_slice() else { panic!("{messages:?}") };
    assert!(!refused.taken_in && refused.reason.contains("23514"), "{refused:?}");
    assert_eq!(world.cases().await.len(), 3);
    accept(&world).await;
    let (mut messages, mut token) = (Vec::new(), String::new());
    loop {
        let request = RetryParkedRequest { page_size: 2, page_token: token, case_id: String::new() };
        let (page, next) = retry(&world, &service, request).await;
        messages.extend(page);
        token = next;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(messages.iter().map(|message| message.taken_in).collect::<Vec<_>>(), [true, true, false]);
    assert!(messages[2].reason.starts_with("payload: "), "{messages:?}");
    assert_eq!(world.recorded().await, ["r1", "p1", "p2"]);
    let waiting: Vec<String> =
        world.cases().await.into_iter().map(|(_, detail)| detail["reason"].to_string()).collect();
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    // Who did it is kept with the case, and a repetition changes nothing.
    let case_id = refused.case_id.clone();
    let (again, _) =
        retry(&world, &service, RetryParkedRequest { case_id: case_id.clone(), ..Default::default() }).await;
    assert!(again[0].taken_in);
    assert_eq!(world.recorded().await, ["r1", "p1", "p2"]);
    let got = cases(&world, &service).get_case(GetCaseRequest { case_id }).await.unwrap().into_inner();
    assert_eq!(got.case.unwrap().state(), CaseState::Resolved);
    let told: Vec<_> = got.events.iter().map(|event| (event.action(), event.actor.as_str())).collect();
    assert_eq!(told, [(CaseAction::Resolved, "dev"), (CaseAction::Retried, "dev")]);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_can_end_what_is_not_worth_taking_in() {
    let world = World::new().await;
    let service = parked(&world).await;
    let mut client = cases(&world, &service);
    let listed = client.list_cases(ListCasesRequest::default()).await.unwrap().into_inner().cases;
    assert_eq!(listed.len(), 3);
    assert!(listed.iter().all(|case| case.institution == world.institution && case.kind == "message_poison"));
    let request = ResolveCasesRequest {
        kind: "message_poison".into(),
        institution: world.institution.clone(),
        opened_before: "2100-01-01T00:00:00Z".into(),
        note: "test messages of a colleague".into(),
        limit: 0,
    };
    assert_eq!(client.resolve_cases(request).await.unwrap().into_inner().resolved, 3);
    assert_eq!(world.cases().await, []);
    let (messages, _) = retry(&world, &service, RetryParkedRequest::default()).await;
    assert_eq!(messages, [], "what was ended is not tried again by itself");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_retry_names_its_field() {
    let world = World::new().await;
    let service = world.start("reporting-0").await;
    let mut client = ParkedMessagesClient::new(world.channel(service.address, "dev"));
    for (request, code, field) in [
        (RetryParkedRequest { case_id: "4711".into(), ..Default::default() }, Code::InvalidArgument, "case_id"),
        (
            RetryParkedRequest { case_id: uuid::Uuid::now_v7().to_string(), ..Default::default() },
            Code::NotFound,
            "case_id",
        ),
        (RetryParkedRequest { page_size: 101, ..Default::default() }, Code::InvalidArgument, "page_size"),
        (RetryParkedRequest { page_token: "a\0b".into(), ..Default::default() }, Code::InvalidArgument, "page_token"),
    ] {
        let refused = client.retry_parked(request).await.unwrap_err();
        let named = refused.get_details_bad_request().unwrap().field_violations[0].field.clone();
        assert_eq!((refused.code(), named.as_str()), (code, field));
    }
    service.stop().await;
}

/// As a replica of the version before writes, before the migration and beside this version.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_version_before_parks_has_its_case() {
    let database = Parts::get().empty_database().await.unwrap();
    let (before, pool) = (3, &database.pool);
    let old: Vec<_> = MIGRATIONS.iter().filter(|migration| migration.version < before).cloned().collect();
    Migrator::with_migrations(old).run(pool).await.unwrap();
    let park = async |offset: i64, kind: &str, state: &str| {
        sqlx::query(
            "insert into parked_message
                 (institution, topic, partition, \"offset\", event_id, event_type, traceparent, key, payload, reason, kind, state)
             values ('80012340560', 'payments', 3, $1, 'e', 't', null, 'k', 'p', 'payload: odd', $2, $3) on conflict do nothing",
        )
        .bind(offset)
        .bind(kind)
        .bind(state)
        .execute(pool)
        .await
        .unwrap();
    };
    park(1, "message_poison", "open").await;
    park(2, "messages_expired", "assigned").await;
    park(3, "message_poison", "resolved").await;
    MIGRATIONS.run(pool).await.unwrap();
    park(4, "message_poison", "open").await;
    assert_eq!(store::adopt(pool).await.unwrap(), 1);
    assert_eq!(store::adopt(pool).await.unwrap(), 0, "once");
    let told: Vec<(String, i16, i64)> = sqlx::query_as(
        "select c.kind, c.state, p.\"offset\" from cases c join parked_message p on p.case_id = c.id
         where c.institution = p.institution and c.opened_at = p.parked_at order by p.\"offset\"",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let case = |kind: &str, state, offset| (kind.to_owned(), state, offset);
    assert_eq!(
        told,
        [
            case("message_poison", 1, 1),
            case("messages_expired", 2, 2),
            case("message_poison", 3, 3),
            case("message_poison", 1, 4),
        ]
    );
}
