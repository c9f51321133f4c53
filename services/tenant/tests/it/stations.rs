//! One code on several stations, and stations that an institution left.

use fiorino_proto::{
    config::v1::{
        Association, AssociationState, RecordReadbackRequest, RegisteredAssociation, RegisteredIban,
        StationRegistration, StationSpec, config_readback_server::ConfigReadback as _,
    },
    notices::v1::{NoticeRef, Refusal, TransferType, activate_reply},
    positions::v1::{InstalmentState, get_position_request::By},
    receipts::v1::Receipt,
};
use fiorino_tenant::configuration::{Readback, Wake, removed};
use tonic::Request;

use crate::{
    fixture::Tenant,
    manifest::{BROKER, IBAN, Manifest, STATION, association},
    money::{Money, numbers, position},
};

const SECOND: &str = "15376371009_02";

fn second_station() -> (String, StationSpec) {
    let spec = StationSpec { station_id: SECOND.into(), broker_fiscal_code: BROKER.into(), primitive_version: 2 };
    ("second".into(), spec)
}

/// Beside the first station this one has the code too.
fn on_both(manifest: &mut Manifest) {
    manifest.more_stations = vec![second_station()];
    let mut beside = association("12");
    beside.station_id = SECOND.into();
    beside.state = AssociationState::AcceptingOnly.into();
    manifest.spec.associations.push(beside);
}

/// The second issues, the first accepts.
fn swapped(manifest: &mut Manifest) {
    manifest.spec.associations[0].state = AssociationState::AcceptingOnly.into();
    manifest.spec.associations[1].state = AssociationState::Issuing.into();
}

/// As pagoPA shows it.
fn shown(institution: &str, station_id: &str) -> RegisteredAssociation {
    RegisteredAssociation {
        institution: institution.into(),
        station_id: station_id.into(),
        aux_digit: "3".into(),
        segregation_code: "12".into(),
        enabled: true,
        primitive_version: 2,
        ..RegisteredAssociation::default()
    }
}

/// A reading of the broker that shows the institution's account, and the institution at these stations; true = something is still waited for.
async fn read(money: &Money, minute: u8, stations: &[&str]) -> bool {
    let request = RecordReadbackRequest {
        broker_fiscal_code: BROKER.into(),
        read_at: format!("2026-11-24T10:{minute:02}:00Z"),
        associations: stations.iter().map(|station| shown(money.institution(), station)).collect(),
        ibans: vec![RegisteredIban {
            institution: money.institution().into(),
            iban: IBAN.into(),
            enabled: true,
            validity_date: "2026-01-01T00:00:00Z".into(),
        }],
        age_ms: 0,
    };
    let readback = Readback::new(money.context.clone(), Wake::default());
    readback.record_readback(Request::new(request)).await.unwrap().into_inner().waiting
}

/// What verify and get through a station are answered.
async fn through(money: &Money, number: &str, station_id: &str) -> Result<i64, Refusal> {
    let notice = NoticeRef { station_id: station_id.into(), ..money.notice(number) };
    let verified = money.replica.verify(vec![notice.clone()]).await.remove(0).map(|notice| notice.amount_cents);
    let activated = match money.replica.activate(notice, TransferType::Unspecified).await {
        activate_reply::Reply::Activated(activated) => Ok(activated.notice.unwrap().amount_cents),
        activate_reply::Reply::Refusal(refusal) => Err(Refusal::try_from(refusal).unwrap()),
    };
    assert_eq!(verified, activated, "{station_id}");
    verified
}

#[tokio::test]
async fn a_code_on_two_stations_is_served_through_both_and_issued_once() {
    let mut money = Money::start().await;
    let printed = numbers(&money.create(position("printed", &[&[500]])).await).remove(0);
    assert_eq!(through(&money, &printed, SECOND).await, Err(Refusal::Station), "not its station yet");
    money.reconfigure(on_both).await;
    assert_eq!(through(&money, &printed, STATION).await, Ok(500));
    assert_eq!(through(&money, &printed, SECOND).await, Ok(500));
    let second = numbers(&money.create(position("second", &[&[700]])).await).remove(0);
    money.reconfigure(swapped).await;
    let third = numbers(&money.create(position("third", &[&[900]])).await).remove(0);
    for (number, amount) in [(&printed, 500), (&second, 700), (&third, 900)] {
        assert!(number.starts_with("312"), "{number}: the code stays");
        assert_eq!(through(&money, number, STATION).await, Ok(amount));
        assert_eq!(through(&money, number, SECOND).await, Ok(amount));
    }
    assert_eq!(money.count("nav_sequence").await, 1, "one sequence for the code, whatever its station");
    // A receipt is one, whichever station it comes through.
    let one = Receipt { station_id: SECOND.into(), ..money.receipt("r1", &printed, 500) };
    let other = money.receipt("r2", &second, 700);
    money.pay(vec![one, other]).await;
    for number in [&printed, &second] {
        let by = By::NoticeNumber(number.clone());
        let paid = money.get(by).await.unwrap();
        assert_eq!(paid.options[0].instalments[0].state(), InstalmentState::Paid);
    }
    assert_eq!(money.cases().await, []);
}

