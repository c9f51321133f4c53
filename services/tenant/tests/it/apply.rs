//! Bundles: idempotent, ordered, removals, outcomes, violations.

use std::collections::HashMap;

use fiorino_proto::config::v1::{ApplyBundleResponse, ApplyResult, LifecyclePhase, MarkUnmanagedRequest};
use sqlx::Row as _;
use tonic::Code;

use crate::{
    fixture::{ENVIRONMENT, PLATFORM, Replica, Tenant, violations},
    manifest::{IBAN, IBAN_LATER, Manifest, account, association, service},
};

fn result(response: &ApplyBundleResponse, uid: &str) -> (ApplyResult, String) {
    let outcome = response.outcomes.iter().find(|outcome| outcome.uid == uid).unwrap();
    (outcome.result(), outcome.message.clone())
}

/// Every row of configuration with the transaction that wrote it last.
async fn fingerprint(tenant: &Tenant) -> HashMap<String, String> {
    let mut found = HashMap::new();
    for table in [
        "config_resource",
        "institution",
        "association",
        "account",
        "account_number",
        "payment_service",
        "broker",
        "station",
        "nav_sequence",
    ] {
        let statement = format!("select xmin::text || t::text from {table} t");
        let rows = sqlx::query(sqlx::AssertSqlSafe(statement)).fetch_all(tenant.pool()).await.unwrap();
        let mut rows: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        rows.sort();
        found.insert(table.to_owned(), rows.join("\n"));
    }
    found
}

#[tokio::test]
async fn an_equal_bundle_writes_nothing() {
    let tenant = Tenant::start().await;
    let manifest = Manifest::new();
    let config_seq = tenant.applied(&manifest).await;
    let before = fingerprint(&tenant).await;
    let again = tenant.apply(&manifest).await.unwrap();
    assert_eq!(again.config_seq, config_seq);
    assert!(again.outcomes.iter().all(|outcome| outcome.result() == ApplyResult::Unchanged), "{again:?}");
    assert_eq!(tenant.head().await, config_seq);
    assert_eq!(fingerprint(&tenant).await, before);
}

/// Sequences are numbered 1.. and each bundle takes one, so at every moment as many institutions are visible as the head says:
/// a reader that saw sequence n misses nothing below.
#[tokio::test]
async fn bundles_commit_in_the_order_of_their_sequences() {
    let tenant = Tenant::start().await;
    let other = Replica::start(&tenant.database).await;
    let fence = tenant.fence().await;
    let manifests: Vec<_> = (0..16).map(|_| Manifest::new()).collect();
    let applies = manifests.iter().enumerate().map(|(at, manifest)| {
        let mut client = if at % 2 == 0 { tenant.replica.apply() } else { other.apply() };
        let request = fiorino_proto::config::v1::ApplyBundleRequest { fence, ..manifest.bundle() };
        async move { client.apply_bundle(request).await.unwrap().into_inner().config_seq }
    });
    let watching = async {
        loop {
            let (head, visible): (i64, i64) = sqlx::query_as(
                "select config_seq, (select count(*) from institution i where i.config_seq <= h.config_seq) from config_head h",
            )
            .fetch_one(tenant.pool())
            .await
            .unwrap();
            assert_eq!(head, visible);
            tokio::task::yield_now().await;
        }
    };
    let mut sequences = tokio::select! {
        sequences = futures::future::join_all(applies) => sequences,
        () = watching => unreachable!(),
    };
    sequences.sort_unstable();
    assert_eq!(sequences, (1..=16).collect::<Vec<i64>>());
}

