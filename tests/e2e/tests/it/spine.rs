//! From a manifest to a reported payment.

use std::collections::BTreeSet;

use anyhow::ensure;
use fiorino_proto::positions::v1::{InstalmentState, MapEntry, NewTransfer, PositionState};
use fiorino_test_support::eventually;
use serde_json::{Value, json};

use fiorino_e2e::town::{PATIENCE, Town, new_position};

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

/// The ordinary request of pagoPA's own app, of a notice whose parts were given: two accounts of the municipality, one with a postal
/// account beside it.
#[tokio::test(flavor = "multi_thread")]
async fn a_notice_with_given_parts_is_paid_at_pagopas_own_touch_points() {
    const POSTAL: &str = "IT26A0760103200001012345678";
    let town = Town::payable().await;
    let names = &town.names;
    let manifest = town.names.town_manifest(town.platform(), "Comune di Roccafiorina");
    // The account is what a manifest ends with.
    let posta = format!(
        "  postalAccount: posta\n---\napiVersion: fiorino.dev/v1alpha1\nkind: Iban\nmetadata: {{name: posta, namespace: {}}}\n\
         spec:\n  holder: Comune di Roccafiorina\n  numbers:\n    - {{validFrom: 2026-01-01, iban: {POSTAL}}}\n",
        names.namespace
    );
    let iban = json!({"fiscalCode": names.fiscal_code, "iban": POSTAL, "validityDate": "2026-01-01T00:00:00Z"});
    town.simulator("registry/ibans", &iban).await.unwrap();
    town.apply(&(manifest + &posta)).await.unwrap();
    for account in ["iban/tesoreria", "iban/posta"] {
        town.right(account).await;
    }
    let part =
        |amount_cents, account: &str| NewTransfer { amount_cents, account: account.to_owned(), ..Default::default() };
    let mut new = new_position("parts");
    new.options[0].instalments[0].transfers = vec![part(10_000, ""), part(2_000, "posta")];
    let entry = MapEntry { key: "pratica".to_owned(), value: "7/2026".to_owned() };
    new.options[0].instalments[0].metadata = vec![entry];
    for (at, wanted) in ["PAGOPA", "POSTAL"].into_iter().enumerate() {
        new.client_reference = format!("parts-{at}");
        let notice = town.create(new.clone()).await;
        let mut asked = town.notice(&notice);
        asked["transferType"] = json!(wanted);
        let paid = town.simulator("psp/pay", &asked).await.unwrap();
        let payment = town.reported(&notice).await;
        assert_eq!(payment.receipt_id, paid["receiptId"], "{wanted}");
        let transfers: Vec<_> = payment.transfers.iter().map(|it| (it.amount_cents, it.iban.as_str())).collect();
        let first = if wanted == "POSTAL" { POSTAL } else { names.iban.as_str() };
        assert_eq!(transfers, [(Some(10_000), first), (Some(2_000), POSTAL)], "{wanted}");
    }
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
