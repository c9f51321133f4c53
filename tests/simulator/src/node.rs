//! The node: serialises payments of a notice by tokens, asks the station, tells the PSP, makes receipts.

pub mod delivery;
pub mod fault;
mod hold;
pub mod oddity;
mod payment;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    Options, clock,
    judge::{Operation, Verdict, Violation, facets, tree::Element},
    messages::{self, Addressing, GetPaymentExtras, ReceiptFacts},
    node::{delivery::Deliveries, fault::Fault, oddity::Oddity},
    registry::{Registry, Route, Station},
    station::{Call, StationClient},
};

/// A notice as the PSP reads it from QR code or slip.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NoticeKey {
    /// Of the institution: 11 digits.
    pub fiscal_code: String,
    /// 18 digits.
    pub notice_number: String,
}

/// What the PSP may add to an activation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActivateExtras {
    /// Cents.
    pub amount_cents: Option<u64>,
    /// `POSTAL` or `PAGOPA`
    pub transfer_type: Option<String>,
    /// Cart.
    pub payment_note: Option<String>,
    /// The same key with the same request has the same answer, while the token is valid.
    pub idempotency_key: Option<String>,
}

/// How the citizen paid.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OutcomeExtras {
    /// `cash`, `creditCard`, `bancomat`, `other`
    pub payment_method: String,
    /// Cents.
    pub fee_cents: u64,
    /// What is odd about the receipts.
    pub odd: Vec<Oddity>,
}

/// What a verified notice says.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verified {
    /// Cents.
    pub amount_cents: u64,
    /// Legal date.
    pub due_date: String,
    /// What is paid.
    pub description: String,
    /// To whom.
    pub company_name: String,
    /// Milliseconds that the station took.
    pub elapsed_ms: u64,
    /// W3C trace id of the call.
    pub trace_id: String,
}

/// An activated payment.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Activated {
    /// Names the payment from here on.
    pub payment_token: String,
    /// Cents.
    pub amount_cents: u64,
    /// Number of transfers.
    pub transfers: usize,
    /// Milliseconds that the station took.
    pub elapsed_ms: u64,
    /// W3C trace id of the call.
    pub trace_id: String,
}

#[derive(Debug)]
struct Token {
    notice: NoticeKey,
    route: Route,
    payment: Element,
    extras: ActivateExtras,
    answer: Activated,
    /// In monotonic time.
    expires: Duration,
    outcome: Option<bool>,
}

#[derive(Debug, Default)]
struct Ledger {
    tokens: BTreeMap<String, Token>,
    /// The token that holds a notice, paid or in progress.
    holders: BTreeMap<NoticeKey, String>,
}

/// The node.
#[derive(Debug)]
pub struct Node {
    registry: Arc<Registry>,
    client: StationClient,
    ledger: Mutex<Ledger>,
    /// Receipts on their way.
    pub deliveries: Deliveries,
    /// Every rule that a station broke, newest last; bounded.
    violations: Mutex<Vec<Violation>>,
    token_validity: Duration,
}

const VIOLATIONS_MAX: usize = 1_000;

// === impl OutcomeExtras ===

impl Default for OutcomeExtras {
    fn default() -> Self {
        Self { payment_method: "creditCard".to_owned(), fee_cents: 150, odd: Vec::new() }
    }
}

// === impl Node ===

impl Node {
    /// A node without history.
    pub fn new(registry: Arc<Registry>, client: StationClient, options: &Options) -> Self {
        Self {
            registry,
            client,
            ledger: Mutex::default(),
            deliveries: Deliveries::new(options.receipt_retry, options.receipt_attempts),
            violations: Mutex::default(),
            token_validity: options.token_validity,
        }
    }

    /// `verifyPaymentNotice`. `station` overrides the route, as the node's probes do.
    ///
    /// # Errors
    /// The fault that the PSP gets.
    pub async fn verify(&self, key: &NoticeKey, station: Option<&str>) -> Result<Verified, Fault> {
        let route = self.route(key, station)?;
        let request = messages::verify(addressing(&key.fiscal_code, &route.station), &key.notice_number);
        let call = self.client.call(&route.station, Operation::Verify, request).await;
        let (elapsed_ms, trace_id) = (call.elapsed_ms, call.trace_id.clone());
        let answer = self.usable(call)?;
        let option = ["paymentList", "paymentOptionDescription"];
        let at = |name| answer.text_at(&[option[0], option[1], name]).unwrap_or_default();
        Ok(Verified {
            amount_cents: facets::amount(at("amount")).unwrap_or_default(),
            due_date: at("dueDate").to_owned(),
            description: answer.text_of("paymentDescription").unwrap_or_default().to_owned(),
            company_name: answer.text_of("companyName").unwrap_or_default().to_owned(),
            elapsed_ms,
            trace_id,
        })
    }

