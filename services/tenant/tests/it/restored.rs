//! What makes a store a suspect, what does not, and how a person ends it (ARCHITECTURE.md 4.2).

use std::time::Duration;

use clap::Parser as _;
use fiorino_kit::clock::Clock;
use fiorino_proto::{
    config::v1::{Hello, WatchChangesRequest},
    restore::v1::{Number, ObserveRequest, restore_client::RestoreClient},
};
use fiorino_tenant::restore::check;
use fiorino_test_support::{eventually, within};
use rstest::rstest;
use tonic::Code;

use crate::{
    fixture::{PATIENCE, PLATFORM, Tenant, mesh},
    restore::{Keeper, Kept, complete, create, restarted, start, state, unwitnessed, verified},
    stream::{Raw, hello},
};

#[tokio::test]
async fn another_server_is_a_restore() {
    let (tenant, manifest) = start(&[]).await;
    let Tenant { database, replica } = tenant;
    replica.stop().await;
    sqlx::query("update store_origin set system_identifier = '1'").execute(&database.pool).await.unwrap();
    let tenant = restarted(database, &[]).await;
    let told = state(&tenant.replica).await;
    assert!(told.restored && told.reason.contains("system identifier"), "{told:?}");
    // What was paid meanwhile is not known here: nothing is said of it until it was sent again.
    assert_eq!(verified(&tenant.replica).await, Err(Code::Unavailable));
    let _keeper = Keeper::follow(&tenant.replica, &Kept::default()).await;
    eventually(PATIENCE, async || verified(&tenant.replica).await.map_err(|code| code.to_string())).await.unwrap();
    assert_eq!(create(&tenant.replica, &manifest, "early", 1).await.unwrap_err().0, Code::Unavailable);
}