#[tokio::test]
async fn a_missing_child_is_removed_a_kept_one_is_not() {
    let tenant = Tenant::start().await;
    let mut manifest = Manifest::new();
    manifest.accounts.push(account("posta", &[("2026-01-01", IBAN_LATER)]));
    manifest.services.extend([service("NIDO", "posta"), service("TARI", "tesoreria")]);
    tenant.applied(&manifest).await;
    manifest.accounts.truncate(1);
    manifest.services.truncate(1);
    manifest.keep = vec![manifest.service_uid("TARI"), "never-applied".into()];
    let config_seq = tenant.applied(&manifest).await;
    let services: Vec<(String, bool)> = sqlx::query_as("select code, removed from payment_service order by code")
        .fetch_all(tenant.pool())
        .await
        .unwrap();
    assert_eq!(services, [("MENSA".into(), false), ("NIDO".into(), true), ("TARI".into(), false)]);
    let tombstones: Vec<String> =
        sqlx::query_scalar("select uid from config_resource where removed and config_seq = $1 order by uid")
            .bind(config_seq)
            .fetch_all(tenant.pool())
            .await
            .unwrap();
    assert_eq!(tombstones, [manifest.service_uid("NIDO"), manifest.account_uid("posta")]);
    // Existing debts of the removed service stay payable: its account's number is still resolved.
    let number: String = sqlx::query_scalar("select iban from number_in_use(1, 'posta', '2026-07-14')")
        .fetch_one(tenant.pool())
        .await
        .unwrap();
    assert_eq!(number, IBAN_LATER);
    let told: Vec<String> =
        tenant.status(manifest.fiscal_code()).await.services.into_iter().map(|one| one.code).collect();
    assert_eq!(told, ["MENSA", "TARI"]);
}

#[tokio::test]
async fn what_a_child_lacks_is_its_outcome_and_its_last_version_stays() {
    let tenant = Tenant::start().await;
    let mut manifest = Manifest::new();
    tenant.applied(&manifest).await;
    manifest.services[0].account = "cassa".into();
    manifest.services[0].title_it = "Mensa".into();
    manifest.services.push(service("NIDO", "tesoreria"));
    let response = tenant.apply(&manifest).await.unwrap();
    let (outcome, message) = result(&response, &manifest.service_uid("MENSA"));
    assert_eq!(outcome, ApplyResult::Invalid);
    assert!(message.contains("account cassa") && message.contains("apply an Iban"), "{message}");
    assert_eq!(result(&response, &manifest.service_uid("NIDO")).0, ApplyResult::Applied);
    let titles: Vec<String> =
        sqlx::query_scalar("select title || '@' || account from payment_service where not removed")
            .fetch_all(tenant.pool())
            .await
            .unwrap();
    assert_eq!(titles, ["Mensa scolastica@tesoreria", "Mensa scolastica@tesoreria"]);
}

#[tokio::test]
async fn an_institution_that_cannot_be_applied_the_first_time_writes_nothing() {
    let tenant = Tenant::start().await;
    let mut manifest = Manifest::new();
    manifest.spec.associations.push(association("12"));
    let response = tenant.apply(&manifest).await.unwrap();
    assert!(response.outcomes.iter().all(|outcome| outcome.result() == ApplyResult::Invalid));
    let (_, message) = result(&response, &manifest.uid());
    assert!(message.contains("told twice"), "{message}");
    assert_eq!((response.config_seq, tenant.head().await), (0, 0));
    let rows: i64 = sqlx::query_scalar("select count(*) from config_resource").fetch_one(tenant.pool()).await.unwrap();
    assert_eq!(rows, 0);
}

#[tokio::test]
async fn a_lower_generation_is_stale_and_adopted_once() {
    let tenant = Tenant::start().await;
    let mut manifest = Manifest { generation: 7, ..Manifest::new() };
    tenant.applied(&manifest).await;
    manifest.generation = 5;
    manifest.spec.legal_name = "Comune restored".into();
    manifest.services.clear();
    let stale = tenant.apply(&manifest).await.unwrap();
    let (outcome, message) = result(&stale, &manifest.uid());
    assert_eq!(outcome, ApplyResult::StaleGeneration);
    assert!(message.contains("fiorino.dev/adopt"), "{message}");
    // A stale bundle says nothing about children either: the missing one is not removed.
    assert_eq!((stale.config_seq, tenant.status(manifest.fiscal_code()).await.services.len()), (1, 1));
    manifest.adopt = true;
    assert_eq!(tenant.applied(&manifest).await, 2);
    assert_eq!(tenant.status(manifest.fiscal_code()).await.legal_name, "Comune restored");
    manifest.generation = 4;
    let twice = tenant.apply(&manifest).await.unwrap();
    assert_eq!(result(&twice, &manifest.uid()).0, ApplyResult::StaleGeneration);
    // Without the annotation in between, the next one counts again.
    tenant.applied(&Manifest { generation: 5, adopt: false, ..manifest.clone() }).await;
    tenant.applied(&manifest).await;
}

