//! What is in the inbox's tables.

use fiorino_config_client::COPY_DDL;
use sqlx::{Connection as _, PgPool};

use crate::rig::as_runtime;

/// A row of the inbox.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Row {
    pub(crate) version: i32,
    pub(crate) state: String,
    pub(crate) answered: bool,
    pub(crate) refusal: Option<String>,
    pub(crate) findings: Vec<String>,
    pub(crate) attempts: i32,
}

/// Every version of a receipt, first to last.
pub(crate) async fn rows(pool: &PgPool, receipt_id: &str) -> Vec<Row> {
    sqlx::query_as(
        "select version, state, answered, refusal, findings, attempts from receipt_inbox \
         where receipt_id = $1 order by version",
    )
    .bind(receipt_id)
    .fetch_all(pool)
    .await
    .unwrap()
}

/// Raw messages as they were received, oldest first.
pub(crate) async fn messages(pool: &PgPool) -> Vec<String> {
    let bodies: Vec<Vec<u8>> =
        sqlx::query_scalar("select body from receipt_message order by received_at, id").fetch_all(pool).await.unwrap();
    bodies.into_iter().map(|body| String::from_utf8(body).unwrap()).collect()
}

/// Unreadable bodies: how often each was seen.
pub(crate) async fn unreadable(pool: &PgPool) -> Vec<(Vec<u8>, i64)> {
    sqlx::query_as("select body, seen from unreadable_message order by first_seen_at").fetch_all(pool).await.unwrap()
}

#[test]
fn the_saved_configuration_has_the_tables_of_its_client() {
    assert!(include_str!("../../migrations/0001_inbox.sql").contains(COPY_DDL));
}

#[tokio::test]
async fn the_service_itself_cannot_lose_a_receipt() {
    let db = fiorino_test_support::Parts::get()
        .migrated("node-connector", &fiorino_node_connector::MIGRATIONS)
        .await
        .unwrap();
    let mut connection = db.pool.acquire().await.unwrap();
    sqlx::query("set role fiorino_node_connector_runtime").execute(&mut *connection).await.unwrap();
    let service: sqlx::postgres::PgConnectOptions =
        as_runtime(&db.url, &db.url).database_url.connect_options().unwrap();
    let mut service = sqlx::PgConnection::connect_with(&service).await.unwrap();
    let role: String = sqlx::query_scalar("select current_user::text").fetch_one(&mut service).await.unwrap();
    assert_eq!(role, "fiorino_node_connector_runtime", "every test of the service runs with its own rights");
    for statement in [
        "delete from receipt_inbox",
        "delete from receipt_message",
        "update receipt_message set body = ''",
        "delete from unreadable_message",
        "truncate receipt_inbox",
    ] {
        let error = sqlx::query(statement).execute(&mut *connection).await.unwrap_err();
        assert!(error.to_string().contains("permission denied"), "{statement}: {error}");
    }
}
