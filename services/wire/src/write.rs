//! The strict writer: an answer becomes XML only when it keeps every rule of the XSD and of pagopa.md 2 and 7.2.
//!
//! Every value passes through the function of its type in [`xml`]; there is no other way to write one. Children are in no namespace
//! and the wrapper has a prefix, the SOAP header is empty, an optional text that is empty is left out, and characters that XML 1.0
//! cannot carry are left out of texts before they are measured.

mod fault;
mod payment;
mod verify;
mod xml;

use crate::{
    answer::{Payment, VerifiedNotice},
    fault::{Fault, SoapFault},
    operation::{Operation, Version},
    rule::Violation,
};

use self::xml::Xml;

type Result<T, E = Violation> = std::result::Result<T, E>;

/// Writes `paVerifyPaymentNoticeRes` with outcome OK.
///
/// # Errors
/// The first field that breaks a rule: the caller answers `PAA_SYSTEM_ERROR` and tells someone.
pub fn write_verify(notice: &VerifiedNotice) -> Result<String> {
    let mut xml = Xml::response(Operation::Verify, "OK");
    verify::write(&mut xml, notice)?;
    Ok(xml.end(Operation::Verify))
}

/// Writes `paGetPaymentRes` or `paGetPaymentV2Response` with outcome OK.
///
/// # Errors
/// As [`write_verify`].
pub fn write_get_payment(version: Version, payment: &Payment) -> Result<String> {
    let operation = Operation::GetPayment(version);
    let mut xml = Xml::response(operation, "OK");
    payment::write(&mut xml, version, payment)?;
    Ok(xml.end(operation))
}

/// Writes `paSendRTRes` or `paSendRTV2Response` with outcome OK: the receipt is safe.
pub fn write_receipt_accepted(version: Version) -> String {
    let operation = Operation::SendReceipt(version);
    Xml::response(operation, "OK").end(operation)
}

/// Writes the response of any operation with outcome KO.
///
/// # Errors
/// The operation never answers this fault: see [`FaultCode::answers`](crate::FaultCode::answers).
pub fn write_fault(operation: Operation, fault: &Fault) -> Result<String> {
    let mut xml = Xml::response(operation, "KO");
    fault::write(&mut xml, operation, fault)?;
    Ok(xml.end(operation))
}

/// Writes a SOAP 1.1 fault. The node takes it for a broken answer and, for receipts, comes again (pagopa.md 2.1, 2.7).
pub fn write_soap_fault(fault: &SoapFault) -> String {
    fault::soap(fault)
}
