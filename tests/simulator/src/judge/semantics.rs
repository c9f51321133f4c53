//! What the node demands beyond the XSD: SANP 3.12.0 (creditor entity, API SOAP; best practice) and the refusals that PagoPA's
//! tests of the node expect. Checked only when the structure is right.

use std::collections::BTreeSet;

use crate::judge::{Operation, Violation, facets::amount, tree::Element};

/// Faults that an institution may raise, per kind of call: "Gestione degli errori", node to creditor institution.
const COMMON: &[&str] = &[
    "PAA_SINTASSI_EXTRAXSD",
    "PAA_SINTASSI_XSD",
    "PAA_ID_DOMINIO_ERRATO",
    "PAA_ID_INTERMEDIARIO_ERRATO",
    "PAA_STAZIONE_INT_ERRATA",
    "PAA_SEMANTICA",
    "PAA_SYSTEM_ERROR",
];
const OF_NOTICES: &[&str] = &[
    "PAA_PAGAMENTO_SCONOSCIUTO",
    "PAA_PAGAMENTO_DUPLICATO",
    "PAA_PAGAMENTO_IN_CORSO",
    "PAA_PAGAMENTO_ANNULLATO",
    "PAA_PAGAMENTO_SCADUTO",
];
const OF_RECEIPTS: &[&str] = &["PAA_RECEIPT_DUPLICATA"];

/// Checks an answer whose structure is right.
pub fn check(operation: Operation, answer: &Element, violations: &mut Vec<Violation>) {
    let path = answer.name.as_str();
    if answer.text_of("outcome") == Some("KO") {
        check_fault(operation, answer, violations);
        return;
    }
    if answer.child("fault").is_some() {
        violations.push(Violation::new("ok-with-fault", path, "outcome OK and a fault exclude each other"));
    }
    match operation {
        Operation::Verify => check_verify(answer, violations),
        Operation::GetPayment | Operation::GetPaymentV2 => check_payment(answer, violations),
        Operation::SendRt | Operation::SendRtV2 => {}
    }
}

fn check_fault(operation: Operation, answer: &Element, violations: &mut Vec<Violation>) {
    let path = format!("{}/fault", answer.name);
    let Some(fault) = answer.child("fault") else {
        violations.push(Violation::new("ko-without-fault", path.as_str(), "outcome KO needs a fault"));
        return;
    };
    if answer.child("data").is_some() || answer.child("paymentList").is_some() {
        violations.push(Violation::new("ko-with-data", path.as_str(), "outcome KO carries no payment"));
    }
    let own = match operation {
        Operation::SendRt | Operation::SendRtV2 => OF_RECEIPTS,
        Operation::Verify | Operation::GetPayment | Operation::GetPaymentV2 => OF_NOTICES,
    };
    let code = fault.text_of("faultCode").unwrap_or_default();
    if !COMMON.contains(&code) && !own.contains(&code) {
        violations.push(Violation::new("fault-code", path, format!("{code:?} is not a fault of this operation")));
    }
    for name in ["faultString", "id"] {
        if fault.text_of(name).unwrap_or_default().is_empty() {
            violations.push(Violation::new("fault-empty", format!("{}/fault/{name}", answer.name), "is empty"));
        }
    }
}

fn check_verify(answer: &Element, violations: &mut Vec<Violation>) {
    let path = &answer.name;
    for name in ["paymentList", "paymentDescription", "fiscalCodePA", "companyName"] {
        if answer.child(name).is_none() {
            violations.push(Violation::new("verify-required", format!("{path}/{name}"), "is required when OK"));
        }
    }
    let option = answer.child("paymentList").and_then(|list| list.child("paymentOptionDescription"));
    let Some(option) = option else { return };
    if option.text_of("options") != Some("EQ") {
        violations.push(Violation::new("verify-options", format!("{path}/paymentList"), "options must be EQ"));
    }
    for name in ["dueDate", "detailDescription"] {
        if option.child(name).is_none() {
            violations.push(Violation::new("verify-required", format!("{path}/paymentList/{name}"), "always expected"));
        }
    }
}

fn check_payment(answer: &Element, violations: &mut Vec<Violation>) {
    let path = format!("{}/data", answer.name);
    let Some(data) = answer.child("data") else {
        violations.push(Violation::new("get-required", path, "is required when OK"));
        return;
    };
    let transfers = data.child("transferList").map(|l| l.children.as_slice()).unwrap_or_default();
    let cents = |e: &Element, name: &str| e.text_of(name).and_then(|t| amount(t).ok()).unwrap_or_default();
    let sum: u64 = transfers.iter().map(|t| cents(t, "transferAmount")).sum();
    if sum != cents(data, "paymentAmount") {
        let message = "paymentAmount is not the sum of transferAmount";
        violations.push(Violation::new("transfer-sum", format!("{path}/paymentAmount"), message));
    }
    let ids: BTreeSet<_> = transfers.iter().filter_map(|t| t.text_of("idTransfer")).collect();
    if ids.len() != transfers.len() {
        violations.push(Violation::new("transfer-ids", format!("{path}/transferList"), "idTransfer must be unique"));
    }
    for transfer in transfers {
        let iban = transfer.text_of("IBAN").unwrap_or("IT");
        if !iban.bytes().all(|b| b.is_ascii_alphanumeric()) || !iban.bytes().take(2).all(|b| b.is_ascii_alphabetic()) {
            violations.push(Violation::new("iban-syntax", format!("{path}/transferList/transfer/IBAN"), "not an IBAN"));
        }
    }
}