    /// `activatePaymentNotice(V2)`: holds the notice for the token's validity.
    ///
    /// # Errors
    /// The fault that the PSP gets.
    pub async fn activate(&self, key: &NoticeKey, extras: &ActivateExtras) -> Result<Activated, Fault> {
        let route = self.route(key, None)?;
        if let Some(answer) = self.repeated(key, extras)? {
            return Ok(answer);
        }
        let token = uuid::Uuid::new_v4().simple().to_string();
        let hold = self.hold(key, &token)?;
        let activated = self.ask_payment(key, extras, &route, &token).await?;
        hold.keep();
        Ok(activated)
    }

    /// The answer to an equal request with the same idempotency key.
    fn repeated(&self, key: &NoticeKey, extras: &ActivateExtras) -> Result<Option<Activated>, Fault> {
        let Some(idempotency_key) = &extras.idempotency_key else { return Ok(None) };
        let ledger = self.ledger();
        let now = clock::monotonic();
        let known = ledger
            .tokens
            .values()
            .find(|entry| entry.extras.idempotency_key.as_ref() == Some(idempotency_key) && now <= entry.expires);
        match known {
            Some(entry) if entry.notice == *key && entry.extras == *extras => Ok(Some(entry.answer.clone())),
            Some(_) => Err(Fault::node("PPT_ERRORE_IDEMPOTENZA")),
            None => Ok(None),
        }
    }

    async fn ask_payment(
        &self,
        key: &NoticeKey,
        extras: &ActivateExtras,
        route: &Route,
        token: &str,
    ) -> Result<Activated, Fault> {
        let operation =
            if route.station.primitive_version == 1 { Operation::GetPayment } else { Operation::GetPaymentV2 };
        let amount = extras.amount_cents.map(euros);
        let fields = GetPaymentExtras {
            amount: amount.as_deref(),
            transfer_type: extras.transfer_type.as_deref(),
            payment_note: extras.payment_note.as_deref(),
        };
        let to = addressing(&key.fiscal_code, &route.station);
        let request = messages::get_payment(operation, to, &key.notice_number, fields);
        let call = self.client.call(&route.station, operation, request).await;
        let (elapsed_ms, trace_id) = (call.elapsed_ms, call.trace_id.clone());
        let payment = self.usable(call)?.child("data").cloned().ok_or_else(Fault::malformed)?;
        let transfers = self.check_transfers(&payment)?;
        let amount_cents = payment.text_of("paymentAmount").and_then(|a| facets::amount(a).ok()).unwrap_or_default();
        let answer = Activated { payment_token: token.to_owned(), amount_cents, transfers, elapsed_ms, trace_id };
        let entry = Token {
            notice: key.clone(),
            route: route.clone(),
            payment,
            extras: extras.clone(),
            answer: answer.clone(),
            expires: clock::monotonic() + self.token_validity,
            outcome: None,
        };
        self.ledger().tokens.insert(token.to_owned(), entry);
        Ok(answer)
    }

    /// `sendPaymentOutcome(V2)`. OK makes the receipts; KO frees the notice. Returns the receipt's id.
    ///
    /// # Errors
    /// The fault that the PSP gets.
    pub fn outcome(&self, token: &str, paid: bool, extras: &OutcomeExtras) -> Result<Option<String>, Fault> {
        let mut ledger = self.ledger();
        let Some(entry) = ledger.tokens.get_mut(token) else { return Err(Fault::node("PPT_TOKEN_SCONOSCIUTO")) };
        if entry.outcome.is_some() {
            return Err(Fault::node("PPT_ESITO_GIA_ACQUISITO"));
        }
        if clock::monotonic() > entry.expires {
            return Err(Fault::node(if paid { "PPT_TOKEN_SCADUTO" } else { "PPT_TOKEN_SCADUTO_KO" }));
        }
        entry.outcome = Some(paid);
        if !paid {
            let notice = entry.notice.clone();
            ledger.holders.remove(&notice);
            return Ok(None);
        }
        self.enqueue_receipts(token, entry, extras)?;
        Ok(Some(token.to_owned()))
    }

