//! What does not change is not written.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fiorino_test_support::{Parts, eventually};
use serde_json::Value;

use fiorino_e2e::town::{PATIENCE, Town};

/// Writes of the operator other than Lease renewals that concern this town or its platform, out of the API server's audit log.
fn writes(town: &Town) -> Vec<String> {
    let parts = Parts::get();
    let log = parts.audit_log().expect("the API server of the tests keeps an audit log");
    let namespaces = [town.names.namespace.as_str(), town.platform()];
    let verbs = ["create", "update", "patch", "delete", "deletecollection"];
    let lines = fs_err::read_to_string(log).unwrap();
    let events = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events
        .filter(|e| e["stage"] == "ResponseComplete" && verbs.contains(&e["verb"].as_str().unwrap_or_default()))
        .filter(|e| namespaces.contains(&e["objectRef"]["namespace"].as_str().unwrap_or_default()))
        .filter(|e| !e["userAgent"].as_str().unwrap_or_default().starts_with("kubectl"))
        .filter(|e| e["objectRef"]["resource"] != "leases")
        .map(|e| format!("{} {} {}", e["verb"], e["objectRef"]["resource"], e["requestURI"]))
        .collect()
}

async fn config_seq(town: &Town) -> i64 {
    let pool = sqlx::PgPool::connect(&town.world.addresses().database_urls["tenant"]).await.unwrap();
    sqlx::query_scalar("select config_seq from config_head").fetch_one(&pool).await.unwrap()
}

/// How often the operator has looked at an institution.
async fn looks(town: &Town) -> Result<u64> {
    let url = &town.world.addresses().admin_urls["operator"];
    let metrics = reqwest::get(format!("{url}/metrics")).await?.text().await?;
    let counts = metrics.lines().filter(|line| line.starts_with("reconcile_total{"));
    counts.map(|line| Ok(line.rsplit(' ').next().context("a value")?.parse::<u64>()?)).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_reconcile_of_an_unchanged_institution_makes_no_write() {
    let town = Town::with(|mut options, _| {
        options.extra_args.insert("operator".to_owned(), vec!["--resync-seconds=5".to_owned()]);
        options
    })
    .await;
    town.onboard().await;
    // Settled: the same count of writes twice in a row, two seconds apart.
    let settled = eventually(PATIENCE, async || {
        let before = writes(&town).len();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let after = writes(&town).len();
        ensure!(before == after, "still writing");
        Ok::<_, anyhow::Error>(after)
    })
    .await
    .unwrap();
    assert!(settled > 0, "the audit log shows the operator's writes");
    let sequence = config_seq(&town).await;
    let before = looks(&town).await.unwrap();
    // An annotation of nobody's interest makes the operator look again, and so does every resync: for a minute.
    let args = ["annotate", "creditorinstitution", "town", "-n", &town.names.namespace, "example.org/note=1"];
    town.world.kubectl(&args, "").await.unwrap();
    eventually(2 * PATIENCE, async || {
        let looks = looks(&town).await? - before;
        ensure!(looks >= 12, "{looks} looks");
        Ok::<_, anyhow::Error>(())
    })
    .await
    .unwrap();
    let later = writes(&town);
    assert_eq!(later.len(), settled, "{later:?}");
    assert_eq!(config_seq(&town).await, sequence);
}
