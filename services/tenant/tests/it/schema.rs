//! What the database itself guarantees.

use fiorino_tenant::MIGRATIONS;
use fiorino_test_support::Parts;
use sqlx::{Executor as _, PgPool};

async fn database() -> fiorino_test_support::TestDatabase {
    Parts::get().migrated("tenant", &MIGRATIONS).await.unwrap()
}

/// What the runtime role is answered.
async fn as_runtime(pool: &PgPool, statement: &'static str) -> Result<(), sqlx::Error> {
    let mut tx = fiorino_kit::store::begin(pool).await?;
    tx.execute("set local role fiorino_tenant_runtime").await?;
    tx.execute(statement).await.map(drop)
}

#[test]
fn cases_have_the_events_of_every_service() {
    let statements: Vec<&str> = MIGRATIONS.iter().map(|migration| migration.sql.as_str()).collect();
    assert!(statements.iter().any(|sql| sql.contains(fiorino_cases::EVENTS_DDL)));
}

#[tokio::test]
async fn the_runtime_role_cannot_delete_what_outlives_everything() {
    let database = database().await;
    for statement in [
        "delete from nav_sequence",
        "delete from institution",
        "delete from config_resource",
        "delete from account_number",
        "delete from payment_service",
        "delete from client_reference",
        "delete from debt_position",
        "delete from notice",
        "delete from activation",
        "delete from position_change",
        "delete from receipt_key",
        "delete from receipt",
        "delete from cases",
        "delete from fence_lease",
        "delete from fence_allowance",
        "update fence_allowance set lease_uid = ''",
        "delete from foreign_number",
        "delete from case_event",
        "update case_event set note = ''",
        // What was said once stays said.
        "update client_reference set position_id = gen_random_uuid()",
        "update foreign_number set nav = ''",
        "update activation set amount_cents = 0",
        "update position_change set position_id = gen_random_uuid()",
        "update receipt_key set content_hash = ''",
        "update receipt set amount_cents = 0",
        "truncate notice, receipt",
        "truncate config_head",
        "drop table institution",
        "create table public.mine (id int)",
    ] {
        let error = as_runtime(&database.pool, statement).await.unwrap_err();
        let code = error.as_database_error().and_then(|error| error.code().map(String::from));
        assert_eq!(code.as_deref(), Some("42501"), "{statement}: {error}");
    }
}

#[tokio::test]
async fn the_runtime_role_does_what_the_service_does() {
    let database = database().await;
    for statement in [
        "update config_head set config_seq = config_seq + 1",
        "insert into institution (environment, fiscal_code, platform, uid, namespace, name, legal_name, office_name, phase,
             config_seq, status_seq)
         values ('Uat', '80012340560', 'fiorino', 'u', 'n', 'm', 'Comune', '', 2, 1, 1)",
        "select valid_from, iban, postal from number_in_use(1, 'tesoreria', '2026-07-14')",
        "select max(version), max(compatible_from) from schema_version",
        "insert into case_event (case_id, at, actor, action) select id, now(), 'a', 2 from case_list",
        "update cases set state = 2, owner = 'a'",
        "delete from watermark",
        "delete from readback_iban",
        "insert into outbox (shard, topic, key, event_id, event_type, payload) values (1, 't', 'k', gen_random_uuid(), 'e', '')",
    ] {
        as_runtime(&database.pool, statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
}

#[tokio::test]
async fn there_is_one_head_and_one_institution_per_fiscal_code() {
    let database = database().await;
    let institution = "insert into institution (environment, fiscal_code, platform, uid, namespace, name, legal_name,
             office_name, phase, config_seq, status_seq)
         values ('Uat', '80012340560', 'fiorino', 'u', 'n', 'm', 'Comune', '', 2, 1, 1)";
    for (statement, constraint) in [
        ("insert into config_head default values", "config_head_pkey"),
        (institution, "institution_identity"),
        ("update institution set phase = 6", "institution_phase"),
        (
            "insert into nav_sequence (institution_id, aux_digit, code, prefix, key) values (1, 3, '12', '', '')",
            "nav_sequence_key",
        ),
    ] {
        if constraint == "institution_identity" {
            database.pool.execute(institution).await.unwrap();
        }
        let error = database.pool.execute(statement).await.unwrap_err();
        assert_eq!(fiorino_kit::store::constraint(&error), Some(constraint), "{error}");
    }
}
