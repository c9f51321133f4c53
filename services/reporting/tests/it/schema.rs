//! The migrations.

use std::collections::BTreeSet;

use fiorino_reporting::MIGRATIONS;

use crate::support::World;

#[test]
fn the_saved_configuration_has_the_client_s_tables() {
    let statements: Vec<&str> = MIGRATIONS.iter().map(|migration| migration.sql.as_str()).collect();
    assert!(statements.iter().any(|sql| sql.contains(fiorino_config_client::COPY_DDL)));
}

#[test]
fn cases_have_the_tables_of_every_service() {
    let statements: Vec<&str> = MIGRATIONS.iter().map(|migration| migration.sql.as_str()).collect();
    for ddl in [fiorino_cases::TABLES_DDL, fiorino_cases::EVENTS_DDL] {
        assert!(statements.iter().any(|sql| sql.contains(ddl)));
    }
}

/// The runtime role reads and writes every table, and removes neither payments nor parked messages nor places in Kafka.
#[tokio::test(flavor = "multi_thread")]
async fn rights_of_the_runtime_role() {
    let world = World::new().await;
    let rights: Vec<(String, String)> = sqlx::query_as(
        "select table_name, string_agg(lower(privilege_type), ' ' order by privilege_type)
         from information_schema.role_table_grants where grantee = 'fiorino_reporting_runtime' group by table_name",
    )
    .fetch_all(&world.database.pool)
    .await
    .unwrap();
    let tables: Vec<String> = sqlx::query_scalar(
        "select table_name from information_schema.tables where table_schema = 'public' and table_name <> '_sqlx_migrations'",
    )
    .fetch_all(&world.database.pool)
    .await
    .unwrap();
    let with = |wanted: &str| {
        rights.iter().filter(|(_, right)| right == wanted).map(|(table, _)| table.as_str()).collect::<BTreeSet<_>>()
    };
    let kept = ["payment", "payment_counter", "consumer_offset", "parked_message", "cases"].into();
    let removed = ["lease", "config_copy", "config_copy_head"].into();
    let (appended, shown) = (["case_event"].into(), ["case_list"].into());
    assert_eq!(with("insert select update"), kept);
    assert_eq!(with("delete insert select update"), removed);
    assert_eq!(with("insert select"), appended);
    assert_eq!(with("select"), shown);
    let all = &(&kept | &removed) | &(&appended | &shown);
    assert_eq!(tables.iter().map(String::as_str).collect::<BTreeSet<_>>(), all);
}
