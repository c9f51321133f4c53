//! Pools: limits of a class, lazily connected, migrations by several replicas at once.

use std::{borrow::Cow, time::Duration};

use fiorino_kit::{
    clock::Clock,
    options::DatabaseOptions,
    store::{self, Class},
};
use fiorino_test_support::{Parts, TestDatabase};
use futures::future::join_all;
use sqlx::{
    SqlStr,
    migrate::{Migration, MigrationType, Migrator},
};

async fn database() -> TestDatabase {
    Parts::get().empty_database().await.unwrap()
}

fn class() -> Class {
    Class {
        name: "verify",
        max: 1,
        acquire_timeout: Duration::from_millis(150),
        statement_timeout: Duration::from_millis(200),
    }
}

#[tokio::test]
async fn a_class_has_its_own_timeouts() {
    crate::telemetry::start();
    let database = database().await;
    let pool = store::connect_class(&DatabaseOptions::for_url(&database.url).unwrap(), class()).unwrap();
    let name: String = sqlx::query_scalar("select current_setting('application_name')").fetch_one(&pool).await.unwrap();
    assert_eq!(name, "verify");

    let error = sqlx::query("select pg_sleep(5)").execute(&pool).await.unwrap_err();
    assert_eq!(error.as_database_error().unwrap().code().unwrap(), "57014", "the server cancels it");
    assert!(store::transient(&error));

    let held = store::begin(&pool).await.unwrap();
    let error = sqlx::query("select 1").execute(&pool).await.unwrap_err();
    assert!(matches!(error, sqlx::Error::PoolTimedOut) && store::transient(&error));
    let metrics = crate::telemetry::metrics();
    for gauge in [
        "db_client_connection_count{db_client_connection_pool_name=\"verify\",db_client_connection_state=\"used\"} 1",
        "db_client_connection_max{db_client_connection_pool_name=\"verify\"} 1",
    ] {
        assert!(metrics.contains(gauge), "{gauge} is missing in {metrics}");
    }
    held.rollback().await.unwrap();
    sqlx::query("select 1").execute(&pool).await.unwrap();
}

#[tokio::test]
async fn a_database_that_is_away_is_an_error_of_the_statement_not_of_the_start() {
    let clock = Clock::system();
    let pool =
        store::connect(&DatabaseOptions::for_url("postgres://nobody@127.0.0.1:1/none").unwrap(), "config", 2).unwrap();
    let begin = clock.monotonic();
    let error = sqlx::query("select 1").execute(&pool).await.unwrap_err();
    assert!(store::transient(&error), "{error}");
    assert!(clock.monotonic().saturating_sub(begin) < Duration::from_secs(5));
}

#[tokio::test]
async fn the_broken_constraint_is_told() {
    let database = database().await;
    sqlx::query("create table t (id int, constraint t_id_is_small check (id < 10))")
        .execute(&database.pool)
        .await
        .unwrap();
    let error = sqlx::query("insert into t values (11)").execute(&database.pool).await.unwrap_err();
    assert_eq!(store::constraint(&error), Some("t_id_is_small"));
    assert!(!store::transient(&error));
    let other = sqlx::query("select * from absent").execute(&database.pool).await.unwrap_err();
    assert_eq!(store::constraint(&other), None);
}

#[tokio::test]
async fn a_dropped_transaction_changes_nothing() {
    let database = database().await;
    sqlx::query("create table t (id int)").execute(&database.pool).await.unwrap();
    let mut transaction = store::begin(&database.pool).await.unwrap();
    sqlx::query("insert into t values (1)").execute(&mut *transaction).await.unwrap();
    drop(transaction);
    let count: i64 = sqlx::query_scalar("select count(*) from t").fetch_one(&database.pool).await.unwrap();
    assert_eq!(count, 0);
}

#[tokio::test]
async fn replicas_that_start_together_migrate_once() {
    let database = database().await;
    let options = DatabaseOptions::for_url(&database.url).unwrap();
    let sql = SqlStr::from_static("create table t (id int); insert into t values (1)");
    let migration = Migration::new(1, Cow::Borrowed("t"), MigrationType::Simple, sql, false);
    let migrator = Migrator { migrations: Cow::Owned(vec![migration]), ..Migrator::DEFAULT };
    let migrated = join_all((0..4).map(|_| store::migrate_as_owner(&options, &migrator))).await;
    assert!(migrated.iter().all(Result::is_ok), "{migrated:?}");
    let count: i64 = sqlx::query_scalar("select count(*) from t").fetch_one(&database.pool).await.unwrap();
    assert_eq!(count, 1);
}
