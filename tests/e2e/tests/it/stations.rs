//! docs/stations.md, followed to the letter while a printed notice is asked for without a pause.

use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context as _, Result, ensure};
use fiorino_test_support::{eventually, workspace_root};
use fiorino_world::Options;
use serde_json::json;
use tokio::{process::Command, task::JoinHandle};

use fiorino_e2e::town::{Names, PATIENCE, Town, condition_of};

/// The commands of the document, step by step, with the names of the test instead of its own.
fn steps(names: &Names, platform: &str) -> Vec<String> {
    let text = fs_err::read_to_string(workspace_root().join("docs/stations.md")).unwrap();
    let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let renamed = |block: &str| {
        block
            .replace("--namespace comune", &format!("--namespace {}", names.namespace))
            .replace("roccafiorina", "town")
            .replace("namespace: fiorino", &format!("namespace: {platform}"))
            .replace("\"namespace\": \"fiorino\"", &format!("\"namespace\": \"{platform}\""))
            .replace("91073550427_02", &second(names))
    };
    let steps: Vec<String> = blocks.map(renamed).collect();
    assert_eq!(steps.len(), 5, "{steps:?}");
    steps
}

fn second(names: &Names) -> String {
    format!("{}_02", names.broker)
}

async fn shell(options: &Options, script: &str) {
    let kubectl = options.kubectl.parent().unwrap().display();
    let output = Command::new("sh")
        .args(["-euc", &format!("PATH={kubectl}:$PATH\n{script}")])
        .env("KUBECONFIG", &options.kubeconfig)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "{script}\n{said}");
}

/// Asks for a notice, as a PSP would, until it is told to end: how often, or the first refusal.
fn ask_without_pause(town: &Arc<Town>, notice: &str, ended: &Arc<AtomicBool>) -> JoinHandle<Result<usize>> {
    let (town, notice, ended) = (Arc::clone(town), town.notice(notice), Arc::clone(ended));
    tokio::spawn(async move {
        let mut asked = 0;
        while !ended.load(Ordering::Acquire) {
            let verified = town.simulator("psp/verify", &notice).await;
            verified.with_context(|| format!("after {asked} that were OK"))?;
            asked += 1;
        }
        Ok(asked)
    })
}

/// pagoPA moves the code in two steps. Between them it shows both, as the routing finds the one that was there first.
async fn begin_switch(town: &Town, to: &str) {
    let Names { fiscal_code, segregation_code, .. } = &town.names;
    let new = json!({"fiscalCode": fiscal_code, "stationId": to, "segregationCode": segregation_code});
    town.simulator("registry/associations", &new).await.unwrap();
}

async fn end_switch(town: &Town, from: &str) {
    let old = json!({"fiscalCode": &town.names.fiscal_code, "stationId": from});
    town.simulator("registry/associations/remove", &old).await.unwrap();
}

async fn asked_through(town: &Town, notice: &str, station: &str) -> Result<()> {
    let mut body = town.notice(notice);
    body["stationId"] = station.into();
    town.simulator("psp/verify", &body).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_institution_moves_to_another_station_without_one_ko() {
    let town = Arc::new(Town::payable().await);
    let (first, second) = (town.names.station.clone(), second(&town.names));
    let urls: Vec<_> = town.world.addresses().node_urls.iter().map(|url| format!("{url}/node/v1/{second}")).collect();
    let station = json!({
        "stationId": second, "brokerFiscalCode": town.names.broker, "urls": urls, "primitiveVersion": 2,
    });
    town.simulator("registry/stations", &station).await.unwrap();
    let printed = [town.create_debt("printed").await, town.create_debt("paid-on-the-way").await];
    let ended = Arc::new(AtomicBool::new(false));
    let asking = ask_without_pause(&town, &printed[0], &ended);

    let options = town.world.options();
    let steps = steps(&town.names, town.platform());
    for step in &steps[..3] {
        shell(options, step).await;
    }
    // pagoPA's hour is its own: here between the steps. The condition says what it shows, and what to do.
    begin_switch(&town, &second).await;
    end_switch(&town, &first).await;
    let moved = town.condition("StationAssociated", "False").await;
    let message = moved["message"].as_str().unwrap();
    assert!(message.contains(&format!("pagoPA shows station {second}: set its state to Issuing")), "{message}");
    town.simulator("psp/pay", &town.notice(&printed[1])).await.unwrap();
    for step in &steps[3..] {
        shell(options, step).await;
        town.settled().await;
    }
    town.condition("StationAssociated", "True").await;
    town.condition("Payable", "True").await;
    town.reported(&printed[1]).await;
    // Nobody routes through the old one any more: the first reading after the removal says so.
    eventually(PATIENCE, async || {
        let told = asked_through(&town, &printed[0], &first).await;
        let told = told.err().context("the old station answers still")?;
        ensure!(format!("{told:#}").contains("PAA_STAZIONE_INT_ERRATA"), "{told:#}");
        Ok::<_, anyhow::Error>(())
    })
    .await
    .unwrap();

    // Back again, with pagoPA switching when all is done here, and read while it shows both.
    back(&town).await;
    let institution = town.institution().await.unwrap();
    assert_eq!(condition_of(&institution, "StationAssociated").unwrap()["status"], "False");
    asked_through(&town, &printed[0], &first).await.unwrap();
    begin_switch(&town, &first).await;
    town.condition("StationAssociated", "True").await;
    asked_through(&town, &printed[0], &second).await.unwrap();
    end_switch(&town, &second).await;
    eventually(PATIENCE, async || {
        let told = asked_through(&town, &printed[0], &second).await;
        ensure!(told.is_err(), "the station that was left answers still");
        Ok::<_, anyhow::Error>(())
    })
    .await
    .unwrap();

    ended.store(true, Ordering::Release);
    let asked = asking.await.unwrap().unwrap();
    assert!(asked > 20, "only {asked} times");
    town.simulator("psp/pay", &town.notice(&printed[0])).await.unwrap();
    town.reported(&printed[0]).await;
}

/// The manifest has the first station alone, in one step, while pagoPA has the second.
async fn back(town: &Town) {
    let manifest = town.names.town_manifest(town.platform(), "Comune di Roccafiorina");
    let args = ["patch", "creditorinstitution", "town", "-n", &town.names.namespace, "--type=json"];
    let association = json!({
        "stationRef": {"namespace": town.platform(), "name": "valdarda-01"},
        "segregationCode": town.names.segregation_code,
    });
    let patch = json!([{"op": "replace", "path": "/spec/associations", "value": [association]}]).to_string();
    let patch = format!("--patch={patch}");
    town.world.kubectl(&[&args[..], &[&patch]].concat(), "").await.unwrap();
    town.settled().await;
    // The manifest of the first day says the same.
    town.apply(&manifest).await.unwrap();
    town.settled().await;
}
