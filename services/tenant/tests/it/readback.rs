//! Read-back: what pagoPA shows becomes registered, associated, waiting, and decides about a switch of numbers.

use std::time::Duration;

use fiorino_kit::clock::Clock;
use fiorino_proto::config::v1::{
    LifecyclePhase, RecordReadbackRequest, RegisteredAssociation, RegisteredIban, StationRegistration,
};
use tonic::Code;

use crate::{
    fixture::{Tenant, violations},
    manifest::{BROKER, IBAN, IBAN_LATER, Manifest, STATION, account},
};

fn association(manifest: &Manifest, segregation_code: &str) -> RegisteredAssociation {
    RegisteredAssociation {
        institution: manifest.fiscal_code().into(),
        station_id: STATION.into(),
        aux_digit: "3".into(),
        segregation_code: segregation_code.into(),
        enabled: true,
        primitive_version: 2,
        ..RegisteredAssociation::default()
    }
}

fn iban(manifest: &Manifest, iban: &str, validity_date: &str) -> RegisteredIban {
    RegisteredIban {
        institution: manifest.fiscal_code().into(),
        iban: iban.into(),
        enabled: true,
        validity_date: validity_date.into(),
    }
}

/// Records a reading that begins now; true = something is still waited for.
async fn record(tenant: &Tenant, associations: Vec<RegisteredAssociation>, ibans: Vec<RegisteredIban>) -> bool {
    record_of(tenant, "2026-07-14T10:00:00Z", Duration::ZERO, associations, ibans).await
}

/// Records a reading that began so long ago, and at this instant by the reader's clock.
async fn record_of(
    tenant: &Tenant,
    read_at: &str,
    age: Duration,
    associations: Vec<RegisteredAssociation>,
    ibans: Vec<RegisteredIban>,
) -> bool {
    let request = RecordReadbackRequest {
        broker_fiscal_code: BROKER.into(),
        read_at: read_at.into(),
        associations,
        ibans,
        age_ms: age.as_millis().try_into().unwrap(),
    };
    tenant.replica.readback().record_readback(request).await.unwrap().into_inner().waiting
}

async fn station(tenant: &Tenant, manifest: &Manifest) -> StationRegistration {
    tenant.status(manifest.fiscal_code()).await.stations.into_iter().next().unwrap()
}

#[tokio::test]
async fn an_institution_waits_until_pagopa_shows_station_and_account() {
    let tenant = Tenant::start().await;
    let manifest = Manifest::new();
    tenant.applied(&manifest).await;
    let before = tenant.status(manifest.fiscal_code()).await;
    assert!(!before.waiting_since.is_empty() && before.readback_at.is_empty());
    assert_eq!((before.stations[0].associated, before.stations[0].difference.as_str()), (false, ""));
    assert!(record(&tenant, vec![], vec![]).await);
    assert_eq!(station(&tenant, &manifest).await.difference, "pagoPA does not show the association");
    assert!(record(&tenant, vec![association(&manifest, "13")], vec![]).await);
    let difference = "segregation code is 13 at pagoPA, 12 in the manifest";
    assert_eq!(station(&tenant, &manifest).await.difference, difference);
    assert!(record(&tenant, vec![association(&manifest, "12")], vec![]).await);
    let ibans = vec![iban(&manifest, IBAN, "2026-01-01T00:00:00Z")];
    assert!(!record(&tenant, vec![association(&manifest, "12")], ibans).await);
    let after = tenant.status(manifest.fiscal_code()).await;
    assert_eq!(after.waiting_since, "");
    let read_at: jiff::Timestamp = after.readback_at.parse().unwrap();
    assert!(read_at.duration_until(Clock::system().now()).abs().as_secs() < 60, "{read_at}: the database's time");
    assert!(after.stations[0].associated && after.accounts[0].registered, "{after:?}");
    assert_eq!(after.accounts[0].iban_tail, "3456");
    // Nothing of it is configuration.
    assert_eq!(after.config_seq, before.config_seq);
}

#[tokio::test]
async fn a_reading_replaces_the_one_before_but_not_a_later_one_and_repeats_without_a_write() {
    let tenant = Tenant::start().await;
    let manifest = Manifest::new();
    tenant.applied(&manifest).await;
    let whole = || (vec![association(&manifest, "12")], vec![iban(&manifest, IBAN, "2026-01-01T00:00:00Z")]);
    let (associations, ibans) = whole();
    assert!(!record(&tenant, associations, ibans).await);
    let status_seq = async || -> i64 {
        sqlx::query_scalar("select status_seq from config_head").fetch_one(tenant.pool()).await.unwrap()
    };
    let before = status_seq().await;
    let older = record_of(&tenant, "2026-07-14T10:00:00Z", Duration::from_mins(10), vec![], vec![]).await;
    assert!(!older, "an older reading changes nothing");
    let (associations, ibans) = whole();
    assert!(!record(&tenant, associations, ibans).await);
    assert_eq!(status_seq().await, before);
    assert!(record(&tenant, vec![], vec![]).await);
    let now = tenant.status(manifest.fiscal_code()).await;
    assert!(!now.stations[0].associated && !now.accounts[0].registered && !now.waiting_since.is_empty());
    assert_eq!(status_seq().await, before + 1);
}

