//! What the node sends: SOAP 1.1 requests of paForNode, built as trees and printed.

use std::fmt::Write;

use crate::judge::{
    Operation,
    tree::{Element, PA_NS, SOAP_NS},
};

/// Header fields that every request carries.
#[derive(Debug, Clone, Copy)]
pub struct Addressing<'a> {
    /// `idPA`
    pub institution: &'a str,
    /// `idBrokerPA`
    pub broker: &'a str,
    /// `idStation`
    pub station: &'a str,
}

/// The optional fields of `paGetPayment(V2)`.
#[derive(Debug, Clone, Copy, Default)]
pub struct GetPaymentExtras<'a> {
    /// Euros with two decimals.
    pub amount: Option<&'a str>,
    /// `POSTAL` or `PAGOPA`
    pub transfer_type: Option<&'a str>,
    /// Cart that the payment belongs to.
    pub payment_note: Option<&'a str>,
}

/// What a receipt adds to the activated payment.
#[derive(Debug, Clone)]
pub struct ReceiptFacts {
    /// Payment token.
    pub receipt_id: String,
    /// 18 digits.
    pub notice_number: String,
    /// `cash`, `creditCard`, `bancomat`, `other`
    pub payment_method: String,
    /// Euros with two decimals.
    pub fee: String,
    /// Europe/Rome, without zone.
    pub paid_at: jiff::civil::DateTime,
    /// Cart that the payment belongs to.
    pub payment_note: Option<String>,
}

fn leaf(name: &str, text: impl Into<String>) -> Element {
    Element { namespace: None, name: name.to_owned(), text: text.into(), children: Vec::new(), attributes: Vec::new() }
}

fn node(name: &str, children: Vec<Element>) -> Element {
    Element { namespace: None, name: name.to_owned(), text: String::new(), children, attributes: Vec::new() }
}

/// `paVerifyPaymentNotice`
pub fn verify(to: Addressing<'_>, notice_number: &str) -> String {
    let mut children = header(to);
    children.push(qr_code(to.institution, notice_number));
    envelope(Operation::Verify, &children)
}

/// `paGetPayment` or `paGetPaymentV2`
pub fn get_payment(
    operation: Operation,
    to: Addressing<'_>,
    notice_number: &str,
    extras: GetPaymentExtras<'_>,
) -> String {
    let mut children = header(to);
    children.push(qr_code(to.institution, notice_number));
    let optional =
        [("amount", extras.amount), ("paymentNote", extras.payment_note), ("transferType", extras.transfer_type)];
    children.extend(optional.into_iter().filter_map(|(name, value)| value.map(|v| leaf(name, v))));
    envelope(operation, &children)
}

/// `paSendRT` or `paSendRTV2`: `payment` is the `data` element that the station answered at activation.
pub fn send_receipt(
    operation: Operation,
    to: Addressing<'_>,
    issuer: &str,
    company_name: &str,
    payment: &Element,
    facts: &ReceiptFacts,
) -> String {
    let mut children = header(to);
    children.push(receipt(operation, issuer, company_name, payment, facts));
    envelope(operation, &children)
}

fn header(to: Addressing<'_>) -> Vec<Element> {
    vec![leaf("idPA", to.institution), leaf("idBrokerPA", to.broker), leaf("idStation", to.station)]
}

fn qr_code(institution: &str, notice_number: &str) -> Element {
    node("qrCode", vec![leaf("fiscalCode", institution), leaf("noticeNumber", notice_number)])
}

fn receipt(operation: Operation, issuer: &str, company_name: &str, payment: &Element, facts: &ReceiptFacts) -> Element {
    let v2 = operation == Operation::SendRtV2;
    let copied = |name: &str| payment.child(name).cloned();
    let text = |name: &str| payment.text_of(name).unwrap_or_default().to_owned();
    let mut children = vec![
        leaf("receiptId", &facts.receipt_id),
        leaf("noticeNumber", &facts.notice_number),
        leaf("fiscalCode", issuer),
        leaf("outcome", "OK"),
        leaf("creditorReferenceId", text("creditorReferenceId")),
        leaf("paymentAmount", text("paymentAmount")),
        leaf("description", text("description")),
        leaf("companyName", payment.text_of("companyName").unwrap_or(company_name)),
    ];
    children.extend(copied("officeName"));
    children.extend(copied("debtor"));
    children.extend(payment.child("transferList").map(|list| transfers(list, v2)));
    children.extend([
        leaf("idPSP", "SIMPSP01"),
        leaf("pspFiscalCode", "97249640588"),
        leaf("PSPCompanyName", "PSP simulato"),
        leaf("idChannel", "97249640588_01"),
        leaf("channelDescription", "app"),
        leaf("paymentMethod", &facts.payment_method),
    ]);
    if v2 {
        children.extend(facts.payment_note.as_deref().map(|note| leaf("paymentNote", note)));
    }
    let day = facts.paid_at.date();
    children.extend([
        leaf("fee", &facts.fee),
        leaf("paymentDateTime", facts.paid_at.strftime("%Y-%m-%dT%H:%M:%S").to_string()),
        leaf("applicationDate", day.to_string()),
        leaf("transferDate", day.tomorrow().unwrap_or(day).to_string()),
    ]);
    children.extend(copied("metadata"));
    children.push(leaf("standIn", "false"));
    node("receipt", children)
}

/// The transfers of a receipt: V1 has no company name; a requested stamp comes back as an attachment.
fn transfers(list: &Element, v2: bool) -> Element {
    let transfer = |source: &Element| {
        let kept = source.children.iter().filter(|c| v2 || c.name != "companyName");
        let children = kept.map(|c| match c.name.as_str() {
            "richiestaMarcaDaBollo" => leaf("MBDAttachment", "PG1hcmNhRGFCb2xsby8+"),
            _ => c.clone(),
        });
        node("transfer", children.collect())
    };
    node("transferList", list.children.iter().map(transfer).collect())
}

fn envelope(operation: Operation, children: &[Element]) -> String {
    let name = operation.request_element();
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <soapenv:Envelope xmlns:soapenv=\"{SOAP_NS}\" xmlns:paf=\"{PA_NS}\"><soapenv:Header/><soapenv:Body><paf:{name}>"
    );
    for child in children {
        print(child, &mut out);
    }
    out.push_str("</paf:");
    out.push_str(name);
    out.push_str("></soapenv:Body></soapenv:Envelope>");
    out
}

fn print(element: &Element, out: &mut String) {
    let name = &element.name;
    // What stands between child elements is layout; the text of a leaf is passed on as it is.
    let text = if element.children.is_empty() { element.text.as_str() } else { "" };
    // Writing to a String cannot fail.
    let _ = write!(out, "<{name}>{}", quick_xml::escape::escape(text));
    for child in &element.children {
        print(child, out);
    }
    let _ = write!(out, "</{name}>");
}
