//! The messages of paForNode: what the pagoPA node asks a station, and what a station answers.
//!
//! The reader is tolerant, the writer strict; neither does IO.
//!
//! ```text
//!  bytes --read--> Request | ReadError          answer types --write_*--> XML | Violation
//!                  |         |                                            |
//!                  |         +-- Schema: PAA_SINTASSI_*, in the           +-- the caller answers
//!                  |             response element of its operation            PAA_SYSTEM_ERROR
//!                  +-- SendReceipt: readable, with its findings and business hash
//! ```
//!
//! | what | where |
//! |---|---|
//! | operations and the names of their elements | [`Operation`] |
//! | requests as read | [`Request`], [`ReceiptMessage`] |
//! | why a message is refused | [`ReadError`], [`Violation`], [`Rule`] |
//! | answers to be written | [`VerifiedNotice`], [`Payment`], [`Fault`], [`SoapFault`] |
//!
//! **Tolerated by the reader** (pagopa.md 2.1, 9.1, 10): any prefix, comments, processing instructions, CDATA, white space between
//! elements, attributes, SOAP headers, a byte order mark, UTF-8, ISO-8859-1 and US-ASCII, leading zeros in amounts, dates with a
//! zone, `standin` for `standIn`, `datiSpecificiServizio` for `datiSpecificiServizioRequest`.
//!
//! **Refused by the reader**: document type declarations, entities beyond the five of XML, depth and size over [`Limits`].
//!
//! Texts of the messages follow the official `paForNode.xsd` and `sac-common-types-1.0.xsd`; docs/conformance.md names the test of
//! each rule.

mod answer;
mod fault;
mod lexical;
mod operation;
mod read;
mod receipt;
mod request;
mod rule;
mod write;

pub use answer::{Account, Debtor, DueDate, EntityKind, MapEntry, Payment, Stamp, Transfer, VerifiedNotice};
pub use fault::{Fault, FaultCode, SoapFault, SoapFaultCode};
pub use operation::{Operation, Version};
pub use read::{
    Asked, Limits, ReadError, SoapRule, XmlRule, operation_of, read, read_receipt, read_with_charset, shared_hash,
};
pub use receipt::{Outcome, Receipt, ReceiptMessage, ReceiptTransfer, Subject};
pub use request::{
    DemandRequest, GetPaymentRequest, Header, PartialHeader, QrCode, Request, TransferType, VerifyRequest,
};
pub use rule::{Rule, Violation};
pub use write::{write_fault, write_get_payment, write_receipt_accepted, write_soap_fault, write_verify};
