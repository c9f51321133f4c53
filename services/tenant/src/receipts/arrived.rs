//! A receipt as the inbox passes it on. Nothing is refused here: what is odd is a finding.

use fiorino_domain::case::CaseKind;
use fiorino_proto::receipts::v1::{self as proto, ApplyOutcome};
use jiff::Timestamp;
use serde::Serialize;

use super::earlier::Amounts;

/// What pagoPA says of a payment that was made.
const PAID: &str = "OK";

/// A receipt, read.
pub(super) struct Arrived {
    pub(super) told: proto::Receipt,
    pub(super) version: i32,
    /// `None` = not told, or unreadable.
    pub(super) paid_at: Option<Timestamp>,
    pub(super) received_at: Timestamp,
    pub(super) findings: Vec<Finding>,
    /// Goes with the event, so that the trace of the node's call continues.
    pub(super) traceparent: Option<String>,
}

/// What the inbox found odd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) kind: CaseKind,
    /// The code as it was told, where it is none of ours.
    pub(super) unknown_code: Option<String>,
}

/// Identity of a receipt towards an institution.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) institution_id: i32,
    pub(super) receipt_id: String,
    pub(super) version: i32,
}

/// A row of `receipt`.
pub(super) struct ReceiptRow<'a> {
    pub(super) key: Key,
    pub(super) arrived: &'a Arrived,
    pub(super) outcome: ApplyOutcome,
    /// Its notice was issued through another intermediary of the institution.
    pub(super) elsewhere: bool,
    /// What was announced, where the receipt itself does not tell it.
    pub(super) announced: Option<Amounts>,
}

/// `receipt.content`: what no column tells.
#[derive(Serialize)]
pub(super) struct Content<'a> {
    station_id: &'a str,
    description: &'a str,
    psp_id: &'a str,
    psp_name: &'a str,
    channel_id: &'a str,
    payment_method: &'a str,
    payment_note: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fee_cents: Option<i64>,
    application_date: &'a str,
    transfer_date: &'a str,
    stand_in: bool,
    outcome: &'a str,
    transfers: Vec<ContentTransfer<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    announced: Option<&'a Amounts>,
}

#[derive(Serialize)]
struct ContentTransfer<'a> {
    id: u32,
    /// Absent = not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    cents: Option<i64>,
    beneficiary: &'a str,
    iban: &'a str,
    remittance: &'a str,
    taxonomy: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stamp: bool,
}

// === impl Key ===

impl Key {
    /// What tells its cases from those of other receipts. What befalls a notice befalls it once, however many versions tell of it.
    pub(super) fn case_key(&self, kind: CaseKind) -> String {
        match kind {
            CaseKind::ReceiptDouble | CaseKind::ReceiptLate | CaseKind::ReceiptUnpublished => self.receipt_id.clone(),
            _ => format!("{}/{}", self.receipt_id, self.version),
        }
    }
}

// === impl Arrived ===

impl Arrived {
    /// Reads a receipt; `now` stands in for a time of arrival that was not told.
    pub(super) fn read(told: proto::Receipt, now: Timestamp) -> Self {
        Self {
            version: i32::try_from(told.version).unwrap_or(i32::MAX),
            paid_at: told.paid_at.parse().ok(),
            received_at: told.received_at.parse().unwrap_or(now),
            findings: told.findings.iter().map(|code| Finding::read(code)).collect(),
            traceparent: Some(told.traceparent.clone()).filter(|traceparent| !traceparent.is_empty()),
            told,
        }
    }

    /// Its identity towards an institution.
    pub(super) fn key(&self, institution_id: i32) -> Key {
        Key { institution_id, receipt_id: self.told.receipt_id.clone(), version: self.version }
    }

    /// The node was told that it was never ours.
    pub(super) fn is_nobodys(&self) -> bool {
        self.has_finding(CaseKind::AddresseeNeverOurs)
    }

    /// Its notice was issued by another institution. Without an issuer the addressee is asked.
    pub(super) fn is_of_beneficiary(&self) -> bool {
        !self.told.issuer.is_empty() && self.told.issuer != self.told.institution
    }

    /// Its transfers to the addressee.
    pub(super) fn own_transfers(&self) -> impl Iterator<Item = &proto::ReceiptTransfer> {
        self.told.transfers.iter().filter(|transfer| transfer.beneficiary == self.told.institution)
    }

    /// The inbox found this odd.
    pub(super) fn has_finding(&self, kind: CaseKind) -> bool {
        self.findings.iter().any(|finding| finding.kind == kind && finding.unknown_code.is_none())
    }

    /// It tells of a payment that was made.
    pub(super) fn is_paid(&self) -> bool {
        self.told.outcome == PAID
    }

    /// For `receipt.content`; `announced`: amounts that payments show and the receipt does not tell.
    pub(super) fn content<'a>(&'a self, announced: Option<&'a Amounts>) -> Content<'a> {
        let told = &self.told;
        Content {
            station_id: &told.station_id,
            description: &told.description,
            psp_id: &told.psp_id,
            psp_name: &told.psp_name,
            channel_id: &told.channel_id,
            payment_method: &told.payment_method,
            payment_note: &told.payment_note,
            fee_cents: Some(told.fee_cents).filter(|fee| *fee >= 0),
            application_date: &told.application_date,
            transfer_date: &told.transfer_date,
            stand_in: told.stand_in,
            outcome: &told.outcome,
            transfers: told.transfers.iter().map(ContentTransfer::of).collect(),
            announced,
        }
    }
}

// === impl ContentTransfer ===

impl<'a> ContentTransfer<'a> {
    fn of(told: &'a proto::ReceiptTransfer) -> Self {
        let proto::ReceiptTransfer { id, amount_cents, beneficiary, iban, remittance, taxonomy_code, stamp } = told;
        Self { id: *id, cents: *amount_cents, beneficiary, iban, remittance, taxonomy: taxonomy_code, stamp: *stamp }
    }
}

// === impl Finding ===

impl Finding {
    /// A code that is none of ours comes from a newer part: it must not be lost, and says that the message was odd.
    fn read(code: &str) -> Self {
        match CaseKind::parse(code) {
            Ok(kind) => Self { kind, unknown_code: None },
            Err(_) => Self { kind: CaseKind::ReceiptSchema, unknown_code: Some(code.to_owned()) },
        }
    }
}
