//! Answers of a station, before they are written.
//!
//! What a type can rule out is ruled out here; what is left (lengths, sums, counts) is checked by the writer, field by field.

use std::fmt;

use fiorino_domain::{
    date::LegalDate, iban::Iban, institution::InstitutionCode, money::Cents, secret::Masked, taxonomy::TaxonomyCode,
};

/// What `paVerifyPaymentNotice` answers for a payable notice (pagopa.md 2.4). There is one payment option, and it is `EQ`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedNotice {
    /// As of now; not zero.
    pub amount: Cents,
    /// Always sent.
    pub due: DueDate,
    /// 1..140 characters, no personal data; sent as `detailDescription` and `paymentDescription`.
    pub description: String,
    /// `allCCP`: every transfer goes to a postal account.
    pub all_postal: bool,
    /// The institution to be named in the activation.
    pub institution: InstitutionCode,
    /// 1..140 characters.
    pub company_name: String,
    /// 1..140 characters.
    pub office_name: Option<String>,
}

/// When a notice is due: the messages always carry a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DueDate {
    /// A date, in Italy.
    On(LegalDate),
    /// None: 31 December of the fifth year after issue is written (ARCHITECTURE.md 4.3).
    Open {
        /// The day of issue, in Italy.
        issued_on: LegalDate,
    },
}

/// What `paGetPayment` and `paGetPaymentV2` answer for a payable notice (pagopa.md 2.5, 2.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// `creditorReferenceId`: the IUV, 1..35 characters.
    pub iuv: String,
    /// As of now; not zero; the sum of the transfers.
    pub amount: Cents,
    /// Always sent.
    pub due: DueDate,
    /// 1..140 characters, no personal data.
    pub description: String,
    /// 1..140 characters.
    pub company_name: String,
    /// 1..140 characters.
    pub office_name: Option<String>,
    /// Who owes.
    pub debtor: Debtor,
    /// 1..=5, with ids 1..=n in this order.
    pub transfers: Vec<Transfer>,
    /// At most 10: returned in the receipt.
    pub metadata: Vec<MapEntry>,
}

/// Who owes (`ctSubject`). Empty optional texts are not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Debtor {
    /// Natural or legal person.
    pub kind: EntityKind,
    /// Fiscal code, VAT number or `ANONIMO`: 2..16 characters.
    pub code: Masked<String>,
    /// 1..70 characters.
    pub full_name: Masked<String>,
    /// At most 70 characters.
    pub street_name: Option<Masked<String>>,
    /// At most 16 characters.
    pub civic_number: Option<Masked<String>>,
    /// At most 16 characters.
    pub postal_code: Option<Masked<String>>,
    /// At most 35 characters.
    pub city: Option<Masked<String>>,
    /// At most 35 characters.
    pub province: Option<Masked<String>>,
    /// Two capital letters.
    pub country: Option<Masked<String>>,
    /// At most 256 characters, of the form that the XSD asks.
    pub email: Option<Masked<String>>,
}

/// `stEntityUniqueIdentifierType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntityKind {
    /// `F`: a natural person.
    Natural,
    /// `G`: a legal person.
    Legal,
}

/// A part of a payment, to one beneficiary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// `idTransfer`: its place among the transfers, from 1.
    pub id: u32,
    /// Not zero.
    pub amount: Cents,
    /// The beneficiary.
    pub institution: InstitutionCode,
    /// The beneficiary's name, at most 140 characters; written by V2.
    pub company_name: Option<String>,
    /// Where the money goes.
    pub account: Account,
    /// 1..140 characters.
    pub remittance_information: String,
    /// Written in its normal form, with prefix and trailing slash (pagopa.md 2.9).
    pub category: TaxonomyCode,
    /// At most 10.
    pub metadata: Vec<MapEntry>,
}

/// Where the money of a transfer goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// To an account.
    Iban(Iban),
    /// Into a digital stamp; V2.
    Stamp(Stamp),
}

/// `ctRichiestaMarcaDaBollo`: a digital stamp of 16 euro on a document (pagopa.md 2.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// SHA-256 of the document.
    pub document_hash: [u8; 32],
    /// The debtor's province: two capital letters.
    pub province: String,
}

/// One entry of `ctMetadata`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MapEntry {
    /// 1..140 characters.
    pub key: String,
    /// 1..140 characters.
    pub value: String,
}

// === impl DueDate ===

impl DueDate {
    /// The date that is written.
    pub fn written(self) -> LegalDate {
        match self {
            Self::On(date) => date,
            Self::Open { issued_on } => issued_on.fifth_year_end(),
        }
    }
}

// === impl EntityKind ===

impl EntityKind {
    /// `F` or `G`.
    pub fn parse(letter: &str) -> Option<Self> {
        match letter {
            "F" => Some(Self::Natural),
            "G" => Some(Self::Legal),
            _ => None,
        }
    }

    /// `F` or `G`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Natural => "F",
            Self::Legal => "G",
        }
    }
}

impl fmt::Display for EntityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
