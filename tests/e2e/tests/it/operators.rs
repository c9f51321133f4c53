//! Two operators, of which one leads.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fiorino_test_support::{Parts, Signal, Stopwatch, eventually};
use serde_json::Value;

use fiorino_e2e::town::{PATIENCE, Town, condition_of};

/// How long a Lease is valid, and how often it is looked at (ARCHITECTURE.md 3.2), with a little for a busy machine.
const TAKEOVER: Duration = Duration::from_secs(15 + 1 + 4);

/// Under which name the second operator is known to the API server: its writes are told from the first one's.
const SECOND: &str = "second-operator";

async fn lease(town: &Town) -> Result<Value> {
    let args = ["get", "lease", "fiorino-operator", "-n", town.platform(), "-o", "json"];
    Ok(serde_json::from_str(&town.world.kubectl(&args, "").await?)?)
}

/// A town that is payable, looked after by the first of two operators.
async fn with_two_operators() -> Town {
    let mut town = Town::payable().await;
    let own = fs_err::read_to_string(&town.world.options().kubeconfig).unwrap();
    let disguised =
        own.replace("user: {client", &format!("user: {{as: {SECOND}, as-groups: [\"system:masters\"], client"));
    assert_ne!(own, disguised, "{own}");
    let kubeconfig = town.world.options().run_dir.join("kubeconfig-second").display().to_string();
    fs_err::write(&kubeconfig, disguised).unwrap();
    town.world.start_another("operator", "operator-2", &[("kubeconfig", &kubeconfig)]).await.unwrap();
    town
}

/// Waits until somebody else leads.
async fn taken_over(town: &Town, before: &Value) -> Value {
    let taken = async || {
        let lease = lease(town).await?;
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        ensure!(!holder.is_empty() && lease["spec"]["holderIdentity"] != before["spec"]["holderIdentity"], "{lease}");
        Ok::<_, anyhow::Error>(lease)
    };
    eventually(PATIENCE, taken).await.unwrap()
}

/// Writes of the first operator to the town and its platform, out of the API server's audit log.
fn writes_of_the_first(town: &Town) -> Vec<String> {
    let lines = fs_err::read_to_string(Parts::get().audit_log().unwrap()).unwrap();
    let events = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let namespaces = [town.names.namespace.as_str(), town.platform()];
    let verbs = ["create", "update", "patch", "delete"];
    events
        .filter(|event| event["stage"] == "ResponseComplete" && event.get("impersonatedUser").is_none())
        .filter(|event| verbs.contains(&event["verb"].as_str().unwrap_or_default()))
        .filter(|event| namespaces.contains(&event["objectRef"]["namespace"].as_str().unwrap_or_default()))
        .filter(|event| !event["userAgent"].as_str().unwrap_or_default().starts_with("kubectl"))
        .map(|event| format!("{} {}", event["verb"], event["requestURI"]))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_leader_is_killed_the_other_leads_within_the_leases_time() {
    let mut town = with_two_operators().await;
    let before = lease(&town).await.unwrap();
    let fence: i64 = town.in_tenant("select fence from fence").await;
    town.world.process("operator").unwrap().kill().unwrap();
    let killed = Stopwatch::start();
    town.apply(&town.names.town_manifest(town.platform(), "Comune di Roccafiorina Terme")).await.unwrap();
    let after = taken_over(&town, &before).await;
    assert!(killed.within(TAKEOVER), "taken over after {:?}", killed.elapsed());
    let counts = [&before, &after].map(|lease| lease["spec"]["leaseTransitions"].as_i64().unwrap());
    assert_eq!(counts[1], counts[0] + 1);
    town.settled().await;
    assert!(town.in_tenant::<i64>("select fence from fence").await > fence, "the next leader has a fence of its own");
    assert_eq!(town.in_tenant::<String>("select legal_name from institution").await, "Comune di Roccafiorina Terme");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_slept_wakes_deposed_and_writes_nothing() {
    let mut town = with_two_operators().await;
    let before = lease(&town).await.unwrap();
    town.world.process("operator").unwrap().signal(Signal::STOP).unwrap();
    let written = writes_of_the_first(&town);
    assert!(!written.is_empty(), "the audit log shows the first operator's writes");
    // What it will find when it wakes: manifests that it never brought to tenant.
    town.apply(&town.names.town_manifest(town.platform(), "Comune di Roccafiorina Terme")).await.unwrap();
    taken_over(&town, &before).await;
    town.settled().await;
    town.apply(&town.names.town_manifest(town.platform(), "Comune di Roccafiorina Bagni")).await.unwrap();
    town.settled().await;
    let fence: i64 = town.in_tenant("select fence from fence").await;

    town.world.process("operator").unwrap().signal(Signal::CONT).unwrap();
    let first = town.world.process("operator").unwrap();
    let status = eventually(PATIENCE, async || first.exited()?.context("it still runs")).await.unwrap();
    assert!(!status.success(), "it ends by itself, to be started anew");
    let log = fs_err::read_to_string(first.log()).unwrap();
    assert!(log.contains("the lease fiorino-operator was taken by"), "{}", first.log_tail(5));
    assert_eq!(writes_of_the_first(&town), written);
    assert_eq!(town.in_tenant::<i64>("select fence from fence").await, fence);
    assert_eq!(town.in_tenant::<String>("select legal_name from institution").await, "Comune di Roccafiorina Bagni");
    let institution = town.settled().await;
    assert!(condition_of(&institution, "Stalled").is_none(), "{institution}");
}
