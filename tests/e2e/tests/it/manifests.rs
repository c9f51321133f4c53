//! Wrong manifests are refused, or told with field, rule and remedy.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use fiorino_test_support::{Stopwatch, eventually};
use serde_json::Value;

use fiorino_e2e::town::{PATIENCE, Town, condition_of};

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_account_number_is_told_with_field_and_remedy() {
    let town = Town::empty().await;
    let manifest = town.names.town_manifest(town.platform(), "Comune di Roccafiorina");
    // Arithmetic is the API server's: nothing of it is there afterwards.
    let refused = town.apply(&manifest.replace(&town.names.iban, "IT71C0998877665000000104233")).await;
    let message = format!("{:#}", refused.unwrap_err());
    assert!(message.contains("spec.numbers[0].iban") && message.contains("the check digits do not fit"), "{message}");
    // What it cannot know is told in the status.
    let wrong = manifest.replace(&town.names.iban, "IT4250998877665000000104233");
    town.apply(&wrong).await.unwrap();
    let applied = Stopwatch::start();
    let told = eventually(PATIENCE, async || {
        let args = ["get", "iban", "tesoreria", "-n", &town.names.namespace, "-o", "json"];
        let iban: Value = serde_json::from_str(&town.world.kubectl(&args, "").await?)?;
        let validated = condition_of(&iban, "Validated").cloned().context("not judged yet")?;
        ensure!(validated["status"] == "False", "{validated}");
        Ok::<_, anyhow::Error>(validated)
    })
    .await
    .unwrap();
    assert!(applied.within(Duration::from_secs(5)), "within a second, kubectl's own time aside");
    let message = told["message"].as_str().unwrap();
    assert!(message.contains("numbers[0].iban"), "{message}");
    town.condition("Validated", "False").await;

    // The remedy is what everybody would do.
    town.apply(&manifest).await.unwrap();
    town.condition("Validated", "True").await;
    town.condition("Ready", "True").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_of_the_schema_is_told_at_apply() {
    let town = Town::empty().await;
    let manifest = town.names.town_manifest(town.platform(), "Comune di Roccafiorina");
    let refused = town.apply(&manifest.replace("segregationCode: \"12\"", "segregationCode: \"123\"")).await;
    let message = format!("{:#}", refused.unwrap_err());
    assert!(message.contains("segregationCode"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_manifest_stops_no_payment() {
    let town = Town::payable().await;
    let notice = town.create_debt("orphan").await;
    let args = ["delete", "creditorinstitution", "town", "-n", &town.names.namespace, "--timeout=60s"];
    town.world.kubectl(&args, "").await.unwrap();
    town.simulator("psp/pay", &town.notice(&notice)).await.unwrap();
    town.reported(&notice).await;
}
