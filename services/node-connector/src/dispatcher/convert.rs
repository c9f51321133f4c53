//! What tenant is told of a receipt, out of the raw message. Pure.

use fiorino_domain::{institution::InstitutionCode, money::Cents, secret::Masked};
use fiorino_proto::receipts::v1::{Receipt, ReceiptTransfer};
use fiorino_wire::{self as wire, Outcome, ReadError, ReceiptMessage, Request};

use super::queue::Due;
use crate::{path::station_in, receipts::findings};

/// The raw message, read again as it was read when it came.
///
/// # Errors
/// Only when the inbox holds what it never should: the message was readable when its row was written.
pub(super) fn receipt_in(read: Result<Request, ReadError>) -> Result<ReceiptMessage, ReadError> {
    match read? {
        Request::SendReceipt(message) => Ok(*message),
        other => Err(ReadError::UnknownOperation { name: other.operation().to_string() }),
    }
}

/// The receipt of a row and its message; `traceparent` of the span that applies it, else the node's call.
pub(super) fn receipt(row: &Due, message: ReceiptMessage, traceparent: Option<String>) -> Receipt {
    let receipt = message.receipt;
    Receipt {
        institution: row.id_pa.clone(),
        receipt_id: row.receipt_id.clone(),
        version: row.version.unsigned_abs(),
        content_hash: row.content_hash.clone().into(),
        path_station: path_station(&row.path_station, &message.header.id_station),
        station_id: message.header.id_station,
        broker: message.header.id_broker_pa,
        violations: row.violations.iter().flatten().map(|told| findings::told(told)).collect(),
        notice_number: receipt.notice_number.unwrap_or_default(),
        issuer: code(receipt.fiscal_code),
        iuv: receipt.creditor_reference_id.unwrap_or_default(),
        amount_cents: receipt.payment_amount.map(Cents::get),
        description: receipt.description.unwrap_or_default(),
        psp_id: receipt.psp_id.unwrap_or_default(),
        psp_name: receipt.psp_company_name.unwrap_or_default(),
        channel_id: receipt.channel_id.unwrap_or_default(),
        payment_method: receipt.payment_method.unwrap_or_default(),
        payment_note: receipt.payment_note.unwrap_or_default(),
        fee_cents: receipt.fee.map_or(-1, Cents::get),
        paid_at: receipt.paid_at.map(|at| at.to_string()).unwrap_or_default(),
        application_date: receipt.application_date.map(|date| date.to_string()).unwrap_or_default(),
        transfer_date: receipt.transfer_date.map(|date| date.to_string()).unwrap_or_default(),
        stand_in: receipt.stand_in.unwrap_or_default(),
        transfers: receipt.transfers.into_iter().map(transfer).collect(),
        received_at: row.received_at.to_string(),
        findings: row.findings.clone(),
        traceparent: traceparent.or_else(|| row.traceparent.clone()).unwrap_or_default(),
        outcome: receipt.outcome.map(outcome).unwrap_or_default().to_owned(),
    }
}

/// The station of the URL, where it is another; what the URL has instead of one is nobody's business.
fn path_station(path: &str, station: &str) -> String {
    if path == station { String::new() } else { station_in(path).unwrap_or("?").to_owned() }
}

fn transfer(transfer: wire::ReceiptTransfer) -> ReceiptTransfer {
    ReceiptTransfer {
        id: transfer.id.map_or(0, u32::from),
        amount_cents: transfer.amount.map(Cents::get),
        beneficiary: code(transfer.fiscal_code),
        iban: transfer.iban.map(Masked::into_inner).unwrap_or_default(),
        remittance: transfer.remittance_information.unwrap_or_default(),
        taxonomy_code: transfer.transfer_category.unwrap_or_default(),
        stamp: transfer.stamp.is_some(),
    }
}

fn code(code: Option<InstitutionCode>) -> String {
    code.map(|code| code.to_string()).unwrap_or_default()
}

const fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "OK",
        Outcome::Ko => "KO",
    }
}
