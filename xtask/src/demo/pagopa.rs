//! The simulated pagoPA: its registry, and a PSP.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::manifests::{Beneficiary, Municipality};

/// Control API of the simulator.
#[derive(Debug, Clone)]
pub(crate) struct Pagopa {
    url: String,
    client: reqwest::Client,
}

// === impl Pagopa ===

impl Pagopa {
    /// A client of the simulator at `url`.
    pub(crate) fn new(url: &str) -> Result<Self> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build()?;
        Ok(Self { url: url.to_owned(), client })
    }

    /// pagoPA knows the broker, and the key with which it asks.
    pub(crate) async fn register_broker(&self, fiscal_code: &str, key: &str) -> Result<()> {
        let body = json!({"fiscalCode": fiscal_code, "subscriptionKeys": [key]});
        self.post("/registry/brokers", &body).await.map(drop)
    }

    /// pagoPA switches on the station, its association with the institution, and the account.
    pub(crate) async fn register(&self, municipality: &Municipality, node_urls: &[String]) -> Result<()> {
        let Municipality { fiscal_code, legal_name, station, broker, segregation_code, iban, .. } = municipality;
        let urls: Vec<String> = node_urls.iter().map(|base| format!("{base}/node/v1/{station}")).collect();
        let posts = [
            ("stations", json!({"stationId": station, "brokerFiscalCode": broker, "urls": urls})),
            ("institutions", json!({"fiscalCode": fiscal_code, "companyName": legal_name})),
            (
                "associations",
                json!({"fiscalCode": fiscal_code, "stationId": station, "auxDigit": 3, "segregationCode": segregation_code}),
            ),
            ("ibans", json!({"fiscalCode": fiscal_code, "iban": iban, "validityDate": "2020-01-01T00:00:00Z"})),
        ];
        for (kind, body) in posts {
            self.post(&format!("/registry/{kind}"), &body).await?;
        }
        Ok(())
    }

    /// pagoPA knows who shares in payments, and the account.
    pub(crate) async fn register_beneficiary(&self, beneficiary: &Beneficiary) -> Result<()> {
        let Beneficiary { fiscal_code, legal_name, iban } = beneficiary;
        self.post("/registry/institutions", &json!({"fiscalCode": fiscal_code, "companyName": legal_name})).await?;
        let iban = json!({"fiscalCode": fiscal_code, "iban": iban, "validityDate": "2020-01-01T00:00:00Z"});
        self.post("/registry/ibans", &iban).await.map(drop)
    }

    /// Verifies, activates and pays a notice as a PSP does, at one of pagoPA's own touch points, and answers with the receipt's id.
    pub(crate) async fn pay(&self, institution: &str, notice: &str) -> Result<String> {
        let body = json!({"fiscalCode": institution, "noticeNumber": notice, "transferType": "PAGOPA"});
        let answer = self.post("/psp/pay", &body).await?;
        let receipt = answer.get("receiptId").and_then(Value::as_str);
        receipt.map(str::to_owned).with_context(|| format!("the simulator answered without a receipt: {answer}"))
    }

    /// Fails when the simulated node found fault with any of our messages.
    pub(crate) async fn ensure_no_violations(&self) -> Result<()> {
        let answer = self.client.get(format!("{}/violations", self.url)).send().await?.error_for_status()?;
        let violations: Vec<Value> = answer.json().await?;
        ensure!(violations.is_empty(), "the node found fault with our messages: {violations:?}");
        Ok(())
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let answer = self.client.post(format!("{}{path}", self.url)).json(body).send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "the simulated pagoPA answered {status} to {path}: {text}");
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }
}
