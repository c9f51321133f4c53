//! These programs on a schema that is ahead of them by a migration, as during the rollout of the next version.

use anyhow::ensure;
use fiorino_e2e::town::{PATIENCE, Town};
use fiorino_test_support::eventually;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// Processes with a database.
const PROCESSES: [&str; 5] = ["tenant", "node-connector-1", "node-connector-2", "reporting", "front-office"];

/// A column more in every table.
const WIDEN: &str = "do $$
    declare name text;
    begin
        for name in select table_name from information_schema.tables
            where table_schema = 'public' and table_type = 'BASE TABLE' and table_name <> '_sqlx_migrations'
        loop
            execute format('alter table %I add column added_later text not null default ''later''', name);
        end loop;
    end $$";

async fn in_every_database(town: &Town, statement: &str) {
    for url in town.world.addresses().database_urls.values() {
        let mut connection = PgConnection::connect(url).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}

async fn is_paid_and_reported(town: &Town, client_reference: &str) {
    let notice = town.create_debt(client_reference).await;
    let paid = town.simulator("psp/pay", &town.notice(&notice)).await.unwrap();
    assert_eq!(town.reported(&notice).await.receipt_id, paid["receiptId"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_serve_a_schema_ahead_of_them_and_wait_on_one_that_left_them_behind() {
    let mut town = Town::payable().await;
    in_every_database(&town, WIDEN).await;
    in_every_database(&town, "insert into schema_version (version, compatible_from) values (9000, 1)").await;
    // Those that run go on, and those that start now serve.
    is_paid_and_reported(&town, "running").await;
    for process in PROCESSES {
        town.world.restart(process).await.unwrap();
    }
    is_paid_and_reported(&town, "restarted").await;

    in_every_database(&town, "insert into schema_version (version, compatible_from) values (9001, 9001)").await;
    for process in PROCESSES {
        town.world.respawn(process, &[]).unwrap();
    }
    let client = reqwest::Client::new();
    for process in PROCESSES {
        let base = town.world.addresses().admin_urls[process].clone();
        let waits = async || {
            let answer = client.get(format!("{base}/readyz")).send().await?;
            let (status, says) = (answer.status().as_u16(), answer.text().await?);
            ensure!(
                status == 503 && says.contains("which programs from version 9001 on work with"),
                "{status}: {says}"
            );
            let alive = client.get(format!("{base}/livez")).send().await?.status();
            ensure!(alive.is_success(), "not alive: {alive}");
            let metrics = client.get(format!("{base}/metrics")).send().await?.text().await?;
            let gauge = metrics.lines().find(|line| line.contains("fiorino_schema_waiting{") && line.contains("newer"));
            ensure!(gauge.is_some_and(|line| line.ends_with(" 1")), "{gauge:?}");
            Ok(())
        };
        eventually(PATIENCE, waits).await.unwrap_or_else(|error| panic!("{process}: {error:#}"));
        let log = town.world.process(process).unwrap().log_tail(20);
        assert!(log.contains("the schema does not fit, waiting"), "{process}: {log}");
    }
    // A version that works with them, and they go on by themselves.
    in_every_database(&town, "delete from schema_version where version = 9001").await;
    for process in PROCESSES {
        town.world.wait_ready(process).await.unwrap();
    }
    is_paid_and_reported(&town, "again").await;
}
