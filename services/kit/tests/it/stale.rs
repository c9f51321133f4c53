//! A migration that changes the type of a column under prepared statements.

use fiorino_kit::{options::DatabaseOptions, store};
use futures::future::{join_all, try_join_all};
use sqlx::{PgPool, Row as _};

use crate::store::database;

const SELECT: &str = "select n from t";

/// Prepares the statement on every connection of a pool; their backends.
async fn warm(pool: &PgPool, connections: usize) -> Vec<i32> {
    let mut held = try_join_all((0..connections).map(|_| pool.acquire())).await.unwrap();
    let mut backends = Vec::new();
    for connection in &mut held {
        sqlx::query(SELECT).fetch_all(&mut **connection).await.unwrap();
        backends.push(sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut **connection).await.unwrap());
    }
    backends
}

async fn text(pool: &PgPool) -> sqlx::Result<String> {
    sqlx::query(SELECT).fetch_one(pool).await?.try_get(0)
}

#[tokio::test]
async fn a_plan_that_outlived_its_table_fails_no_read_and_ends_the_connections() {
    let database = database().await;
    sqlx::raw_sql("create table t (n int); insert into t (n) values (7)").execute(&database.pool).await.unwrap();
    let pool = store::connect(&DatabaseOptions::for_url(&database.url).unwrap(), "read", 3).unwrap();
    let before = warm(&pool, 3).await;
    warm(&database.pool, 1).await;
    sqlx::query("alter table t alter column n type text").execute(&database.pool).await.unwrap();

    // What the driver does by itself: the same connection fails again and again.
    let mut connection = database.pool.acquire().await.unwrap();
    for _ in 0..2 {
        if let Err(error) = sqlx::query(SELECT).fetch_all(&mut *connection).await {
            assert_eq!(error.as_database_error().unwrap().code().unwrap(), "0A000");
        }
    }
    let read = store::read(|| text(&pool)).await.unwrap();
    assert_eq!(read, "7");
    let rest = join_all((0..8).map(|_| text(&pool))).await;
    assert!(rest.iter().all(Result::is_ok), "{rest:?}");
    assert!(warm(&pool, 3).await.iter().all(|backend| !before.contains(backend)), "they were made anew");
}

#[tokio::test]
async fn another_refusal_of_the_same_class_is_an_error_like_others() {
    let database = database().await;
    let raise = "do $$ begin raise exception 'not supported' using errcode = '0A000'; end $$";
    let error = sqlx::query(raise).execute(&database.pool).await.unwrap_err();
    assert_eq!(error.as_database_error().unwrap().code().unwrap(), "0A000");
    assert!(!store::note(&error) && !store::transient(&error));
}
