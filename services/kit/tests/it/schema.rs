//! Versions of a schema: the command that brings one up to date, and the gate that keeps a process from one that does not fit it.

use std::{borrow::Cow, collections::BTreeSet, time::Duration};

use anyhow::ensure;
use fiorino_kit::{
    admin::Readiness,
    error::chain,
    options::DatabaseOptions,
    schema::{self, DDL, Error, Gate, Options, Version},
    store::{self, Class, Plans},
};
use fiorino_test_support::{TestDatabase, eventually, free_port};
use futures::future::join_all;
use sqlx::{
    AssertSqlSafe, SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
};

use crate::store::database;

const PATIENCE: Duration = Duration::from_mins(1);

/// Migrations of this SQL, numbered from 1; the first makes the table of versions too.
fn migrator(migrations: &[&str]) -> Migrator {
    let migration = |(number, sql): (i64, &&str)| {
        let ddl = if number == 1 { DDL } else { "" };
        let row = format!("insert into schema_version (version, compatible_from) values ({number}, {number})");
        let sql = AssertSqlSafe(format!("{ddl}; {sql}; {row}")).into_sql_str();
        Migration::new(number, Cow::Borrowed("test"), MigrationType::Simple, sql, false)
    };
    Migrator { migrations: (1..).zip(migrations).map(migration).collect(), ..Migrator::DEFAULT }
}

fn options(database: &TestDatabase) -> Options {
    Options::for_url(&database.url).unwrap()
}

const TABLE: &str = "create table t (id int); insert into t (id) values (1)";
const COLUMN: &str = "alter table t add column more text";

#[tokio::test]
async fn migrators_that_start_together_migrate_once() {
    let database = database().await;
    let (options, migrator) = (options(&database), migrator(&[TABLE]));
    let migrated = join_all((0..4).map(|_| schema::migrate(&options, &migrator))).await;
    assert!(migrated.iter().all(Result::is_ok), "{migrated:?}");
    let count: i64 = sqlx::query_scalar("select count(*) from t").fetch_one(&database.pool).await.unwrap();
    assert_eq!(count, 1);
}

/// As a receipt is: no statement may take longer than 700 ms.
#[tokio::test]
async fn a_migration_behind_a_long_reader_delays_no_insert() {
    let database = database().await;
    schema::migrate(&options(&database), &migrator(&[TABLE])).await.unwrap();
    let receipts = Class {
        name: "receipts",
        max: 2,
        acquire_timeout: Duration::from_millis(400),
        statement_timeout: Duration::from_millis(700),
        plans: Plans::ForValues,
    };
    let pool = store::connect_class(&DatabaseOptions::for_url(&database.url).unwrap(), receipts).unwrap();
    let mut dump = store::begin(&database.pool).await.unwrap();
    sqlx::query("lock table t in access share mode").execute(&mut *dump).await.unwrap();

    let later = options(&database);
    let migrating = tokio::spawn(async move { schema::migrate(&later, &migrator(&[TABLE, COLUMN])).await });
    let inserted = std::cell::Cell::new(0_u32);
    let inserting = async {
        loop {
            sqlx::query("insert into t (id) values (2)").execute(&pool).await.unwrap();
            inserted.set(inserted.get() + 1);
        }
    };
    // Each try has a connection of its own. Between two of them inserts went on.
    let waiting = async {
        let (mut tries, mut counts) = (BTreeSet::new(), BTreeSet::new());
        eventually(PATIENCE, async || {
            let waits = "select pid from pg_stat_activity
                where datname = current_database() and application_name = 'migrate' and wait_event_type = 'Lock'";
            for pid in sqlx::query_scalar::<_, i32>(waits).fetch_all(&database.pool).await? {
                if tries.insert(pid) {
                    counts.insert(inserted.get());
                }
            }
            ensure!(tries.len() >= 4, "{} tries", tries.len());
            anyhow::Ok(())
        })
        .await
        .unwrap();
        counts
    };
    let counts = tokio::select! {
        counts = waiting => counts,
        () = inserting => unreachable!("inserts until the other ends"),
    };
    assert_eq!(counts.len(), 4, "inserts after each try: {counts:?}");
    assert!(!migrating.is_finished());
    dump.rollback().await.unwrap();
    assert_eq!(migrating.await.unwrap().unwrap(), Version { version: 2, compatible_from: 2 });
    sqlx::query("insert into t (id, more) values (3, 'more')").execute(&pool).await.unwrap();
}

#[tokio::test]
async fn a_lock_that_is_never_to_be_had_is_an_error_that_leaves_nothing_behind() {
    let database = database().await;
    let once = options(&database);
    schema::migrate(&once, &migrator(&[TABLE])).await.unwrap();
    let mut dump = store::begin(&database.pool).await.unwrap();
    sqlx::query("lock table t in access share mode").execute(&mut *dump).await.unwrap();
    let twice = Options { tries: 2, ..once };
    let both = migrator(&[TABLE, &format!("create table other (id int); {COLUMN}")]);
    let error = schema::migrate(&twice, &both).await.unwrap_err();
    assert!(matches!(error, Error::Locked { tries: 2, .. }), "{error:?}");
    assert!(
        chain(&error).contains("failed to lock a table 2 times: others use it all the time; look in pg_stat_activity")
    );
    let version = schema::version(&database.pool).await.unwrap();
    assert_eq!(version, Some(Version { version: 1, compatible_from: 1 }));
    let other: bool =
        sqlx::query_scalar("select to_regclass('other') is not null").fetch_one(&database.pool).await.unwrap();
    assert!(!other, "the part before the lock was undone");
    dump.rollback().await.unwrap();
    schema::migrate(&twice, &both).await.unwrap();
}

