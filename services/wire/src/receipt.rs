//! Receipts as the node sends them: what could be read, and what is odd about it.

use std::fmt;

use fiorino_domain::{institution::InstitutionCode, money::Cents, secret::Masked};
use jiff::{Timestamp, civil::Date};

use crate::{
    answer::{EntityKind, MapEntry},
    operation::Version,
    request::Header,
    rule::Violation,
};

/// A readable `paSendRT` or `paSendRTV2`: envelope, operation, `idPA`, `idBrokerPA`, `idStation` and `receiptId` were found
/// (ARCHITECTURE.md 4.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptMessage {
    /// Which of the two.
    pub version: Version,
    /// Whom it addresses: `idPA` may be any of the beneficiaries.
    pub header: Header,
    /// What was read.
    pub receipt: Receipt,
    /// Where the message violates the XSD, in the order of the message: the first [`ReceiptMessage::FINDINGS_MAX`] elements that it does not
    /// know ([`Rule::Unknown`](crate::Rule::Unknown)), and as many of everything else.
    pub findings: Vec<Violation>,
    /// SHA-256 over the content of `receipt`, in canonical form: the same for two messages that differ only in prefixes, white space
    /// between elements, order of elements, spelling of numbers, booleans and dates, envelope or header; another one when any field
    /// differs, known or unknown to the XSD.
    pub business_hash: [u8; 32],
}

/// The content of a receipt (pagopa.md 2.7). A field is `None` when it is absent or cannot be read; a finding tells the second.
/// Texts longer than the XSD allows are cut to what it allows; amounts that are spelled otherwise are read where their value is beyond
/// doubt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Receipt {
    /// The payment token, the key of idempotency with `idPA`: 1..255 characters.
    pub receipt_id: String,
    /// 18 digits.
    pub notice_number: Option<String>,
    /// The issuer of the notice.
    pub fiscal_code: Option<InstitutionCode>,
    /// Only OK is ever sent.
    pub outcome: Option<Outcome>,
    /// The IUV, 1..35 characters.
    pub creditor_reference_id: Option<String>,
    /// The sum that was paid; zero is possible.
    pub payment_amount: Option<Cents>,
    /// 1..140 characters.
    pub description: Option<String>,
    /// The issuer's name, 1..140 characters.
    pub company_name: Option<String>,
    /// 1..140 characters.
    pub office_name: Option<String>,
    /// Who owed.
    pub debtor: Option<Subject>,
    /// In the order of the message; five by the XSD, the first [`Receipt::TRANSFERS_MAX`] here.
    pub transfers: Vec<ReceiptTransfer>,
    /// `idPSP`, 1..35 characters.
    pub psp_id: Option<String>,
    /// 1..70 characters.
    pub psp_fiscal_code: Option<String>,
    /// `pspPartitaIVA`, 1..20 characters.
    pub psp_vat_number: Option<String>,
    /// `PSPCompanyName`, 1..70 characters.
    pub psp_company_name: Option<String>,
    /// `idChannel`, 1..35 characters.
    pub channel_id: Option<String>,
    /// 1..35 characters.
    pub channel_description: Option<String>,
    /// Who paid, when told.
    pub payer: Option<Subject>,
    /// 1..35 characters; seen: cash, creditCard, bancomat, other.
    pub payment_method: Option<String>,
    /// The `idCart` of a Checkout cart, 1..210 characters; V2.
    pub payment_note: Option<String>,
    /// What the PSP charged the payer.
    pub fee: Option<Cents>,
    /// What the institution took over; V2.
    pub primary_ci_incurred_fee: Option<Cents>,
    /// 1..70 characters; V2.
    pub id_bundle: Option<String>,
    /// 1..70 characters; V2.
    pub id_ci_bundle: Option<String>,
    /// When it was paid; a time without zone is Italian time (pagopa.md 2.1).
    pub paid_at: Option<Timestamp>,
    /// When the PSP booked it.
    pub application_date: Option<Date>,
    /// When the PSP transfers it.
    pub transfer_date: Option<Date>,
    /// As answered by `paGetPayment`; 15 by the XSD, the first [`Receipt::METADATA_MAX`] here.
    pub metadata: Vec<MapEntry>,
    /// Collected while the station was away (pagopa.md 2.12).
    pub stand_in: Option<bool>,
}

/// One of the transfers of a receipt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReceiptTransfer {
    /// 1..=5.
    pub id: Option<u8>,
    /// Zero breaks the XSD, and is told.
    pub amount: Option<Cents>,
    /// The beneficiary.
    pub fiscal_code: Option<InstitutionCode>,
    /// The beneficiary's name, 1..140 characters; V2.
    pub company_name: Option<String>,
    /// 1..35 characters, as written: the node does not promise a valid one.
    pub iban: Option<Masked<String>>,
    /// `MBDAttachment`: the digital stamp, base64 without white space; V2, instead of the IBAN.
    pub stamp: Option<Masked<String>>,
    /// 1..140 characters.
    pub remittance_information: Option<String>,
    /// 1..140 characters, as written: see `fiorino_domain::taxonomy`.
    pub transfer_category: Option<String>,
    /// 15 by the XSD, the first [`Receipt::METADATA_MAX`] here.
    pub metadata: Vec<MapEntry>,
}

/// A debtor or payer (`ctSubject`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subject {
    /// Natural or legal person.
    pub kind: Option<EntityKind>,
    /// Fiscal code, VAT number or `ANONIMO`: 2..16 characters.
    pub code: Option<Masked<String>>,
    /// 1..70 characters.
    pub full_name: Option<Masked<String>>,
    /// 1..70 characters.
    pub street_name: Option<Masked<String>>,
    /// 1..16 characters.
    pub civic_number: Option<Masked<String>>,
    /// 1..16 characters.
    pub postal_code: Option<Masked<String>>,
    /// 1..35 characters.
    pub city: Option<Masked<String>>,
    /// 1..35 characters.
    pub province: Option<Masked<String>>,
    /// Two capital letters.
    pub country: Option<Masked<String>>,
    /// At most 256 characters.
    pub email: Option<Masked<String>>,
}

/// `stOutcome`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Paid.
    Ok,
    /// Not paid: allowed by the XSD, never sent.
    Ko,
}

// === impl ReceiptMessage ===

impl ReceiptMessage {
    /// How many findings of each sort are kept: enough to see what is wrong, and bounded.
    pub const FINDINGS_MAX: usize = 32;
}

// === impl Receipt ===

impl Receipt {
    /// How many transfers are kept, where a message has more than it may.
    pub const TRANSFERS_MAX: usize = 32;
    /// How many entries of a list of metadata are kept, where a message has more than it may.
    pub const METADATA_MAX: usize = 64;
}

// === impl Outcome ===

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "OK",
            Self::Ko => "KO",
        })
    }
}
