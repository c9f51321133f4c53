//! What a citizen sees of a debt, from the manifest that gives the institution its host name to the receipt that closes it.

use anyhow::ensure;
use fiorino_test_support::eventually;
use reqwest::header::HOST;
use serde_json::json;

use fiorino_e2e::town::{PATIENCE, Town};

/// A page of the town's site.
async fn page(town: &Town, path: &str) -> anyhow::Result<String> {
    let url = format!("http://127.0.0.1:{}{path}", town.world.addresses().portal_port);
    let response = reqwest::Client::new().get(url).header(HOST, town.names.hostname()).send().await?;
    let (status, text) = (response.status(), response.text().await?);
    ensure!(status.is_success(), "{status}: {text}");
    Ok(text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_debt_is_seen_while_it_is_open_attempted_and_paid() {
    let town = Town::payable().await;
    // Ready waits for the front-office too: what is applied is shown.
    let home = page(&town, "/").await.unwrap();
    assert!(home.contains("Comune di Roccafiorina") && home.contains("Tassa sui rifiuti"), "{home}");
    let notice = town.create_debt("portal").await;
    let path = format!("/avviso?codice={notice}&ente={}", town.names.fiscal_code);
    let shown = async || page(&town, &path).await.unwrap();
    let open = shown().await;
    for text in ["TARI 2026 rata 1", "120,00\u{a0}€", "16 giugno 2027", "Da pagare", "Dove puoi pagarlo"] {
        assert!(open.contains(text), "{text} is missing in {open}");
    }
    assert!(!open.contains("Mario Rossi") && !open.contains("RSSMRA80A01H501U"), "the debtor is shown: {open}");
    assert!(!open.contains("in corso"), "{open}");

    let activated = town.simulator("psp/activate", &town.notice(&notice)).await.unwrap();
    let attempted = shown().await;
    assert!(attempted.contains("Pagamento in corso fino alle "), "{attempted}");

    let outcome = json!({"paymentToken": activated["paymentToken"], "outcome": "OK"});
    town.simulator("psp/outcome", &outcome).await.unwrap();
    let paid = async || {
        let shown = page(&town, &path).await?;
        ensure!(shown.contains("Pagato") && !shown.contains("in corso") && !shown.contains("Dove puoi"), "{shown}");
        Ok(())
    };
    eventually(PATIENCE, paid).await.unwrap();
}
