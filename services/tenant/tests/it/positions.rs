//! Positions are created once, whole, or not at all.

use std::{collections::HashSet, time::Duration};

use fiorino_domain::notice::NoticeNumber;
use fiorino_kit::{
    options::DatabaseOptions,
    store::{self, Class, Plans},
};
use fiorino_proto::{
    config::v1::LifecyclePhase,
    positions::v1::{
        CreatePositionsRequest, InstalmentState, ListPositionsRequest, NewPosition, Position, PositionState,
        create_outcome::Outcome, get_position_request::By, positions_server::Positions as _,
    },
};
use futures::future::join_all;
use rstest::rstest;
use tonic::{Code, Status};

use crate::{
    fixture::violations,
    manifest::PROVINCE,
    money::{CLIENT, Money, Replica, called, numbers, position},
};

/// The one violation of a refusal.
pub(crate) fn violation(status: &Status) -> String {
    let found = violations(status);
    assert_eq!(found.len(), 1, "{status:?}");
    found.into_iter().next().unwrap()
}

pub(crate) async fn create_many(money: &Money, positions: Vec<NewPosition>) -> Vec<Outcome> {
    let request = CreatePositionsRequest { institution: money.institution().into(), positions };
    let response = money.replica.positions.create_positions(called(CLIENT, request)).await.unwrap().into_inner();
    response.outcomes.into_iter().map(|outcome| outcome.outcome.unwrap()).collect()
}

async fn list(money: &Money, request: ListPositionsRequest) -> Result<(Vec<String>, String), Status> {
    let request = ListPositionsRequest { institution: money.institution().into(), ..request };
    let response = money.replica.positions.list_positions(called(CLIENT, request)).await?.into_inner();
    let reference = |position: Position| position.client_reference;
    Ok((response.positions.into_iter().map(reference).collect(), response.next_page_token))
}

#[tokio::test]
async fn a_position_is_shown_whole_and_found_by_all_its_names() {
    let money = Money::start().await;
    let mut new = position("ref-1", &[&[10_001], &[5_001, 5_000]]);
    new.options[0].instalments[0].due_date = "2026-12-31".into();
    let created = money.create(new).await;
    assert_eq!((created.state(), created.institution.as_str()), (PositionState::Open, money.institution()));
    assert_eq!(created.created_at, "2026-11-24T10:00:00Z");
    assert_eq!(created.debtor.as_ref().unwrap().full_name, "Maria Rossi");
    assert_eq!(created.options.iter().map(|option| option.instalments.len()).collect::<Vec<_>>(), [1, 2]);

    let instalment = &created.options[0].instalments[0];
    let nav = NoticeNumber::parse(&instalment.notice_number).unwrap();
    assert!(nav.check_digits_ok() && instalment.notice_number.starts_with("312"), "{nav}");
    assert_eq!((instalment.iuv.as_str(), instalment.due_date.as_str()), (nav.iuv().as_str(), "2026-12-31"));
    assert_eq!((instalment.state(), instalment.version, instalment.expired), (InstalmentState::Payable, 1, false));
    assert_eq!(instalment.qr_payload, format!("PAGOPA|002|{nav}|{}|10001", money.institution()));
    let transfers: Vec<_> = instalment.transfers.iter().map(|t| (t.id, t.amount_cents, t.account.as_str())).collect();
    assert_eq!(transfers, [(1, 9_501, "tesoreria"), (2, 500, "tefa")]);
    assert_eq!(instalment.transfers[0].beneficiary_name, "Comune di Fontechiara");

    for by in [
        By::PositionId(created.position_id.clone()),
        By::ClientReference("ref-1".into()),
        By::NoticeNumber(numbers(&created)[2].clone()),
    ] {
        assert_eq!(money.get(by).await.unwrap(), created);
    }
}

/// The promise of idempotency: whoever asks, at the same time and over two processes, gets the one position.
#[tokio::test]
async fn the_same_request_from_16_tasks_makes_one_position() {
    let money = Money::start().await;
    let replicas = [money.another(), money.another()];
    let asked = (0..16).map(|task| {
        let replica = &replicas[task % 2];
        let institution = money.institution();
        async move { replica.create(institution, CLIENT, position("once", &[&[10_000]])).await.unwrap() }
    });
    let answers = join_all(asked).await;
    let ids: HashSet<_> = answers.iter().map(|answer| answer.position.as_ref().unwrap().position_id.clone()).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
    assert_eq!((money.count("debt_position").await, money.count("notice").await), (1, 1));
    assert_eq!(answers[0].position, answers[15].position);
}