/// A block is reserved where the store was last seen, and nowhere else: also when nobody has looked yet.
#[tokio::test]
async fn a_server_that_changes_under_a_running_process_gives_out_nothing() {
    let (tenant, manifest) = start(&[]).await;
    sqlx::query("update store_origin set system_identifier = '1'").execute(tenant.pool()).await.unwrap();
    assert_eq!(create(&tenant.replica, &manifest, "early", 1).await.unwrap_err().0, Code::Unavailable);
    // The first connection of its pool.
    assert_eq!(verified(&tenant.replica).await, Err(Code::Unavailable));
    eventually(PATIENCE, async || match state(&tenant.replica).await {
        state if state.restored => Ok(()),
        state => Err(format!("{state:?}")),
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_promoted_standby_goes_on_by_itself_far_above_what_it_knows() {
    let (tenant, manifest) = start(&[]).await;
    let kept = Kept::default();
    let keeper = Keeper::follow(&tenant.replica, &kept).await;
    let store = keeper.store.store_id.clone();
    create(&tenant.replica, &manifest, "before", 1).await.unwrap();
    let (tenant, keeper) = promoted(tenant, &kept).await;
    assert_ne!(keeper.store.store_id, store, "who holds something of before asks for everything");
    assert!(!keeper.store.send_again_since.is_empty(), "receipts may be missing");
    assert!(!state(&tenant.replica).await.restored);
    create(&tenant.replica, &manifest, "after", 1).await.unwrap();
    let next: i64 = sqlx::query_scalar("select next from nav_sequence").fetch_one(tenant.pool()).await.unwrap();
    assert_eq!(next, 2_002_000);
    drop(keeper);
    let _keeper = Keeper::follow(&tenant.replica, &kept).await;
    assert!(!state(&tenant.replica).await.restored, "what was given out since is no news");
}

#[tokio::test]
async fn a_promoted_standby_that_lacks_blocks_is_a_restore() {
    let (tenant, manifest) = start(&[]).await;
    let kept = Kept::default();
    let keeper = Keeper::follow(&tenant.replica, &kept).await;
    create(&tenant.replica, &manifest, "before", 1).await.unwrap();
    eventually(PATIENCE, async || match kept.lock().unwrap().len() {
        1 => Ok(()),
        other => Err(other.to_string()),
    })
    .await
    .unwrap();
    drop(keeper);
    kept.lock().unwrap().values_mut().for_each(|block| block.end += 1_000);
    let (tenant, _keeper) = promoted(tenant, &kept).await;
    assert!(state(&tenant.replica).await.restored);
}

/// The same database on another timeline, and who follows it.
async fn promoted(tenant: Tenant, kept: &Kept) -> (Tenant, Keeper) {
    let Tenant { database, replica } = tenant;
    replica.stop().await;
    sqlx::query("update store_origin set timeline = timeline - 1").execute(&database.pool).await.unwrap();
    let tenant = restarted(database, &[]).await;
    let keeper = Keeper::follow(&tenant.replica, kept).await;
    (tenant, keeper)
}

#[rstest]
#[case::ahead(|hello: Hello| Hello { known_seq: 99, ..hello })]
#[case::another_store(|hello: Hello| Hello { store_id: uuid::Uuid::new_v4().to_string(), ..hello })]
#[tokio::test]
async fn a_saved_copy_that_the_store_cannot_have_given_is_a_restore(#[case] spoil: fn(Hello) -> Hello) {
    let (tenant, _) = start(&[]).await;
    let known = Raw::open(&tenant.replica, hello("a")).await.complete().await;
    let back = Hello { store_id: known.store_id.clone(), known_seq: known.up_to_seq, ..hello("a") };
    Raw::open(&tenant.replica, back.clone()).await.complete().await;
    assert!(!state(&tenant.replica).await.restored);
    let snapshot = Raw::open(&tenant.replica, spoil(back)).await.complete().await;
    assert!(snapshot.snapshot_start);
    let told = state(&tenant.replica).await;
    assert!(told.restored && told.reason.starts_with("node-connector a holds the configuration"), "{told:?}");
    assert_ne!(told.store_id, known.store_id);
}

#[tokio::test]
async fn who_watches_is_told_of_another_store() {
    let (tenant, _) = start(&[]).await;
    let mut watch = tenant
        .replica
        .apply()
        .watch_changes(WatchChangesRequest { platform: PLATFORM.into() })
        .await
        .unwrap()
        .into_inner();
    let first = watch.message().await.unwrap().unwrap();
    sqlx::query("update store_origin set system_identifier = '1'").execute(tenant.pool()).await.unwrap();
    let second = loop {
        let next = within(PATIENCE, watch.message()).await.unwrap().unwrap().unwrap();
        if next.all && next.store_id != first.store_id {
            break next;
        }
    };
    assert!(first.all && !first.store_id.is_empty());
    assert_eq!(second.store_id, state(&tenant.replica).await.store_id);
}

/// What reporting knows, and no witness: a number that was issued raises the sequence, one of another system does not.
#[tokio::test]
async fn numbers_that_others_know_raise_their_sequence() {
    let (tenant, manifest) = start(&[]).await;
    let given = create(&tenant.replica, &manifest, "given", 500).await.unwrap();
    let Tenant { database, replica } = tenant;
    replica.stop().await;
    sqlx::query("update nav_sequence set next = 0").execute(&database.pool).await.unwrap();
    sqlx::query("update store_origin set system_identifier = '1'").execute(&database.pool).await.unwrap();
    let tenant = restarted(database, &[]).await;
    let institution = manifest.fiscal_code();
    let mut numbers: Vec<_> = given.iter().map(String::as_str).collect();
    numbers.push("312999999999999918");
    let number = |number: &str| Number { institution: institution.into(), notice_number: number.into() };
    let request = ObserveRequest { numbers: numbers.into_iter().map(number).collect() };
    RestoreClient::new(tenant.replica.channel("restore")).observe(request).await.unwrap();
    let highest: i64 = sqlx::query_scalar("select highest from nav_witness").fetch_one(tenant.pool()).await.unwrap();
    assert_eq!(highest, 500);
}

/// The subcommand, against a tenant whose operator and node-connector come while it waits.
#[tokio::test]
async fn restore_check_waits_and_ends_it() {
    let (tenant, manifest) = start(&[]).await;
    let Tenant { database, replica } = tenant;
    replica.stop().await;
    sqlx::query("update store_origin set system_identifier = '1'").execute(&database.pool).await.unwrap();
    let tenant = restarted(database, &[]).await;
    let files = mesh().identity("restore");
    let arguments = |seconds: u32| {
        check::Options::try_parse_from([
            "restore-check".to_owned(),
            format!("--tenant-endpoints=https://{}", tenant.replica.address),
            "--without-reporting".to_owned(),
            format!("--wait-seconds={seconds}"),
            format!("--tls-cert={}", files.cert.display()),
            format!("--tls-key={}", files.key.display()),
            format!("--tls-ca={}", files.ca.display()),
        ])
        .unwrap()
    };
    let mut told = Vec::new();
    let error = check::run(&arguments(0), &Clock::system(), &mut told).await.unwrap_err();
    assert!(error.to_string().starts_with("the operator has not looked at every manifest"), "{error}");
    let options = arguments(60);
    let ended = tokio::spawn(async move {
        let mut told = Vec::new();
        check::run(&options, &Clock::system(), &mut told).await.map(|()| String::from_utf8(told).unwrap())
    });
    complete(&tenant, &state(&tenant.replica).await.store_id).await.unwrap();
    let _keeper = Keeper::follow(&tenant.replica, &Kept::default()).await;
    let told = within(PATIENCE, ended).await.unwrap().unwrap().unwrap();
    assert!(
        told.contains("waiting: ") && told.ends_with("the restore has ended: numbers are issued again\n"),
        "{told}"
    );
    create(&tenant.replica, &manifest, "after", 1).await.unwrap();
    let mut again = Vec::new();
    check::run(&arguments(0), &Clock::system(), &mut again).await.unwrap();
    assert_eq!(String::from_utf8(again).unwrap(), "the database is not a restored one: there is nothing to do\n");
}

/// Whose own database went back: somebody has to know which raw messages are gone.
#[rstest]
#[case::it_knows("2026-11-30T10:00:00Z", 0)]
#[case::tenant_knows("", 1)]
#[tokio::test]
async fn a_node_connector_that_went_back_is_a_case(#[case] lost_from: &str, #[case] given: usize) {
    let (tenant, manifest) = start(&[]).await;
    let kept = Kept::default();
    let keeper = Keeper::follow(&tenant.replica, &kept).await;
    if given > 0 {
        create(&tenant.replica, &manifest, "given", given).await.unwrap();
        eventually(PATIENCE, async || match unwitnessed(tenant.pool()).await {
            0 => Ok(()),
            left => Err(left.to_string()),
        })
        .await
        .unwrap();
    }
    drop(keeper);
    let _keeper = Keeper::follow_from(&tenant.replica, &Kept::default(), lost_from).await;
    let cases: Vec<(String, Option<String>)> =
        sqlx::query_as("select kind, detail->>'from' from cases").fetch_all(tenant.pool()).await.unwrap();
    assert_eq!(cases, [("inbox_restored".to_owned(), Some(lost_from.to_owned()).filter(|from| !from.is_empty()))]);
    assert!(!state(&tenant.replica).await.restored, "tenant lacks nothing");
}

#[tokio::test]
async fn a_database_that_restarts_is_no_restore() {
    let (tenant, manifest) = start(&["--witness-wait-ms=2000"]).await;
    let kept = Kept::default();
    let _keeper = Keeper::follow(&tenant.replica, &kept).await;
    create(&tenant.replica, &manifest, "before", 1).await.unwrap();
    sqlx::query("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")
        .execute(tenant.pool())
        .await
        .unwrap();
    eventually(Duration::from_secs(30), async || {
        create(&tenant.replica, &manifest, "after", 1).await.map(drop).map_err(|refused| format!("{refused:?}"))
    })
    .await
    .unwrap();
    let restored: i64 = sqlx::query_scalar("select count(*) from store_origin where since is not null")
        .fetch_one(tenant.pool())
        .await
        .unwrap();
    assert_eq!(restored, 0);
}
