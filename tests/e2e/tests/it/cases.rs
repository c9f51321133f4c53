//! The commands of docs/cases.md, and that of docs/install.md which lists cases, run as they stand: an institution without a manifest is
//! found with them, its case is taken and ended, and payments are announced again.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use fiorino_e2e::town::{PATIENCE, Town};
use fiorino_test_support::{eventually, grpcurl_bin, workspace_root};
use serde_json::Value;
use tokio::process::Command;

/// Blocks of commands of a document, in their order.
fn blocks(document: &str, fence: &str) -> Vec<String> {
    let text = fs_err::read_to_string(workspace_root().join(document)).unwrap();
    let begin = format!("```{fence}\n");
    text.split(&begin).skip(1).filter_map(|rest| rest.split("```").next()).map(str::to_owned).collect()
}

/// Runs a script with what the documents say is set.
async fn shell(town: &Town, script: &str, set: &[(&str, &str)]) -> Result<String> {
    let addresses = town.world.addresses();
    let certs = town.world.mesh().identity("dev").ca.parent().unwrap().to_owned();
    let child = Command::new("sh")
        .args(["-euc", script])
        .env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", grpcurl_bin()?.display()))
        .env("CERTS", certs)
        .env("TENANT", host(&addresses.tenant_grpc))
        .env("REPORTING", host(&addresses.reporting_grpc))
        .env("USER", "anna")
        .envs(set.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = child.await.context("failed to start sh")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{script}\n{said}{}", String::from_utf8_lossy(&output.stderr));
    Ok(said)
}

fn host(url: &str) -> &str {
    url.split("://").last().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_commands_find_and_end_a_case() {
    let town = Town::payable().await;
    let notice = town.create_debt("orphan").await;
    town.simulator("psp/pay", &town.notice(&notice)).await.unwrap();
    town.reported(&notice).await;
    let args = ["delete", "creditorinstitution", "town", "-n", &town.names.namespace, "--timeout=60s"];
    town.world.kubectl(&args, "").await.unwrap();

    let [list] = &blocks("docs/install.md", "shell")[..] else { panic!("one command of docs/install.md lists cases") };
    let case = eventually(PATIENCE, async || {
        let listed: Value = serde_json::from_str(&shell(&town, list, &[]).await?)?;
        let cases = listed["cases"].as_array().context("no case yet")?.clone();
        let of_town = cases.into_iter().find(|case| case["institution"] == town.names.fiscal_code.as_str());
        of_town.with_context(|| format!("none of the municipality: {listed}"))
    })
    .await
    .unwrap();
    assert_eq!(case["kind"], "institution_unmanaged");

    // One script, as who follows the page types it.
    let script = blocks("docs/cases.md", "sh").concat();
    let set = [
        ("CASE", case["caseId"].as_str().unwrap()),
        ("BEFORE", "2026-01-01T00:00:00Z"),
        ("FROM", "2000-01-01T00:00:00Z"),
        ("TO", "2100-01-01T00:00:00Z"),
    ];
    let said = shell(&town, &script, &set).await.unwrap();
    for expected in ["CASE_STATE_ASSIGNED", "ufficio tributi", "CASE_STATE_RESOLVED", "\"sent\": 1"] {
        assert!(said.contains(expected), "{expected} in {said}");
    }
    let left: Value = serde_json::from_str(&shell(&town, list, &[]).await.unwrap()).unwrap();
    assert_eq!(left, serde_json::json!({}), "what is ended is listed no more");
    let who: String = town.in_tenant("select actor from case_event where action = 3").await;
    assert_eq!(who, "anna");
}