#[tokio::test]
async fn another_request_under_the_same_reference_is_refused_and_writes_nothing() {
    let money = Money::start().await;
    let first = money.create(position("ref", &[&[10_000]])).await;
    let status = money.replica.create(money.institution(), CLIENT, position("ref", &[&[10_001]])).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists);
    assert_eq!(
        violation(&status),
        "position.client_reference: was used for another request; send that one again unchanged, or choose a new reference"
    );
    assert_eq!((money.count("debt_position").await, money.count("notice").await), (1, 1));
    // The reference belongs to its client: another one may use the same.
    let other =
        money.replica.create(money.institution(), "another-house", position("ref", &[&[10_001]])).await.unwrap();
    assert_ne!(other.position.unwrap().position_id, first.position_id);
    let status = money.get(By::ClientReference("unknown".into())).await.unwrap_err();
    assert_eq!((status.code(), violations(&status).len()), (Code::NotFound, 1));
}

/// A repetition is answered whatever happened meanwhile: the caller asks because he does not know.
#[tokio::test]
async fn a_repetition_is_answered_although_nothing_new_would_be_taken() {
    let mut money = Money::start().await;
    let first = money.create(position("ref", &[&[10_000]])).await;
    money.reconfigure(|manifest| manifest.services[0].active = false).await;
    money.reconfigure(|manifest| manifest.spec.phase = LifecyclePhase::Suspended.into()).await;
    let again = money.replica.create(money.institution(), CLIENT, position("ref", &[&[10_000]])).await.unwrap();
    assert!(again.replayed);
    assert_eq!(again.position, Some(first));
    let status = money.replica.create(money.institution(), CLIENT, position("new", &[&[10_000]])).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(violation(&status).starts_with("institution: institution"), "{status:?}");
}

#[tokio::test]
async fn in_a_batch_each_has_its_own_outcome() {
    let money = Money::start().await;
    let before = money.create(position("before", &[&[10_000]])).await;
    let mut unknown_service = position("e", &[&[100]]);
    unknown_service.service_code = "NIDO".into();
    let outcomes = create_many(
        &money,
        vec![
            position("a", &[&[10_000], &[5_000, 5_000]]),
            position("before", &[&[10_000]]),
            position("before", &[&[10_001]]),
            position("c", &[&[0]]),
            position("a", &[&[10_000], &[5_000, 5_000]]),
            position("a", &[&[1]]),
            unknown_service.clone(),
            unknown_service,
            position("f", &[&[300]]),
        ],
    )
    .await;
    let created = |at: usize| match &outcomes[at] {
        Outcome::Created(created) => created.clone(),
        Outcome::Refused(refused) => panic!("{refused:?}"),
    };
    let refused = |at: usize| match &outcomes[at] {
        Outcome::Created(created) => panic!("{created:?}"),
        Outcome::Refused(refused) => (Code::from(refused.code), refused.field.clone()),
    };
    assert_eq!((created(0).notice_numbers.len(), created(0).replayed), (3, false));
    assert_eq!((created(1).position_id, created(1).replayed), (before.position_id.clone(), true));
    assert_eq!(created(1).notice_numbers, numbers(&before));
    assert_eq!(refused(2), (Code::AlreadyExists, "positions[2].client_reference".into()));
    assert_eq!(refused(3), (Code::InvalidArgument, "positions[3].options[0].instalments[0].amount_cents".into()));
    assert_eq!((created(4).position_id, created(4).replayed), (created(0).position_id, true));
    assert_eq!(refused(5), (Code::AlreadyExists, "positions[5].client_reference".into()));
    assert_eq!(refused(6), (Code::FailedPrecondition, "positions[6].service_code".into()));
    assert_eq!(refused(7), (Code::FailedPrecondition, "positions[7].service_code".into()));
    assert!(!created(8).replayed);
    assert_eq!(money.count("debt_position").await, 3);
    let fetched = money.get(By::PositionId(created(0).position_id)).await.unwrap();
    assert_eq!(numbers(&fetched), created(0).notice_numbers);
}