#[tokio::test]
async fn of_several_codes_the_same_one_issues_when_its_station_changes() {
    let mut money = Money::start().await;
    money
        .reconfigure(|manifest| {
            manifest.more_stations = vec![second_station()];
            let mut other = association("13");
            other.station_id = SECOND.into();
            manifest.spec.associations.push(other);
        })
        .await;
    let before = numbers(&money.create(position("before", &[&[500]])).await).remove(0);
    // 12 goes to a station whose id comes after that of 13.
    let third = "15376371009_03";
    money
        .reconfigure(|manifest| {
            let spec = StationSpec { station_id: third.into(), ..second_station().1 };
            manifest.more_stations.push(("third".into(), spec));
            manifest.spec.associations[0].station_id = third.into();
        })
        .await;
    let after = numbers(&money.create(position("after", &[&[500]])).await).remove(0);
    assert_eq!((&before[..3], &after[..3]), ("312", "312"));
}

#[tokio::test]
async fn the_database_holds_one_issuing_association_per_code() {
    let mut money = Money::start().await;
    money.reconfigure(on_both).await;
    let twice = sqlx::query("update association set issuing = true").execute(money.pool()).await.unwrap_err();
    assert!(twice.to_string().contains("association_issuing"), "{twice}");
}

#[tokio::test]
async fn a_removed_association_answers_until_a_reading_does_not_show_it() {
    let mut money = Money::start().await;
    let number = numbers(&money.create(position("printed", &[&[500]])).await).remove(0);
    read(&money, 1, &[STATION]).await;
    money
        .reconfigure(|manifest| {
            on_both(manifest);
            swapped(manifest);
            manifest.spec.associations.remove(0);
        })
        .await;
    assert_eq!(through(&money, &number, SECOND).await, Ok(500));
    assert_eq!(through(&money, &number, STATION).await, Ok(500), "pagoPA still routes through it");
    read(&money, 2, &[STATION]).await;
    assert_eq!(through(&money, &number, STATION).await, Ok(500), "it still shows it");
    read(&money, 3, &[SECOND]).await;
    assert_eq!(through(&money, &number, STATION).await, Err(Refusal::Station), "it does not show it any more");
    assert_eq!(through(&money, &number, SECOND).await, Ok(500));
    // Whoever shows it again may route through it again.
    read(&money, 4, &[SECOND, STATION]).await;
    assert_eq!(through(&money, &number, STATION).await, Ok(500));
    read(&money, 5, &[SECOND]).await;
    assert_eq!(through(&money, &number, STATION).await, Err(Refusal::Station));
    // Back in the manifest it is answered at once, before anybody reads.
    let accepting = Association { state: AssociationState::AcceptingOnly.into(), ..association("12") };
    money.reconfigure(|manifest| manifest.spec.associations.push(accepting)).await;
    assert_eq!(through(&money, &number, STATION).await, Ok(500));
    // Receipts were taken all the time, and none of it is a case.
    assert_eq!(money.cases().await, []);
}

/// What was read before the removal may be older than what pagoPA does since: it decides nothing.
#[tokio::test]
async fn a_reading_from_before_the_removal_takes_no_station_away() {
    let mut money = Money::start().await;
    let number = numbers(&money.create(position("printed", &[&[500]])).await).remove(0);
    read(&money, 1, &[]).await;
    money.reconfigure(|manifest| manifest.spec.associations.clear()).await;
    assert_eq!(through(&money, &number, STATION).await, Ok(500));
    read(&money, 2, &[]).await;
    assert_eq!(through(&money, &number, STATION).await, Err(Refusal::Station));
}

/// While pagoPA moves a code it shows both stations. That reading finds everything registered; the next one decides about the old station.
#[tokio::test]
async fn a_removed_association_that_pagopa_shows_is_read_again_soon() {
    let mut money = Money::start().await;
    money
        .reconfigure(|manifest| {
            on_both(manifest);
            swapped(manifest);
            manifest.spec.associations.remove(0);
        })
        .await;
    assert!(read(&money, 1, &[STATION]).await, "the new station is not shown yet");
    assert!(read(&money, 2, &[SECOND, STATION]).await, "the old one is shown still");
    // Where pagoPA never takes it away, the daily reading is enough.
    sqlx::query("update association set removed_at = now() - interval '31 days' where removed")
        .execute(money.pool())
        .await
        .unwrap();
    assert!(!read(&money, 3, &[SECOND, STATION]).await);
    sqlx::query("update association set removed_at = now() where removed").execute(money.pool()).await.unwrap();
    assert!(read(&money, 4, &[SECOND, STATION]).await);
    assert!(!read(&money, 5, &[SECOND]).await, "nothing is awaited");
}