#[tokio::test]
async fn an_older_program_changes_nothing_of_a_newer_schema() {
    let database = database().await;
    let options = options(&database);
    schema::migrate(&options, &migrator(&[TABLE, COLUMN])).await.unwrap();
    let error = schema::migrate(&options, &migrator(&[TABLE])).await.unwrap_err();
    assert!(matches!(error, Error::Newer(_)), "{error:?}");
    assert!(chain(&error).contains("the schema has version 2, which programs from version 2 on work with"), "{error}");
    sqlx::query("update schema_version set compatible_from = 1").execute(&database.pool).await.unwrap();
    let found = schema::migrate(&options, &migrator(&[TABLE])).await.unwrap();
    assert_eq!(found, Version { version: 2, compatible_from: 1 });
}

#[tokio::test]
async fn a_latest_migration_that_records_no_version_is_an_error() {
    let database = database().await;
    let mut forgetful = migrator(&[TABLE]);
    let sql = AssertSqlSafe(COLUMN.to_owned()).into_sql_str();
    forgetful.migrations.to_mut().push(Migration::new(2, Cow::Borrowed("forgot"), MigrationType::Simple, sql, false));
    let error = schema::migrate(&options(&database), &forgetful).await.unwrap_err();
    assert_eq!(error.to_string(), "the latest migration, 2, records no version of the schema");
}

#[tokio::test]
async fn a_database_that_is_away_is_tried_and_then_an_error() {
    let away = format!("postgres://nobody@127.0.0.1:{}/none", free_port().unwrap());
    let options = Options { tries: 2, ..Options::for_url(&away).unwrap() };
    let error = schema::migrate(&options, &migrator(&[TABLE])).await.unwrap_err();
    assert!(matches!(error, Error::Database(_)), "{error:?}");
}

/// What a process does at its start, on a schema that does not fit it yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_waits_until_its_schema_fits_and_says_why() {
    crate::telemetry::start();
    let database = database().await;
    let (readiness, needs) = (Readiness::new(&[schema::CONDITION]), migrator(&[TABLE, COLUMN]));
    let gate = Gate::new(database.pool.clone(), &needs, readiness.clone());
    let opening = tokio::spawn(async move { gate.open().await });
    let says = async |why: &str, reason: Option<&str>| {
        eventually(PATIENCE, async || {
            let waiting = readiness.waiting().unwrap_or_default();
            ensure!(waiting.contains(why), "{waiting}");
            let metrics = crate::telemetry::metrics();
            for known in ["older", "newer"] {
                let gauge = format!("fiorino_schema_waiting{{reason=\"{known}\"}} {}", u8::from(reason == Some(known)));
                ensure!(metrics.contains(&gauge), "{gauge} is missing in {metrics}");
            }
            Ok(())
        })
        .await
        .unwrap();
    };
    says(
        "schema (the database has no version of its schema yet, this program needs 2; run its command `migrate`)",
        Some("older"),
    )
    .await;
    schema::migrate(&options(&database), &migrator(&[TABLE])).await.unwrap();
    says("schema (the schema has version 1, this program needs 2; run its command `migrate`)", Some("older")).await;
    let (ahead, reset) = (
        "insert into schema_version (version, compatible_from) values (3, 3)",
        "delete from schema_version where version = 3",
    );
    sqlx::query(ahead).execute(&database.pool).await.unwrap();
    says("which programs from version 3 on work with; this one has version 2: start a newer one", Some("newer")).await;
    assert!(!opening.is_finished());
    sqlx::query(reset).execute(&database.pool).await.unwrap();
    schema::migrate(&options(&database), &needs).await.unwrap();
    opening.await.unwrap().unwrap();
    says("", None).await;
    assert_eq!(readiness.waiting(), None);
}

#[tokio::test]
async fn who_can_do_without_its_database_starts_while_it_is_away() {
    let away = format!("postgres://nobody@127.0.0.1:{}/none", free_port().unwrap());
    let pool = store::connect(&DatabaseOptions::for_url(&away).unwrap(), "config", 1).unwrap();
    let readiness = Readiness::new(&[schema::CONDITION]);
    let gate = Gate::new(pool, &migrator(&[TABLE]), readiness.clone());
    assert!(!gate.open_unless_away(Duration::from_millis(300)).await.unwrap());
    assert_eq!(readiness.waiting(), None);

    let database = database().await;
    schema::migrate(&options(&database), &migrator(&[TABLE])).await.unwrap();
    let gate = Gate::new(database.pool.clone(), &migrator(&[TABLE]), readiness);
    assert!(gate.open_unless_away(PATIENCE).await.unwrap());
}