/// Batches that overlap, from two processes, in opposite orders: no deadlock, no double.
#[tokio::test]
async fn overlapping_batches_create_each_position_once() {
    let money = Money::start().await;
    let replicas = [money.another(), money.another()];
    let batches = (0..8).map(|batch: usize| {
        let mut positions: Vec<_> =
            (0..40).map(|at| position(&format!("r{}", (at + batch * 10) % 60), &[&[500]])).collect();
        if batch % 2 == 1 {
            positions.reverse();
        }
        let request = CreatePositionsRequest { institution: money.institution().into(), positions };
        replicas[batch % 2].positions.create_positions(called(CLIENT, request))
    });
    for response in join_all(batches).await {
        let outcomes = response.unwrap().into_inner().outcomes;
        assert!(outcomes.iter().all(|one| matches!(one.outcome, Some(Outcome::Created(_)))), "{outcomes:?}");
    }
    assert_eq!((money.count("debt_position").await, money.count("notice").await), (60, 60));
}

#[tokio::test]
async fn pages_are_newest_first_and_complete() {
    let mut money = Money::start().await;
    money
        .reconfigure(|manifest| {
            let mut nido = manifest.services[0].clone();
            nido.code = "NIDO".into();
            manifest.services.push(nido);
        })
        .await;
    for at in 0..7 {
        let mut new = position(&format!("p{at}"), &[&[1_000]]);
        if at % 2 == 0 {
            new.service_code = "NIDO".into();
        }
        if at % 3 == 0 {
            new.debtor.as_mut().unwrap().fiscal_code = "MRTMTT91D08F205J".into();
        }
        money.create(new).await;
    }
    let mut found = Vec::new();
    let mut page_token = String::new();
    loop {
        let (page, next) =
            list(&money, ListPositionsRequest { page_size: 3, page_token, ..Default::default() }).await.unwrap();
        assert!(page.len() <= 3);
        found.extend(page);
        page_token = next;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(found, ["p6", "p5", "p4", "p3", "p2", "p1", "p0"]);
    let of_service = ListPositionsRequest { service_code: "NIDO".into(), ..Default::default() };
    assert_eq!(list(&money, of_service.clone()).await.unwrap().0, ["p6", "p4", "p2", "p0"]);
    let of_debtor = ListPositionsRequest { debtor_fiscal_code: "mrtmtt91d08f205j".into(), ..Default::default() };
    assert_eq!(list(&money, of_debtor.clone()).await.unwrap().0, ["p6", "p3", "p0"]);
    let of_both = ListPositionsRequest { service_code: "NIDO".into(), ..of_debtor };
    assert_eq!(list(&money, of_both).await.unwrap().0, ["p6", "p0"]);
}

#[rstest]
#[case(501, "", "page_size: must be 1 to 500; ask for less, or send 0")]
#[case(1, "x", "page_token: is none of ours; send next_page_token of the page before, or nothing")]
#[tokio::test]
async fn pages_have_limits(#[case] page_size: u32, #[case] page_token: &str, #[case] expect: &str) {
    let money = Money::start().await;
    let request = ListPositionsRequest { page_size, page_token: page_token.into(), ..Default::default() };
    let status = list(&money, request).await.unwrap_err();
    assert_eq!((status.code(), violation(&status).as_str()), (Code::InvalidArgument, expect));
}

/// PostgreSQL takes no U+0000: that is the caller's fault, not the database's.
#[rstest]
#[case::number(Some(By::NoticeNumber("3\0".into())), ListPositionsRequest::default(), "notice_number")]
#[case::reference(Some(By::ClientReference("r\0".into())), ListPositionsRequest::default(), "client_reference")]
#[case::long(Some(By::ClientReference("r".repeat(257))), ListPositionsRequest::default(), "client_reference")]
#[case::debtor(None, ListPositionsRequest { debtor_fiscal_code: "\0".into(), ..Default::default() }, "debtor_fiscal_code")]
#[case::service(None, ListPositionsRequest { service_code: "TARI\0".into(), ..Default::default() }, "service_code")]
#[tokio::test]
async fn what_no_column_can_hold_is_looked_for_in_vain(
    #[case] by: Option<By>,
    #[case] filters: ListPositionsRequest,
    #[case] field: &str,
) {
    let money = Money::start().await;
    let refused = match by {
        Some(by) => money.get(by).await.unwrap_err(),
        None => list(&money, filters).await.unwrap_err(),
    };
    let expect = format!("{field}: must be at most 256 bytes without U+0000; correct it");
    assert_eq!((refused.code(), violation(&refused)), (Code::InvalidArgument, expect));
}

/// Nobody's fault: the batch is tried once, and not again for each of its requests.
#[tokio::test]
async fn without_a_connection_a_batch_is_not_tried_one_by_one() {
    let money = Money::start().await;
    let class = Class {
        name: "batch",
        max: 1,
        acquire_timeout: Duration::from_millis(200),
        statement_timeout: Duration::from_secs(5),
        plans: Plans::ForValues,
    };
    let pool = store::connect_class(&DatabaseOptions::for_url(&money.database.url).unwrap(), class).unwrap();
    let replica = Replica::on(&pool, &money.clock());
    let held = store::begin(&pool).await.unwrap();
    let news: Vec<_> = (0..64).map(|place| position(&format!("r{place}"), &[&[1]])).collect();
    let create = |new: &NewPosition| replica.create(money.institution(), CLIENT, new.clone());
    let refused: Vec<_> = join_all(news.iter().map(create)).await.into_iter().map(Result::unwrap_err).collect();
    assert!(refused.iter().all(|status| status.code() == Code::Unavailable), "{refused:?}");
    let tried = refused.iter().filter(|status| status.message() == "failed to use the database").count();
    assert!((1..=2).contains(&tried), "{tried} attempts");
    held.rollback().await.unwrap();
    let created = join_all(news.iter().map(create)).await;
    assert!(created.iter().all(Result::is_ok), "a repetition is safe");
}

#[tokio::test]
async fn every_refusal_names_field_and_remedy() {
    let money = Money::start().await;
    let institution = money.institution();
    let positions = &money.replica.positions;
    let refused = money.replica.create("123", CLIENT, position("r", &[&[1]])).await.unwrap_err();
    assert_eq!(
        violation(&refused),
        "institution: the fiscal code of an institution is 11 digits; send it without spaces"
    );
    let refused = money.replica.create("00000000000", CLIENT, position("r", &[&[1]])).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert_eq!(violation(&refused), "institution: institution 00000000000 is unknown; apply its manifest first");
    let nothing = called(
        CLIENT,
        fiorino_proto::positions::v1::CreatePositionRequest { institution: institution.into(), position: None },
    );
    assert_eq!(
        violation(&positions.create_position(nothing).await.unwrap_err()),
        "position: must be set; send the position to create"
    );
    let many =
        CreatePositionsRequest { institution: institution.into(), positions: vec![NewPosition::default(); 1_001] };
    let refused = positions.create_positions(called(CLIENT, many)).await.unwrap_err();
    assert_eq!(violation(&refused), "positions: has 1001 entries, at most 1000 are allowed; send several requests");
    let nobody = fiorino_proto::positions::v1::GetPositionRequest { institution: institution.into(), by: None };
    let refused = positions.get_position(called(CLIENT, nobody)).await.unwrap_err();
    assert_eq!(violation(&refused), "by: must be set; send position_id, notice_number or client_reference");
    let refused = money.get(By::PositionId("17".into())).await.unwrap_err();
    assert_eq!(violation(&refused), "position_id: a position id is a uuid; send it as it was answered");
    let refused = money.get(By::NoticeNumber("312000000000471179".into())).await.unwrap_err();
    assert_eq!((refused.code(), violations(&refused).len()), (Code::NotFound, 1));
}

/// Nothing of a person stands where it could be logged.
#[tokio::test]
async fn errors_hold_no_personal_data() {
    let money = Money::start().await;
    let mut new = position("r", &[&[1]]);
    new.debtor.as_mut().unwrap().fiscal_code = "RSSMRA80A01H501".into();
    new.debtor.as_mut().unwrap().email = "maria".into();
    let status = money.replica.create(money.institution(), CLIENT, new).await.unwrap_err();
    let told = format!("{status:?} {:?}", violations(&status));
    assert!(!told.contains("RSSMRA") && !told.contains("maria") && !told.contains(PROVINCE), "{told}");
}
