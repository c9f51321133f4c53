//! From a manifest to a reported payment.

use std::collections::BTreeSet;

use anyhow::ensure;
use fiorino_proto::positions::v1::{InstalmentState, PositionState};
use fiorino_test_support::eventually;
use serde_json::{Value, json};

use fiorino_e2e::town::{PATIENCE, Town};

/// Service, kind and name of the spans that a receipt's way leads through.
const TRACE: [&str; 10] = [
    "node-connector server paSendRTV2",
    "node-connector client insert receipts",
    "node-connector internal apply receipt",
    "node-connector client fiorino.receipts.v1.Receipts/ApplyReceipts",
    "tenant server fiorino.receipts.v1.Receipts/ApplyReceipts",
    "tenant internal apply receipt",
    "tenant client insert events",
    "tenant producer publish fiorino.payments.v1",
    "reporting consumer process payment",
    "reporting client record payments",
];

#[tokio::test(flavor = "multi_thread")]
async fn one_manifest_makes_a_municipality_payable() {
    let town = Town::empty().await;
    town.apply(&town.names.town_manifest(town.platform(), "Comune di Roccafiorina")).await.unwrap();
    town.condition("Ready", "True").await;

    // pagoPA knows nothing yet: it is said who must act, and since when.
    town.condition("Payable", "False").await;
    let institution = town.institution().await.unwrap();
    let waiting = &institution["status"]["waitingFor"];
    assert_eq!(waiting["party"], "PagoPA", "{waiting}");
    assert!(waiting["since"].is_string(), "{waiting}");
    let listing = town.world.kubectl(&["get", "payments", "-n", &town.names.namespace], "").await.unwrap();
    assert!(listing.contains("STAGE") && listing.contains("WAITING FOR") && listing.contains("SINCE"), "{listing}");
    let row = listing.lines().find(|line| line.starts_with("creditorinstitution.fiorino.dev/town ")).unwrap();
    let cells: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(cells[1..3], ["AgreementSigned", "PagoPA"], "{row}");

    town.register().await;
    town.condition("Payable", "True").await;
    let notice = town.create_debt("rata-1").await;
    let paid = town.simulator("psp/pay", &town.notice(&notice)).await.unwrap();
    let payment = town.reported(&notice).await;
    assert_eq!(payment.receipt_id, paid["receiptId"]);
    assert_eq!(payment.amount_cents, Some(12_000));
    assert_eq!(payment.client_reference, "rata-1");

    let position = town.position(&notice).await;
    assert_eq!(position.state(), PositionState::Paid);
    assert_eq!(position.options[0].instalments[0].state(), InstalmentState::Paid);
    let again = town.simulator("psp/verify", &town.notice(&notice)).await.unwrap_err().to_string();
    assert!(again.contains("PAA_PAGAMENTO_DUPLICATO"), "{again}");
    assert_eq!(town.simulator_list("violations").await, Vec::<Value>::new(), "the judge found nothing");
    town.condition("NodeConnected", "True").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_station_of_version_1_is_paid() {
    let town = Town::payable_by_version(1).await;
    let notice = town.create_debt("version-1").await;
    let paid = town.simulator("psp/pay", &town.notice(&notice)).await.unwrap();
    let payment = town.reported(&notice).await;
    assert_eq!(
        (payment.receipt_id, payment.amount_cents),
        (paid["receiptId"].as_str().unwrap().to_owned(), Some(12_000))
    );
    let deliveries = town.simulator_list("deliveries").await;
    assert_eq!((&deliveries[0]["operation"], &deliveries[0]["state"]), (&json!("sendRt"), &json!("notified")));
    assert_eq!(town.simulator_list("violations").await, Vec::<Value>::new(), "the judge found nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_probe_takes_the_real_path() {
    let town = Town::payable().await;
    let mut probe = town.notice("000000000000000000");
    probe["stationId"] = town.names.station.clone().into();
    let fault = town.simulator("psp/verify", &probe).await.unwrap_err().to_string();
    assert!(fault.contains("PAA_PAGAMENTO_SCONOSCIUTO"), "{fault}");
    assert_eq!(town.simulator_list("violations").await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_from_the_nodes_call_to_the_reported_row() {
    let town = Town::payable().await;
    let notice = town.create_debt("trace").await;
    town.simulator("psp/pay", &town.notice(&notice)).await.unwrap();
    town.reported(&notice).await;
    let deliveries = town.simulator_list("deliveries").await;
    let trace_id = deliveries[0]["traceId"].as_str().unwrap().to_owned();
    let sink = &town.world.addresses().sink_url;
    eventually(PATIENCE, async || {
        let response = reqwest::get(format!("{sink}/traces/{trace_id}")).await?;
        ensure!(response.status().is_success(), "no span of this trace yet");
        let spans: Vec<Value> = response.json().await?;
        let text = |span: &Value, field: &str| span[field].as_str().unwrap_or_default().to_owned();
        let found: BTreeSet<_> = spans
            .iter()
            .map(|span| [text(span, "service"), text(span, "kind"), text(span, "name")].join(" "))
            .collect();
        for expected in TRACE {
            ensure!(found.contains(expected), "{expected} is missing in {found:#?}");
        }
        Ok(())
    })
    .await
    .unwrap();
}
