//! The node: calls one replica, judges what comes back, and notes it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use fiorino_simulator::judge::{Operation, Verdict, tree::Element};
use fiorino_simulator::messages::{self, Addressing, GetPaymentExtras, ReceiptFacts};
use fiorino_simulator::registry::Station;
use fiorino_simulator::station::StationClient;
use tokio::time::sleep;

use crate::institution::Institution;
use crate::ledger::{Asked, Key, Ledger};

/// Between attempts to have a receipt answered: an hour at the real node.
const RETRY: Duration = Duration::from_millis(250);

/// What replicas of the node-connector are called, before their number.
const REPLICA: &str = "node-connector-";

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
    /// Fiscal code of who asked for the payment.
    pub issuer: String,
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
    institution: Institution,
    ledger: Arc<Ledger>,
}

// === impl Node ===

impl Node {
    /// `urls` of the replicas' plain listeners.
    ///
    /// # Errors
    /// When there can be no HTTP client.
    pub fn new(urls: &[String], institution: Institution, ledger: Arc<Ledger>) -> Result<Self> {
        let names = &institution.names;
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
            institution,
            ledger,
        })
    }

    /// Where everything is noted.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Who is called.
    pub fn institution(&self) -> &Institution {
        &self.institution
    }

    /// What is the institution's own.
    pub fn key(&self, own: &str) -> Key {
        (self.institution.names.fiscal_code.clone(), own.to_owned())
    }

    /// Number of replicas.
    pub fn replicas(&self) -> usize {
        self.replicas.len()
    }

    /// `paVerifyPaymentNotice`.
    pub async fn verify(&self, replica: usize, notice_number: &str) -> Told {
        let told = self.call(replica, Operation::Verify, messages::verify(self.addressing(), notice_number)).await;
        if let Told::Ok(answer) = &told {
            let asked = answer.text_at(&["paymentList", "paymentOptionDescription", "amount"]);
            self.expect(asked, &euros(self.institution.cents));
        }
        told
    }

    /// `paGetPaymentV2`.
    pub async fn get(&self, replica: usize, notice_number: &str) -> Told {
        let operation = Operation::GetPaymentV2;
        let extras = GetPaymentExtras::default();
        let request = messages::get_payment(operation, self.addressing(), notice_number, extras);
        let told = self.call(replica, operation, request).await;
        if let Told::Ok(answer) = &told {
            let own = ["data", "transferList", "transfer"];
            let found = |field| answer.text_at(&[&own[..], &[field]].concat());
            let names = &self.institution.names;
            self.expect(answer.text_at(&["data", "paymentAmount"]), &euros(self.institution.cents));
            self.expect(found("fiscalCodePA"), &names.fiscal_code);
            self.expect(found("IBAN"), &names.iban);
        }
        told
    }

    /// `paSendRTV2`, once.
    pub async fn send(&self, replica: usize, receipt: &Receipt) -> Told {
        let key = self.key(&receipt.id);
        let cents = receipt.cents_of(&key.0);
        let before = self.ledger.sending(&key, &receipt.issuer, &receipt.notice_number, cents);
        let told = self.call(replica, Operation::SendRtV2, self.write(receipt)).await;
        match &told {
            Told::Ok(_) => self.ledger.answered(&key, false),
            Told::Ko(code) if code == "PAA_RECEIPT_DUPLICATA" && before > 0 => self.ledger.answered(&key, true),
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

    /// A payment of a notice under a token of its own.
    pub fn receipt(&self, notice_number: &str, payment: &Arc<Element>) -> Receipt {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let issuer = self.institution.names.fiscal_code.clone();
        Receipt { id, issuer, notice_number: notice_number.to_owned(), payment: Arc::clone(payment) }
    }

    /// Any replica.
    pub fn any(&self) -> usize {
        rand::random_range(0..self.replicas.len())
    }

    fn addressing(&self) -> Addressing<'_> {
        let names = &self.institution.names;
        Addressing { institution: &names.fiscal_code, broker: &names.broker, station: &names.station }
    }

    /// What an answer tells must be the institution's own.
    fn expect(&self, told: Option<&str>, own: &str) {
        if told != Some(own) {
            let name = self.institution.legal_name;
            self.ledger.broken(format!("an answer of {name} tells {told:?} instead of {own}"));
        }
    }

    fn write(&self, receipt: &Receipt) -> String {
        let facts = ReceiptFacts {
            receipt_id: receipt.id.clone(),
            notice_number: receipt.notice_number.clone(),
            payment_method: "creditCard".to_owned(),
            fee: "1.50".to_owned(),
            paid_at: jiff::civil::datetime(2026, 6, 16, 10, 15, 30, 0),
            payment_note: None,
        };
        let (to, company) = (self.addressing(), self.institution.legal_name);
        messages::send_receipt(Operation::SendRtV2, to, &receipt.issuer, company, &receipt.payment, &facts)
    }

    async fn call(&self, replica: usize, operation: Operation, request: String) -> Told {
        let begun = self.ledger.now();
        let verdict = self.client.call(&self.replicas[replica], operation, request).await.result;
        if verdict.is_ok() {
            let asked = if operation == Operation::SendRtV2 { Asked::Receipt } else { Asked::Notice };
            self.ledger.timed(asked, &format!("{REPLICA}{}", replica + 1), begun, self.ledger.now());
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
    /// Whether an institution is paid by it, as the issuer or by a share.
    pub fn pays(&self, fiscal_code: &str) -> bool {
        self.transfers().any(|transfer| transfer.text_of("fiscalCodePA") == Some(fiscal_code))
    }

    /// What reporting tells of an institution: the issuer's payment is the whole, anybody else's is his transfers.
    fn cents_of(&self, fiscal_code: &str) -> i64 {
        let whole = fiscal_code == self.issuer;
        let own = self.transfers().filter(|transfer| whole || transfer.text_of("fiscalCodePA") == Some(fiscal_code));
        own.map(|transfer| cents(transfer.text_of("transferAmount").unwrap_or_default())).sum()
    }

    fn transfers(&self) -> impl Iterator<Item = &Element> {
        self.payment.child("transferList").into_iter().flat_map(|list| &list.children)
    }
}

/// As the node writes it.
fn euros(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// Of euros with two decimals; the simulator's judge has seen to it that they are.
fn cents(euros: &str) -> i64 {
    euros.replace('.', "").parse().unwrap_or_default()
}