#[tokio::test]
async fn a_new_generation_of_a_child_takes_effect() {
    let tenant = Tenant::start().await;
    let mut manifest = Manifest::new();
    tenant.applied(&manifest).await;
    manifest.generation = 2;
    manifest.accounts[0] = account("tesoreria", &[("2026-01-01", IBAN), ("2026-09-01", IBAN_LATER)]);
    let response = tenant.apply(&manifest).await.unwrap();
    assert_eq!(result(&response, &manifest.account_uid("tesoreria")).0, ApplyResult::Applied);
    assert_eq!(result(&response, &manifest.uid()).0, ApplyResult::Unchanged);
    assert_eq!(response.config_seq, 2);
    let numbers: Vec<(String, bool)> = sqlx::query_as("select iban, first from account_number order by valid_from")
        .fetch_all(tenant.pool())
        .await
        .unwrap();
    assert_eq!(numbers, [(IBAN.into(), true), (IBAN_LATER.into(), false)]);
}

/// The API server refuses to edit a number of one object; an object that was deleted and made anew is refused here.
#[tokio::test]
async fn a_number_never_becomes_another_one() {
    let tenant = Tenant::start().await;
    let manifest = Manifest::new();
    tenant.applied(&manifest).await;
    sqlx::query("update account_number set used = true").execute(tenant.pool()).await.unwrap();
    let mut anew = Manifest { cluster: "c2".into(), ..manifest.clone() };
    anew.accounts[0] = account("tesoreria", &[("2026-01-01", IBAN_LATER)]);
    let response = tenant.apply(&anew).await.unwrap();
    let (outcome, message) = result(&response, &anew.account_uid("tesoreria"));
    assert_eq!(outcome, ApplyResult::Invalid);
    assert!(message.contains("valid from 2026-01-01") && !message.contains(IBAN_LATER), "{message}");
    let number: String = sqlx::query_scalar("select iban from account_number").fetch_one(tenant.pool()).await.unwrap();
    assert_eq!(number, IBAN);
}