#[tokio::test]
async fn without_readings_a_removed_association_answers_for_30_days_then_a_person_asks() {
    let mut money = Money::start().await;
    let number = numbers(&money.create(position("printed", &[&[500]])).await).remove(0);
    money.reconfigure(|manifest| manifest.spec.associations.clear()).await;
    let aged = async |days: i32| {
        sqlx::query("update association set removed_at = now() - make_interval(days => $1)")
            .bind(days)
            .execute(money.pool())
            .await
            .unwrap();
        removed::expire_once(&money.context).await.unwrap();
    };
    aged(29).await;
    assert_eq!(through(&money, &number, STATION).await, Ok(500));
    assert_eq!(money.cases().await, []);
    aged(31).await;
    assert_eq!(through(&money, &number, STATION).await, Err(Refusal::Station));
    let case = ("station_unconfirmed".to_owned(), format!("{STATION}/3/12/"));
    assert_eq!(money.cases().await, [case]);
    let open = async || -> i64 {
        sqlx::query_scalar("select count(*) from cases where state <> 3").fetch_one(money.pool()).await.unwrap()
    };
    removed::expire_once(&money.context).await.unwrap();
    assert_eq!(open().await, 1, "told once");
    // A reading says what the person was to find out.
    read(&money, 1, &[STATION]).await;
    assert_eq!((through(&money, &number, STATION).await, open().await), (Ok(500), 0));
}

/// A broker whose registry is read is believed for as long as it is.
#[tokio::test]
async fn a_reading_begins_the_30_days_anew() {
    let mut money = Money::start().await;
    let number = numbers(&money.create(position("printed", &[&[500]])).await).remove(0);
    money.reconfigure(|manifest| manifest.spec.associations.clear()).await;
    read(&money, 1, &[STATION]).await;
    sqlx::query("update association set removed_at = now() - interval '90 days'").execute(money.pool()).await.unwrap();
    removed::expire_once(&money.context).await.unwrap();
    assert_eq!((through(&money, &number, STATION).await, money.cases().await), (Ok(500), vec![]));
    sqlx::query("update readback set recorded_at = now() - interval '31 days'").execute(money.pool()).await.unwrap();
    removed::expire_once(&money.context).await.unwrap();
    assert_eq!(through(&money, &number, STATION).await, Err(Refusal::Station));
}

/// The previous version marks as removed without saying when.
#[tokio::test]
async fn what_the_previous_version_removed_answers_from_when_it_is_noticed() {
    let money = Money::start().await;
    let number = numbers(&money.create(position("printed", &[&[500]])).await).remove(0);
    sqlx::query("update association set removed = true").execute(money.pool()).await.unwrap();
    assert_eq!(through(&money, &number, STATION).await, Ok(500));
    removed::expire_once(&money.context).await.unwrap();
    let noticed: bool = sqlx::query_scalar(
        "select bool_and(removed_at = now() or removed_at > now() - interval '1 hour') from association",
    )
    .fetch_one(money.pool())
    .await
    .unwrap();
    assert!(noticed);
    assert_eq!(through(&money, &number, STATION).await, Ok(500));
}

/// (station, associated, secondary)
fn told(stations: &[StationRegistration]) -> Vec<(&str, bool, bool)> {
    stations.iter().map(|it| (it.station_id.as_str(), it.associated, it.secondary)).collect()
}

#[tokio::test]
async fn the_station_that_issues_counts_and_the_other_is_named() {
    let tenant = Tenant::start().await;
    let mut manifest = Manifest::new();
    on_both(&mut manifest);
    tenant.applied(&manifest).await;
    let reads = async |minute: u8, stations: &[&str]| {
        let request = RecordReadbackRequest {
            broker_fiscal_code: BROKER.into(),
            read_at: format!("2026-11-24T10:{minute:02}:00Z"),
            associations: stations.iter().map(|station| shown(manifest.fiscal_code(), station)).collect(),
            ibans: vec![],
            age_ms: 0,
        };
        tenant.replica.readback().record_readback(request).await.unwrap();
        tenant.status(manifest.fiscal_code()).await
    };
    let before = reads(1, &[STATION]).await;
    assert_eq!(told(&before.stations), [(STATION, true, false), (SECOND, false, true)]);
    assert_eq!(before.stations[1].difference, "pagoPA does not show the association");
    assert!(!before.waiting_since.is_empty(), "pagoPA is looked at until it has switched");
    let switched = reads(2, &[SECOND]).await;
    assert_eq!(told(&switched.stations), [(STATION, false, false), (SECOND, true, true)]);

    // A code that nobody issues: those count that pagoPA shows, and all of them while it shows none.
    for association in &mut manifest.spec.associations {
        association.state = AssociationState::AcceptingOnly.into();
    }
    manifest.generation += 1;
    tenant.applied(&manifest).await;
    let accepting = tenant.status(manifest.fiscal_code()).await;
    assert_eq!(told(&accepting.stations), [(SECOND, true, false), (STATION, false, true)]);
    let nowhere = {
        let request = RecordReadbackRequest {
            broker_fiscal_code: BROKER.into(),
            read_at: "2026-11-24T10:03:00Z".into(),
            associations: vec![],
            ibans: vec![],
            age_ms: 0,
        };
        tenant.replica.readback().record_readback(request).await.unwrap();
        tenant.status(manifest.fiscal_code()).await
    };
    assert_eq!(told(&nowhere.stations), [(STATION, false, false), (SECOND, false, false)]);
}
