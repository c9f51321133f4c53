//! Reading payments over gRPC.

use std::{collections::BTreeSet, time::Duration};

use fiorino_kit::rpc::every_method;
use fiorino_proto::{
    cases::v1::{
        AssignCaseRequest, GetCaseRequest, ListCasesRequest, NoteCaseRequest, ResolveCaseRequest, ResolveCasesRequest,
        cases_client::CasesClient,
    },
    config::v1::{InstitutionSpec, Resource, ResourceKind},
    payments::v1::{
        GetPaymentRequest, ListNumbersRequest, ListPaymentsRequest, PaymentRecorded, RetryParkedRequest,
        parked_messages_client::ParkedMessagesClient,
    },
};
use fiorino_reporting::{
    ALLOWED, Payment,
    store::{self, Changes},
};
use fiorino_test_support::{certs::MESH, eventually, fiscal_code};
use prost::Message as _;
use rstest::rstest;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::{DEADLINE, Running, TOPIC, World, payment};

/// What reporting serves; tenant's test knows the rest.
const SERVICES: &[&str] =
    &["/fiorino.cases.v1.Cases/", "/fiorino.payments.v1.ParkedMessages/", "/fiorino.payments.v1.Payments/"];

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_told_as_tenant_told_it() {
    let world = World::new().await;
    let told = payment(&world.institution, "r1");
    record(&world, [told.clone()]).await;
    let service = world.start("reporting-0").await;
    let mut client = world.client(&service, "dev");
    let got = client.get_payment(get(&world.institution, "r1")).await.unwrap().into_inner();
    assert_eq!(got.payment, Some(told));
    let missing = client.get_payment(get(&world.institution, "r2")).await.unwrap_err();
    assert_eq!((missing.code(), field(&missing)), (Code::NotFound, "receipt_id".to_owned()));
    let foreign = client.get_payment(get(&fiscal_code(), "r1")).await.unwrap_err();
    assert_eq!(foreign.code(), Code::NotFound, "another institution's receipt is not shown");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_stable_while_payments_come_in() {
    let world = World::new().await;
    let service = world.start("reporting-0").await;
    let mut client = world.client(&service, "dev");
    record(&world, numbered(&world.institution, 0..25)).await;
    let (mut seen, mut token) = (Vec::new(), String::new());
    for page in 0.. {
        let request = ListPaymentsRequest { page_size: 10, page_token: token, ..list(&world.institution) };
        let answer = client.list_payments(request).await.unwrap().into_inner();
        seen.extend(answer.payments.into_iter().map(|payment| payment.receipt_id));
        token = answer.next_page_token;
        if token.is_empty() {
            break;
        }
        if page == 0 {
            // New ones come at the end, and there comes once more what was seen and has a newer version now.
            record(&world, numbered(&world.institution, 25..30)).await;
            record(&world, [PaymentRecorded { version: 2, ..payment(&world.institution, "r000") }]).await;
        }
    }
    let expect: Vec<String> = (0..30).chain([0]).map(|number| format!("r{number:03}")).collect();
    assert_eq!(seen, expect);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_sees_a_later_version_of_what_was_read() {
    let world = World::new().await;
    record(&world, numbered(&world.institution, 1..4)).await;
    let service = world.start("reporting-0").await;
    let mut client = world.client(&service, "dev");
    let mut page = async |page_token: &str| {
        let request =
            ListPaymentsRequest { page_size: 2, page_token: page_token.to_owned(), ..list(&world.institution) };
        let page = client.list_payments(request).await.unwrap().into_inner();
        let read = page.payments.into_iter().map(|payment| (payment.receipt_id, payment.version));
        (read.collect::<Vec<_>>(), page.next_page_token)
    };
    let told = |receipt_id: &str, version| (receipt_id.to_owned(), version);
    let (first, token) = page("").await;
    assert_eq!(first, [told("r001", 1), told("r002", 1)]);
    assert_eq!(page(&token).await.0, [told("r003", 1)]);
    record(&world, [PaymentRecorded { version: 2, ..payment(&world.institution, "r001") }]).await;
    // A repetition moves nothing.
    record(&world, [payment(&world.institution, "r002")]).await;
    assert_eq!(page(&token).await.0, [told("r003", 1), told("r001", 2)]);
    service.stop().await;
}

/// More than a page of two institutions: each number comes once, whatever it is sorted by.
#[tokio::test(flavor = "multi_thread")]
async fn who_ends_a_restore_reads_the_numbers_of_all() {
    let world = World::new().await;
    let other = fiscal_code();
    record(&world, numbered(&world.institution, 1..1_200)).await;
    record(&world, numbered(&other, 1..3)).await;
    let service = world.start("reporting-0").await;
    let mut client = world.client(&service, "restore");
    let (mut read, mut page_token) = (Vec::new(), String::new());
    loop {
        let page = client.list_numbers(ListNumbersRequest { page_token }).await.unwrap().into_inner();
        read.extend(page.numbers.into_iter().map(|paid| (paid.issuer, paid.notice_number)));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(read.len(), 1_201);
    let issued = payment(&world.institution, "r001");
    assert!(read.contains(&(issued.issuer, issued.notice_number)));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_can_be_of_one_notice() {
    let world = World::new().await;
    let other = "312000000000471278";
    let of_other = PaymentRecorded { notice_number: other.to_owned(), ..payment(&world.institution, "r2") };
    record(&world, [payment(&world.institution, "r1"), of_other]).await;
    let service = world.start("reporting-0").await;
    let mut client = world.client(&service, "dev");
    let request = ListPaymentsRequest { notice_number: other.to_owned(), ..list(&world.institution) };
    let payments = client.list_payments(request).await.unwrap().into_inner().payments;
    assert_eq!(payments.iter().map(|payment| payment.receipt_id.as_str()).collect::<Vec<_>>(), ["r2"]);
    service.stop().await;
}

#[rstest]
#[case::institution("institution", |request: &mut ListPaymentsRequest| request.institution = "1234".to_owned())]
#[case::size("page_size", |request: &mut ListPaymentsRequest| request.page_size = 501)]
#[case::token("page_token", |request: &mut ListPaymentsRequest| request.page_token = "1.00000000".to_owned())]
#[case::notice("notice_number", |request: &mut ListPaymentsRequest| request.notice_number = "3".repeat(257))]
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_request_is_told_its_field(#[case] name: &str, #[case] spoil: fn(&mut ListPaymentsRequest)) {
    let world = World::new().await;
    let service = world.start("reporting-0").await;
    let mut request = list(&world.institution);
    spoil(&mut request);
    let refused = world.client(&service, "dev").list_payments(request).await.unwrap_err();
    assert_eq!((refused.code(), field(&refused)), (Code::InvalidArgument, name.to_owned()));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_institution_that_is_not_served_is_told_from_one_without_payments() {
    let world = World::new().await;
    save_configuration(&world).await;
    let service = world.start("reporting-0").await;
    let mut client = world.client(&service, "dev");
    eventually(DEADLINE, async || match service.readiness.missing() {
        missing if missing.is_empty() => Ok(()),
        missing => Err(format!("not ready: {missing:?}")),
    })
    .await
    .unwrap();
    let empty = client.list_payments(list(&world.institution)).await.unwrap().into_inner();
    assert_eq!((empty.payments.len(), empty.next_page_token.as_str()), (0, ""));
    let unknown = client.list_payments(list(&fiscal_code())).await.unwrap_err();
    assert_eq!((unknown.code(), field(&unknown)), (Code::NotFound, "institution".to_owned()));
    service.stop().await;
}

/// Each method refuses every certificate of the mesh that is not on its list, and one of the mesh's authority that nobody knows.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_may_call() {
    let world = World::new().await;
    world.mesh.issue("somebody").unwrap();
    let service = world.start("reporting-0").await;
    for name in MESH.into_iter().chain(["somebody"]) {
        for (method, code) in call_everything(&world, &service, name).await {
            let allowed = ALLOWED.iter().any(|allow| allow.method == method && allow.callers.contains(&name));
            assert_eq!(code != Code::PermissionDenied, allowed, "{name} calls {method}: {code}");
        }
    }
    service.stop().await;
}

#[test]
fn every_method_is_on_the_list() {
    let served: BTreeSet<String> = every_method(fiorino_proto::DESCRIPTORS)
        .unwrap()
        .into_iter()
        .filter(|method| SERVICES.iter().any(|service| method.starts_with(service)))
        .collect();
    assert_eq!(served, ALLOWED.iter().map(|allow| allow.method.to_owned()).collect());
}

/// A call of each method: one that is not here is missed by the comparison.
async fn call_everything(world: &World, service: &Running, name: &str) -> Vec<(&'static str, Code)> {
    let mut client = world.client(service, name);
    let mut cases = CasesClient::new(world.channel(service.address, name));
    let mut parked = ParkedMessagesClient::new(world.channel(service.address, name));
    let code = |outcome: Result<(), Status>| outcome.map_or_else(|status| status.code(), |()| Code::Ok);
    let got = client.get_payment(get(&world.institution, "r1")).await.map(drop);
    let listed = client.list_payments(list(&world.institution)).await.map(drop);
    let numbers = client.list_numbers(ListNumbersRequest::default()).await.map(drop);
    let called = vec![
        ("/fiorino.cases.v1.Cases/AssignCase", code(cases.assign_case(AssignCaseRequest::default()).await.map(drop))),
        ("/fiorino.cases.v1.Cases/GetCase", code(cases.get_case(GetCaseRequest::default()).await.map(drop))),
        ("/fiorino.cases.v1.Cases/ListCases", code(cases.list_cases(ListCasesRequest::default()).await.map(drop))),
        ("/fiorino.cases.v1.Cases/NoteCase", code(cases.note_case(NoteCaseRequest::default()).await.map(drop))),
        (
            "/fiorino.cases.v1.Cases/ResolveCase",
            code(cases.resolve_case(ResolveCaseRequest::default()).await.map(drop)),
        ),
        (
            "/fiorino.cases.v1.Cases/ResolveCases",
            code(cases.resolve_cases(ResolveCasesRequest::default()).await.map(drop)),
        ),
        (
            "/fiorino.payments.v1.ParkedMessages/RetryParked",
            code(parked.retry_parked(RetryParkedRequest::default()).await.map(drop)),
        ),
        ("/fiorino.payments.v1.Payments/GetPayment", code(got)),
        ("/fiorino.payments.v1.Payments/ListPayments", code(listed)),
        ("/fiorino.payments.v1.Payments/ListNumbers", code(numbers)),
    ];
    assert_eq!(called.len(), ALLOWED.len());
    called
}

async fn record(world: &World, payments: impl IntoIterator<Item = PaymentRecorded>) {
    let payments = payments.into_iter().map(|told| {
        let payment = Payment::try_from(told).unwrap();
        ((payment.institution, payment.receipt_id.clone()), payment)
    });
    let changes = Changes { payments: payments.collect(), ..Changes::default() };
    store::record(&world.database.pool, TOPIC, &changes).await.unwrap();
}

/// What tenant would tell, as a replica saved it.
async fn save_configuration(world: &World) {
    let spec = InstitutionSpec { fiscal_code: world.institution.clone(), ..InstitutionSpec::default() };
    let resource = Resource {
        kind: ResourceKind::Institution.into(),
        uid: "uid-1".to_owned(),
        config_seq: 1,
        spec: spec.encode_to_vec().into(),
        ..Resource::default()
    };
    sqlx::query("insert into config_copy_head (store_id, config_seq) values ($1, 1)")
        .bind(uuid::Uuid::now_v7().to_string())
        .execute(&world.database.pool)
        .await
        .unwrap();
    sqlx::query("insert into config_copy (uid, latest) values ('uid-1', $1)")
        .bind(resource.encode_to_vec())
        .execute(&world.database.pool)
        .await
        .unwrap();
}

fn numbered(institution: &str, numbers: std::ops::Range<u32>) -> Vec<PaymentRecorded> {
    numbers.map(|number| payment(institution, &format!("r{number:03}"))).collect()
}

fn get(institution: &str, receipt_id: &str) -> tonic::Request<GetPaymentRequest> {
    timed(GetPaymentRequest { institution: institution.to_owned(), receipt_id: receipt_id.to_owned() })
}

fn list(institution: &str) -> ListPaymentsRequest {
    ListPaymentsRequest { institution: institution.to_owned(), ..ListPaymentsRequest::default() }
}

fn timed<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(Duration::from_secs(20));
    request
}

fn field(status: &Status) -> String {
    status.get_details_bad_request().unwrap().field_violations[0].field.clone()
}