#[tokio::test]
async fn a_station_that_changes_touches_every_institution_that_uses_it() {
    let tenant = Tenant::start().await;
    let (mut one, other) = (Manifest::new(), Manifest::new());
    tenant.applied(&one).await;
    tenant.applied(&other).await;
    one.station.primitive_version = 1;
    assert_eq!(tenant.applied(&one).await, 3);
    assert_eq!(tenant.status(other.fiscal_code()).await.config_seq, 3);
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_every_field() {
    let tenant = Tenant::start().await;
    let mut manifest = Manifest::new();
    manifest.spec.phase = 77;
    manifest.spec.associations[0].code = "1".into();
    manifest.accounts[0].numbers[0].iban = "IT61X0542811101000000123456".into();
    let mut bundle = manifest.bundle();
    bundle.children[1].hash = vec![0; 32].into();
    let status = tenant.apply_bundle(bundle).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let told = violations(&status);
    let fields: Vec<_> = told.iter().map(|violation| violation.split(": ").next().unwrap()).collect();
    let expected = [
        "institution.spec.phase",
        "institution.spec.associations[0].code",
        "children[0].spec.numbers[0].iban",
        "children[1].hash",
    ];
    for field in expected {
        assert!(fields.contains(&field), "{field} is missing in {told:?}");
    }
    assert!(!status.message().contains("0542811101"), "{}", status.message());
    assert_eq!(tenant.head().await, 0);
}

#[tokio::test]
async fn another_platform_or_environment_is_not_served() {
    let tenant = Tenant::start().await;
    let mut bundle = Manifest::new().bundle();
    bundle.environment = "Production".into();
    bundle.platform = "elsewhere".into();
    let status = tenant.apply_bundle(bundle).await.unwrap_err();
    let told = violations(&status).join("\n");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(told.contains("serves Uat") && told.contains("platform fiorino"), "{told}");
}

#[tokio::test]
async fn a_sequence_of_notice_numbers_has_one_key_for_ever_and_a_floor_that_only_raises() {
    let tenant = Tenant::start().await;
    let mut manifest = Manifest::new();
    manifest.spec.nav_floor = 1_000;
    tenant.applied(&manifest).await;
    let sequence = "select key, next, floor from nav_sequence where aux_digit = 3 and code = '12' and prefix = ''";
    let made: (Vec<u8>, i64, i64) = sqlx::query_as(sequence).fetch_one(tenant.pool()).await.unwrap();
    assert_eq!((made.0.len(), made.1, made.2), (32, 1_000, 1_000));
    sqlx::query("update nav_sequence set next = 5000").execute(tenant.pool()).await.unwrap();
    for (floor, next) in [(2_000, 5_000), (7_000, 7_000)] {
        manifest.spec.nav_floor = floor;
        manifest.generation += 1;
        tenant.applied(&manifest).await;
        let now: (Vec<u8>, i64, i64) = sqlx::query_as(sequence).fetch_one(tenant.pool()).await.unwrap();
        assert_eq!(now, (made.0.clone(), next, floor));
    }
}

#[tokio::test]
async fn a_deleted_manifest_is_served_on_and_a_new_one_adopts_it() {
    let tenant = Tenant::start().await;
    let manifest = Manifest::new();
    let config_seq = tenant.applied(&manifest).await;
    let unmanaged = async |uid: String| {
        let request = MarkUnmanagedRequest {
            fence: tenant.fence().await,
            platform: PLATFORM.into(),
            environment: ENVIRONMENT.into(),
            fiscal_code: manifest.fiscal_code().into(),
            uid,
        };
        tenant.replica.apply().mark_unmanaged(request).await.unwrap();
    };
    let open = async || -> i64 {
        let cases = "select count(*) from cases where kind = 'institution_unmanaged' and state <> 3";
        sqlx::query_scalar(cases).fetch_one(tenant.pool()).await.unwrap()
    };
    unmanaged("of-somebody-else".into()).await;
    assert!(tenant.status(manifest.fiscal_code()).await.managed);
    unmanaged(manifest.uid()).await;
    unmanaged(manifest.uid()).await;
    let status = tenant.status(manifest.fiscal_code()).await;
    assert_eq!((status.managed, status.config_seq, status.phase()), (false, config_seq, LifecyclePhase::Testing));
    assert_eq!(open().await, 1);
    let anew =
        Manifest { cluster: "c2".into(), name: "renamed".into(), namespace: "elsewhere".into(), ..manifest.clone() };
    tenant.applied(&anew).await;
    let status = tenant.status(manifest.fiscal_code()).await;
    assert_eq!((status.managed, status.uid), (true, anew.uid()));
    assert_eq!(open().await, 0);
}

#[tokio::test]
async fn a_change_reaches_the_streams_of_other_replicas_of_tenant() {
    let tenant = Tenant::start().await;
    let other = Replica::start(&tenant.database).await;
    let mut stream = crate::stream::Raw::open(&other, crate::stream::hello("r1")).await;
    let first = stream.complete().await;
    assert_eq!(first.up_to_seq, 0);
    let manifest = Manifest::new();
    let config_seq = tenant.applied(&manifest).await;
    assert_eq!(stream.complete().await.up_to_seq, config_seq);
}
