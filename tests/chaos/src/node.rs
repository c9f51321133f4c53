//! The node: calls one replica, judges what comes back, and notes it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use fiorino_e2e::town::Names;
use fiorino_simulator::judge::{Operation, Verdict, tree::Element};
use fiorino_simulator::messages::{self, Addressing, GetPaymentExtras, ReceiptFacts};
use fiorino_simulator::registry::Station;
use fiorino_simulator::station::StationClient;
use tokio::time::sleep;

use crate::ledger::Ledger;

/// Between attempts to have a receipt answered: an hour at the real node.
const RETRY: Duration = Duration::from_millis(250);

/// An answer.
#[derive(Debug)]
pub enum Told {
    /// OK, with the answer's element.
    Ok(Element),
    /// KO, with its code.
    Ko(String),
    /// HTTP 503.
    Later,
    /// Nothing that the node can use; noted as broken.
    Malformed,
    /// None.
    Nothing,
}

/// A receipt on its way.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// Payment token.
    pub id: String,
    /// 18 digits.
    pub notice_number: String,
    /// What the station answered at activation.
    pub payment: Arc<Element>,
}

/// The node as one institution's station knows it.
#[derive(Debug)]
pub struct Node {
    client: StationClient,
    replicas: Vec<Station>,
    names: Names,
    ledger: Arc<Ledger>,
}

// === impl Node ===

impl Node {
    /// `urls` of the replicas' plain listeners.
    ///
    /// # Errors
    /// When there can be no HTTP client.
    pub fn new(urls: &[String], names: Names, ledger: Arc<Ledger>) -> Result<Self> {
        let station = |url: &String| Station {
            station_id: names.station.clone(),
            broker_fiscal_code: names.broker.clone(),
            urls: vec![format!("{url}/node/v1/{}", names.station)],
            primitive_version: 2,
            enabled: true,
        };
        Ok(Self {
            client: StationClient::new(&fiorino_simulator::Options::default())?,
            replicas: urls.iter().map(station).collect(),
            names,
            ledger,
        })
    }

    /// Where everything is noted.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Number of replicas.
    pub fn replicas(&self) -> usize {
        self.replicas.len()
    }

    /// `paVerifyPaymentNotice`.
    pub async fn verify(&self, replica: usize, notice_number: &str) -> Told {
        self.call(replica, Operation::Verify, messages::verify(self.addressing(), notice_number)).await
    }

    /// `paGetPaymentV2`.
    pub async fn get(&self, replica: usize, notice_number: &str) -> Told {
        let operation = Operation::GetPaymentV2;
        let extras = GetPaymentExtras::default();
        let request = messages::get_payment(operation, self.addressing(), notice_number, extras);
        self.call(replica, operation, request).await
    }

    /// `paSendRTV2`, once.
    pub async fn send(&self, replica: usize, receipt: &Receipt) -> Told {
        let before = self.ledger.sending(&receipt.id, &receipt.notice_number);
        let told = self.call(replica, Operation::SendRtV2, self.receipt(receipt)).await;
        match &told {
            Told::Ok(_) => self.ledger.answered(&receipt.id, false),
            Told::Ko(code) if code == "PAA_RECEIPT_DUPLICATA" && before > 0 => self.ledger.answered(&receipt.id, true),
            Told::Ko(code) => self.ledger.broken(format!("receipt {} was refused with {code}", receipt.id)),
            Told::Later => self.ledger.later(),
            Told::Malformed | Told::Nothing => {}
        }
        told
    }

    /// Sends to any replica until it is answered OK, or `PAA_RECEIPT_DUPLICATA` because an earlier answer was lost.
    pub async fn deliver(&self, receipt: &Receipt) {
        loop {
            match self.send(self.any(), receipt).await {
                Told::Ok(_) | Told::Ko(_) => return,
                Told::Later | Told::Malformed | Told::Nothing => sleep(RETRY).await,
            }
        }
    }

    /// Activates until it works: the payment, or `None` when the notice is paid already.
    pub async fn activate(&self, notice_number: &str) -> Option<Arc<Element>> {
        loop {
            match self.get(self.any(), notice_number).await {
                Told::Ok(answer) => return answer.child("data").cloned().map(Arc::new),
                Told::Ko(code) if code == "PAA_SYSTEM_ERROR" => {}
                Told::Ko(code) => {
                    self.ledger.broken(format!("notice {notice_number} cannot be activated: {code}"));
                    return None;
                }
                Told::Later | Told::Malformed | Told::Nothing => {}
            }
            sleep(RETRY).await;
        }
    }

    /// Any replica.
    pub fn any(&self) -> usize {
        rand::random_range(0..self.replicas.len())
    }

    fn addressing(&self) -> Addressing<'_> {
        let Names { fiscal_code, broker, station, .. } = &self.names;
        Addressing { institution: fiscal_code, broker, station }
    }

    fn receipt(&self, receipt: &Receipt) -> String {
        let facts = ReceiptFacts {
            receipt_id: receipt.id.clone(),
            notice_number: receipt.notice_number.clone(),
            payment_method: "creditCard".to_owned(),
            fee: "1.50".to_owned(),
            paid_at: jiff::civil::datetime(2026, 6, 16, 10, 15, 30, 0),
            payment_note: None,
        };
        let (to, issuer) = (self.addressing(), &self.names.fiscal_code);
        messages::send_receipt(Operation::SendRtV2, to, issuer, "Comune di Roccafiorina", &receipt.payment, &facts)
    }

    async fn call(&self, replica: usize, operation: Operation, request: String) -> Told {
        let begun = self.ledger.now();
        let verdict = self.client.call(&self.replicas[replica], operation, request).await.result;
        if verdict.is_ok() {
            self.ledger.timed(operation, replica, begun, self.ledger.now());
        }
        match verdict {
            Ok(Verdict::Ok(answer)) => Told::Ok(answer),
            Ok(Verdict::Ko(fault)) => {
                if fault.code == "PAA_SYSTEM_ERROR" {
                    self.ledger.system_error();
                }
                Told::Ko(fault.code)
            }
            Ok(Verdict::Refused(rules)) if rules.iter().any(|rule| rule.message.starts_with("status is 503")) => {
                if operation != Operation::SendRtV2 {
                    self.ledger.broken(format!("{operation:?} was answered 503"));
                }
                Told::Later
            }
            Ok(Verdict::Refused(rules)) => {
                self.ledger.broken(format!("{operation:?} was answered against the contract: {rules:?}"));
                Told::Malformed
            }
            Err(_) => {
                self.ledger.unanswered();
                Told::Nothing
            }
        }
    }
}

// === impl Receipt ===

impl Receipt {
    /// A payment of a notice under a token of its own.
    pub fn new(notice_number: &str, payment: &Arc<Element>) -> Self {
        let id = uuid::Uuid::new_v4().simple().to_string();
        Self { id, notice_number: notice_number.to_owned(), payment: Arc::clone(payment) }
    }
}
