//! What the operator's `Payable` is made of: accounts that open services pay to, and since when a step is waited for.

use std::sync::atomic::{AtomicU8, Ordering};

use fiorino_proto::config::v1::{
    Beneficiary, RecordReadbackRequest, RegisteredAssociation, RegisteredIban, UsedAccount,
};

use crate::{
    fixture::Tenant,
    manifest::{BROKER, IBAN, IBAN_LATER, Manifest, PROVINCE, STATION, account, service},
};

/// Readings are told apart by their time: each is later than the one before.
static MINUTE: AtomicU8 = AtomicU8::new(0);

fn used(owner: &str, account: &str, services: &[&str], in_force: bool, usable: bool) -> UsedAccount {
    let services = services.iter().map(ToString::to_string).collect();
    UsedAccount { owner: owner.into(), account: account.into(), services, in_force, usable }
}

/// pagoPA shows the station if `associated`, and these numbers.
async fn record(tenant: &Tenant, manifest: &Manifest, associated: bool, ibans: &[&str]) {
    let association = RegisteredAssociation {
        institution: manifest.fiscal_code().into(),
        station_id: STATION.into(),
        aux_digit: "3".into(),
        segregation_code: "12".into(),
        enabled: true,
        primitive_version: 2,
        ..RegisteredAssociation::default()
    };
    let iban = |iban: &&str| RegisteredIban {
        institution: manifest.fiscal_code().into(),
        iban: (*iban).into(),
        enabled: true,
        validity_date: "2026-01-01T00:00:00Z".into(),
    };
    let minute = MINUTE.fetch_add(1, Ordering::Relaxed);
    let request = RecordReadbackRequest {
        broker_fiscal_code: BROKER.into(),
        read_at: format!("2026-07-14T10:{minute:02}:00Z"),
        associations: if associated { vec![association] } else { vec![] },
        ibans: ibans.iter().map(iban).collect(),
    };
    tenant.replica.readback().record_readback(request).await.unwrap();
}

#[tokio::test]
async fn accounts_that_open_services_pay_to_are_answered_with_numbers_in_force() {
    let tenant = Tenant::start().await;
    let province = Manifest::province();
    tenant.applied(&province).await;
    let mut manifest = Manifest::new();
    // Nobody pays to the account of next year; the one of the service that is closed does not count either.
    manifest.accounts.push(account("posta", &[("2099-01-01", IBAN_LATER)]));
    manifest.accounts.push(account("scuola", &[("2099-01-01", IBAN_LATER)]));
    let mut shared = service("TARI", "tesoreria");
    shared.beneficiaries.push(Beneficiary {
        fiscal_code: province.fiscal_code().into(),
        legal_name: "Provincia".into(),
        share_basis_points: 500,
        account: "tefa".into(),
        taxonomy_code: "9/0101101IM/".into(),
    });
    let mut closed = service("ASILO", "posta");
    closed.active = false;
    manifest.services.extend([shared, closed]);
    tenant.applied(&manifest).await;
    let code = manifest.fiscal_code().to_owned();
    let of = async || tenant.status(&code).await.used_accounts;
    let tefa = || used(province.fiscal_code(), "tefa", &["TARI"], true, true);
    assert_eq!(of().await, [used("", "tesoreria", &["MENSA", "TARI"], true, false), tefa()]);
    record(&tenant, &manifest, true, &[IBAN]).await;
    assert_eq!(of().await, [used("", "tesoreria", &["MENSA", "TARI"], true, true), tefa()]);

    // A service whose account has no number yet, one that gives everything away, and a number that the province does not have.
    let mut given = service("DIRITTI", "posta");
    given.beneficiaries.push(Beneficiary {
        fiscal_code: province.fiscal_code().into(),
        legal_name: "Provincia".into(),
        share_basis_points: 10_000,
        account: "tefa".into(),
        taxonomy_code: "9/0101101IM/".into(),
    });
    manifest.services.extend([service("SCUOLA", "scuola"), given]);
    manifest.generation += 1;
    tenant.applied(&manifest).await;
    let expected = [
        used("", "scuola", &["SCUOLA"], false, false),
        used("", "tesoreria", &["MENSA", "TARI"], true, true),
        used(province.fiscal_code(), "tefa", &["DIRITTI", "TARI"], true, true),
    ];
    assert_eq!(of().await, expected);
    assert_ne!(PROVINCE, IBAN);
}

/// An account whose object was deleted serves on: `Payable` follows what verify answers.
#[tokio::test]
async fn an_account_that_was_removed_still_counts() {
    let tenant = Tenant::start().await;
    let mut manifest = Manifest::new();
    tenant.applied(&manifest).await;
    record(&tenant, &manifest, true, &[IBAN]).await;
    manifest.accounts.clear();
    manifest.keep = vec![manifest.service_uid("MENSA")];
    manifest.services.clear();
    manifest.generation += 1;
    tenant.applied(&manifest).await;
    let status = tenant.status(manifest.fiscal_code()).await;
    assert_eq!(status.used_accounts, [used("", "tesoreria", &["MENSA"], true, true)]);
}

#[tokio::test]
async fn each_step_has_a_clock_that_starts_with_its_turn() {
    let tenant = Tenant::start().await;
    let mut manifest = Manifest::new();
    tenant.applied(&manifest).await;
    let code = manifest.fiscal_code().to_owned();
    let of = async || {
        let status = tenant.status(&code).await;
        (status.stations_waiting_since, status.accounts_waiting_since)
    };
    let (stations, accounts) = of().await;
    assert!(!stations.is_empty() && accounts.is_empty(), "the association comes first");
    record(&tenant, &manifest, true, &[]).await;
    let (none, accounts) = of().await;
    assert!(none.is_empty() && accounts > stations, "{accounts}");
    record(&tenant, &manifest, true, &[]).await;
    assert_eq!(of().await.1, accounts, "a clock that runs is not set again");
    record(&tenant, &manifest, true, &[IBAN]).await;
    assert_eq!(of().await, (String::new(), String::new()));
    // A number for later waits at pagoPA, but nobody waits for it today.
    manifest.accounts[0] = account("tesoreria", &[("2026-01-01", IBAN), ("2099-01-01", IBAN_LATER)]);
    manifest.generation += 1;
    tenant.applied(&manifest).await;
    let status = tenant.status(manifest.fiscal_code()).await;
    assert!(!status.waiting_since.is_empty() && status.accounts_waiting_since.is_empty());
}