#[tokio::test]
async fn the_first_number_is_used_at_once_a_later_one_when_pagopa_takes_it() {
    let tenant = Tenant::start().await;
    let mut manifest = Manifest::new();
    manifest.accounts[0] = account("tesoreria", &[("2026-01-01", IBAN), ("2026-06-01", IBAN_LATER)]);
    tenant.applied(&manifest).await;
    let used = async |day: &str| -> Option<String> {
        sqlx::query_scalar("select iban from number_in_use(1, 'tesoreria', $1::text::date)")
            .bind(day)
            .fetch_optional(tenant.pool())
            .await
            .unwrap()
    };
    assert_eq!(used("2025-12-31").await, None);
    assert_eq!(used("2026-07-01").await.as_deref(), Some(IBAN));
    // Enabled at pagoPA from 10 July, Italian time.
    let ibans = || vec![iban(&manifest, IBAN_LATER, "2026-07-09T22:00:00Z")];
    record(&tenant, vec![], ibans()).await;
    assert_eq!(used("2026-07-09").await.as_deref(), Some(IBAN));
    assert_eq!(used("2026-07-10").await.as_deref(), Some(IBAN_LATER));
    // A reading that does not show it undoes no switch; withdrawing it does.
    record(&tenant, vec![], vec![]).await;
    assert_eq!(used("2026-07-10").await.as_deref(), Some(IBAN_LATER));
    manifest.accounts[0].numbers[1].withdrawn = true;
    tenant.applied(&manifest).await;
    assert_eq!(used("2026-07-10").await.as_deref(), Some(IBAN));
    // Another number on the same day waits for pagoPA again.
    manifest.accounts[0].numbers[1].withdrawn = false;
    manifest.accounts[0].numbers[1].iban = "IT80D0306909606100000067890".into();
    tenant.apply(&manifest).await.unwrap();
    assert_eq!(used("2026-07-10").await.as_deref(), Some(IBAN));
}

#[tokio::test]
async fn a_closed_institution_waits_for_nothing_and_one_that_is_applied_later_finds_the_reading() {
    let tenant = Tenant::start().await;
    let mut closed = Manifest::new();
    closed.spec.phase = LifecyclePhase::Closed.into();
    tenant.applied(&closed).await;
    assert_eq!(tenant.status(closed.fiscal_code()).await.waiting_since, "");
    let later = Manifest::new();
    record(&tenant, vec![association(&later, "12")], vec![iban(&later, IBAN, "2026-01-01T00:00:00Z")]).await;
    tenant.applied(&later).await;
    let status = tenant.status(later.fiscal_code()).await;
    assert!(status.stations[0].associated && status.accounts[0].registered && status.waiting_since.is_empty());
}

#[tokio::test]
async fn a_reading_that_cannot_be_read_names_its_fields() {
    let tenant = Tenant::start().await;
    let manifest = Manifest::new();
    let request = RecordReadbackRequest {
        broker_fiscal_code: "1".into(),
        read_at: "yesterday".into(),
        associations: vec![],
        ibans: vec![iban(&manifest, IBAN, "2026-01-01T00:00:00Z")],
        age_ms: u64::MAX,
    };
    let status = tenant.replica.readback().record_readback(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let told = violations(&status).join("\n");
    for field in ["broker_fiscal_code", "read_at", "age_ms"] {
        assert!(told.contains(field), "{field} is missing in {told}");
    }
    assert!(!told.contains(IBAN));
}

#[tokio::test]
async fn a_line_that_cannot_be_read_hides_no_other() {
    let tenant = Tenant::start().await;
    let manifest = Manifest::new();
    tenant.applied(&manifest).await;
    let endless = RegisteredAssociation { aux_digit: "3".repeat(101), ..association(&manifest, "12") };
    let ibans = vec![iban(&manifest, IBAN_LATER, "soon"), iban(&manifest, IBAN, "2026-01-01T00:00:00Z")];
    assert!(!record(&tenant, vec![endless, association(&manifest, "12")], ibans).await);
    let status = tenant.status(manifest.fiscal_code()).await;
    assert!(status.stations[0].associated && status.accounts[0].registered, "{status:?}");
}

/// Clocks of machines differ by days and months: what one of them says neither stops later readings nor makes an old one new.
#[tokio::test]
async fn a_reading_with_an_odd_clock_does_no_lasting_harm() {
    let tenant = Tenant::start().await;
    let manifest = Manifest::new();
    tenant.applied(&manifest).await;
    let whole = || (vec![association(&manifest, "12")], vec![iban(&manifest, IBAN, "2026-01-01T00:00:00Z")]);
    for read_at in ["2027-06-01T00:00:00Z", "1970-01-01T00:00:00Z", "2999-12-31T00:00:00Z"] {
        assert!(record_of(&tenant, read_at, Duration::ZERO, vec![], vec![]).await);
        let (associations, ibans) = whole();
        assert!(!record(&tenant, associations, ibans).await, "the reading after that of {read_at} counts");
        assert!(tenant.status(manifest.fiscal_code()).await.accounts[0].registered);
    }
    let late = record_of(&tenant, "2999-12-31T00:00:00Z", Duration::from_mins(10), vec![], vec![]).await;
    assert!(!late, "it began before the one that is known");
    // As a version that believed the reader's clock has left it.
    let believed = "update readback set read_at = '2027-06-01T00:00:00Z'";
    sqlx::query(believed).execute(tenant.pool()).await.unwrap();
    assert!(record(&tenant, vec![], vec![]).await);
    assert!(!tenant.status(manifest.fiscal_code()).await.accounts[0].registered);
}
