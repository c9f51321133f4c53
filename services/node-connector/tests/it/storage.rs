//! What is in the inbox's tables.

use fiorino_config_client::COPY_DDL;
use fiorino_node_connector::{Limits, RECEIPTS_STATEMENT, Tuning};
use fiorino_wire::FaultCode;
use sqlx::{AssertSqlSafe, Connection as _, PgPool};
use uuid::Uuid;

use crate::rig::{Node, Rig, as_runtime, messages::Receipt};

/// A row of the inbox.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Row {
    pub(crate) version: i32,
    pub(crate) state: String,
    pub(crate) answered: bool,
    pub(crate) refusal: Option<String>,
    pub(crate) findings: Vec<String>,
    pub(crate) violations: Option<Vec<String>>,
    pub(crate) attempts: i32,
}

/// Every version of a receipt, first to last.
pub(crate) async fn rows(pool: &PgPool, receipt_id: &str) -> Vec<Row> {
    sqlx::query_as(
        "select version, state, answered, refusal, findings, violations, attempts from receipt_inbox \
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

/// How often a receipt came again byte by byte, and was not kept.
pub(crate) async fn repeated(pool: &PgPool, receipt_id: &str) -> i64 {
    sqlx::query_scalar("select sum(repeated)::bigint from receipt_inbox where receipt_id = $1")
        .bind(receipt_id)
        .fetch_one(pool)
        .await
        .unwrap()
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
    let service: sqlx::postgres::PgConnectOptions = as_runtime(&db.url).database_url.connect_options().unwrap();
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

/// A connection keeps the plan of its first day while the inbox grows.
#[tokio::test]
async fn a_plan_of_an_empty_inbox_looks_repetitions_up_by_key() {
    let db = fiorino_test_support::Parts::get()
        .migrated("node-connector", &fiorino_node_connector::MIGRATIONS)
        .await
        .unwrap();
    let types = "text[], text[], bytea[], text[], bool[], smallint[], text[], text[], timestamptz[], uuid[], \
        text[], text[], text[], text[], bytea[], text[]";
    let nothing = ["null"; 16].join(", ");
    let prepare =
        format!("set plan_cache_mode = force_generic_plan; prepare taken_in ({types}) as {RECEIPTS_STATEMENT}");
    let mut connection = db.pool.acquire().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut *connection).await.unwrap();
    let explain = format!("explain execute taken_in ({nothing})");
    let plan: Vec<String> = sqlx::raw_sql(AssertSqlSafe(explain))
        .fetch_all(&mut *connection)
        .await
        .unwrap()
        .iter()
        .map(|line| sqlx::Row::get(line, 0))
        .collect();
    let plan = plan.join("\n");
    assert!(plan.contains("using receipt_inbox_pkey on receipt_inbox known"), "{plan}");
    assert!(!plan.contains("Seq Scan on receipt_inbox"), "{plan}");
}

#[tokio::test]
async fn a_repetition_byte_by_byte_is_counted_and_not_kept_again() {
    let (rig, node) = Rig::with_node().await;
    let receipt = Receipt::new(&rig.names, "r1").write();
    let spelled = receipt.replace("paf:", "x:").replace("xmlns:paf", "xmlns:x");
    node.call(&rig.names.station, receipt.clone()).await.assert_ok();
    for again in [&receipt, &spelled, &receipt] {
        let reply = node.call(&rig.names.station, again.clone()).await;
        reply.assert_ko(FaultCode::ReceiptDuplicata, &rig.names.institution);
    }
    assert_eq!(messages(&rig.db.pool).await, [receipt.clone(), spelled]);
    assert_eq!((rows(&rig.db.pool, "r1").await.len(), repeated(&rig.db.pool, "r1").await), (1, 2));
}

/// What comes again is counted and what is a receipt is taken, while nothing new that cannot be read finds room.
#[tokio::test]
async fn unreadable_bodies_are_kept_while_there_is_room() {
    let rig = Rig::start().await;
    let limits = Limits { unreadable_bytes: 256 * 1024, ..Limits::default() };
    let node = Node::start(rig.options("node-connector-0"), Tuning { limits, ..Tuning::default() }).await;
    node.ready().await;
    // 58 KiB each, which PostgreSQL cannot compress.
    let bodies: Vec<String> =
        (0..16).map(|_| (0..1_600).map(|_| Uuid::new_v4().to_string()).collect::<String>()).collect();
    let mut kept = 0;
    let refused = loop {
        let reply = node.call(&rig.names.station, bodies[kept].clone()).await;
        if reply.status != 500 {
            break reply;
        }
        kept += 1;
    };
    refused.assert_fault(503, "too many messages that cannot be read");
    assert!(kept > 1, "the first fills the table");
    node.call(&rig.names.station, bodies[0].clone()).await.assert_fault(500, "cannot be read");
    let mut expected: Vec<_> = bodies[..kept].iter().map(|body| (body.clone().into_bytes(), 1)).collect();
    expected[0].1 = 2;
    assert_eq!(unreadable(&rig.db.pool).await, expected);
    node.call(&rig.names.station, Receipt::new(&rig.names, "r1").write()).await.assert_ok();

    sqlx::query("truncate unreadable_message").execute(&rig.db.pool).await.unwrap();
    node.call(&rig.names.station, bodies[kept].clone()).await.assert_fault(500, "cannot be read");
    let charset: Option<String> =
        sqlx::query_scalar("select charset from unreadable_message").fetch_one(&rig.db.pool).await.unwrap();
    assert_eq!(charset.as_deref(), Some("utf-8"));
}
