//! The statements of the calls use their indexes.

use fiorino_reporting::store;
use rstest::rstest;
use sqlx::AssertSqlSafe;

use crate::support::World;

#[rstest]
#[case::get(store::GET, "('80012340560', 'r4711')", "payment_key")]
#[case::list(store::LIST, "('80012340560', 4711, 101)", "payment_sequence")]
#[case::list_of_notice(store::LIST_OF_NOTICE, "('80012340560', 0, 101, '312000000000004711')", "payment_notice")]
#[tokio::test(flavor = "multi_thread")]
async fn plans(#[case] statement: &'static str, #[case] arguments: &str, #[case] index: &str) {
    let world = World::new().await;
    let mut connection = world.database.pool.acquire().await.unwrap();
    sqlx::raw_sql(
        "insert into payment
             (institution, receipt_id, sequence, version, event_id, notice_number, iuv, issuer, amount_cents, paid_at, recorded_at,
              psp_id, psp_name, payment_method, position_id, client_reference, service_code, description, application_date,
              transfer_date, stand_in, transfers)
         select '80012340560', 'r' || n, n, 1, gen_random_uuid(), '3120000000' || lpad((n % 9000)::text, 8, '0'), '', '', 100, now(),
                now(), '', '', '', '', '', '', '', null, null, false, '[]'
         from generate_series(1, 20000) as n;
         analyze payment",
    )
    .execute(&mut *connection)
    .await
    .unwrap();
    // A generic plan is what a prepared statement ends up with.
    sqlx::raw_sql(AssertSqlSafe(format!("set plan_cache_mode = force_generic_plan; prepare asked as {statement}")))
        .execute(&mut *connection)
        .await
        .unwrap();
    let plan: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!("explain execute asked {arguments}")))
        .persistent(false)
        .fetch_all(&mut *connection)
        .await
        .unwrap();
    let plan = plan.join("\n");
    assert!(plan.contains(&format!("Index Scan using {index} ")), "{plan}");
    assert!(!plan.contains("Sort") && !plan.contains("Seq Scan") && !plan.contains("Filter"), "{plan}");
}