    fn enqueue_receipts(&self, token: &str, entry: &Token, extras: &OutcomeExtras) -> Result<(), Fault> {
        let rome = clock::rome().map_err(|_| Fault::node("PPT_SYSTEM_ERROR"))?;
        let facts = ReceiptFacts {
            receipt_id: token.to_owned(),
            notice_number: entry.notice.notice_number.clone(),
            payment_method: extras.payment_method.clone(),
            fee: euros(extras.fee_cents),
            paid_at: clock::now().to_zoned(rome).datetime(),
            payment_note: entry.extras.payment_note.clone(),
        };
        let beneficiaries: Vec<String> =
            payment::transfers(&entry.payment).filter_map(|t| t.text_of("fiscalCodePA").map(str::to_owned)).collect();
        for (addressee, station) in self.registry.lock().addressees(&entry.route, &beneficiaries) {
            for operation in operations(&station, &extras.odd) {
                let request = messages::send_odd_receipt(
                    operation,
                    addressing(&addressee, &station),
                    &entry.route.institution.fiscal_code,
                    &entry.route.institution.company_name,
                    &entry.payment,
                    &facts,
                    &extras.odd,
                );
                let request = request.map_err(|oddity::NoSuchElement| Fault::node("PPT_SEMANTICA"))?;
                let way = oddity::way(&extras.odd);
                self.deliveries.enqueue(token, &addressee, &station.station_id, operation, request, way);
            }
        }
        Ok(())
    }

    /// Every rule that a station broke so far.
    pub fn violations(&self) -> Vec<Violation> {
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps violations for whoever asks later.
    fn record(&self, found: &[Violation]) {
        let mut violations = self.violations.lock().unwrap_or_else(PoisonError::into_inner);
        let room = VIOLATIONS_MAX.saturating_sub(violations.len());
        violations.extend(found.iter().take(room).cloned());
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn route(&self, key: &NoticeKey, station: Option<&str>) -> Result<Route, Fault> {
        let contents = self.registry.lock();
        let Some(institution) = contents.institutions.get(&key.fiscal_code) else {
            return Err(Fault::node("PPT_DOMINIO_SCONOSCIUTO"));
        };
        let route = match station {
            None => contents.route(&key.fiscal_code, &key.notice_number),
            Some(id) => {
                contents.stations.get(id).map(|s| Route { institution: institution.clone(), station: s.clone() })
            }
        };
        route.ok_or_else(|| Fault::node("PPT_STAZIONE_INT_PA_SCONOSCIUTA"))
    }

    fn usable(&self, call: Call) -> Result<Element, Fault> {
        match call.result {
            Ok(Verdict::Ok(answer)) => Ok(answer),
            Ok(Verdict::Ko(fault)) => Err(Fault::of_station(fault, call.trace_id, call.elapsed_ms)),
            Ok(Verdict::Refused(violations)) => {
                self.record(&violations);
                Err(Fault { violations, ..Fault::malformed() })
            }
            Err(unreachable) => Err(Fault::unreachable(unreachable)),
        }
    }

    /// Every transfer must go to a known institution's registered account, and name none but such as the alternative.
    fn check_transfers(&self, payment: &Element) -> Result<usize, Fault> {
        let contents = self.registry.lock();
        let mut count = 0;
        for transfer in payment::transfers(payment) {
            count += 1;
            let beneficiary = transfer.text_of("fiscalCodePA").unwrap_or_default();
            if !contents.institutions.get(beneficiary).is_some_and(|i| i.enabled) {
                return Err(Fault::malformed());
            }
            for iban in payment::accounts(transfer) {
                if !contents.iban_usable(beneficiary, iban, clock::now()) {
                    return Err(Fault::node("PPT_IBAN_NON_CENSITO"));
                }
            }
        }
        Ok(count)
    }
}

/// By which primitives a station is told.
fn operations(station: &Station, odd: &[Oddity]) -> Vec<Operation> {
    if odd.contains(&Oddity::BothVersions) {
        return vec![Operation::SendRt, Operation::SendRtV2];
    }
    vec![if station.primitive_version == 1 { Operation::SendRt } else { Operation::SendRtV2 }]
}

fn addressing<'a>(institution: &'a str, station: &'a Station) -> Addressing<'a> {
    Addressing { institution, broker: &station.broker_fiscal_code, station: &station.station_id }
}

fn euros(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}
