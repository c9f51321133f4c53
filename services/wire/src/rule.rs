//! The rules of a message, as they are named when one is broken: by a request that is read, or by an answer that is refused.

use crate::fault::FaultCode;

/// A field and the rule that it breaks. Never its value: that may be personal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct Violation {
    /// Path of the field below the request's or response's element, such as `receipt.transferList.transfer[2].IBAN`.
    pub field: String,
    /// What it breaks.
    pub rule: Rule,
}

/// A rule of the XSD, or one that pagopa.md adds to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Rule {
    /// A mandatory element is not there, or a mandatory text is empty.
    #[error("is mandatory")]
    Missing,
    /// More of an element than the XSD allows.
    #[error("appears more than {max} times")]
    Repeated {
        /// How many there may be.
        max: u8,
    },
    /// An element that must come before one that has been seen.
    #[error("is out of order")]
    OutOfOrder,
    /// An element that the XSD does not know here.
    #[error("is unknown")]
    Unknown,
    /// A child element in a namespace: they are in none.
    #[error("must be in no namespace")]
    Namespace,
    /// Text between elements.
    #[error("contains text between its elements")]
    StrayText,
    /// Elements inside a simple value.
    #[error("contains elements instead of a value")]
    StrayElement,
    /// Number of characters.
    #[error("must have {min} to {max} characters")]
    Length {
        /// At least.
        min: u16,
        /// At most.
        max: u16,
    },
    /// A regular expression.
    #[error("must match {0}")]
    Pattern(&'static str),
    /// A closed list.
    #[error("must be one of {0}")]
    Enumeration(&'static str),
    /// Not `stAmount`.
    #[error("must be an amount such as 120.00, at most 999999999.99")]
    Amount,
    /// Zero where `stAmountNotZero` is asked.
    #[error("must be at least 0.01")]
    AmountNotZero,
    /// Not `xsd:date`.
    #[error("must be a date such as 2026-06-16")]
    Date,
    /// Not `xsd:dateTime`.
    #[error("must be a date and time such as 2026-06-16T10:15:30")]
    DateTime,
    /// Not `xsd:boolean`.
    #[error("must be true or false")]
    Boolean,
    /// Not `xsd:base64Binary`.
    #[error("must be base64")]
    Base64,
    /// More than one element in the SOAP body.
    #[error("must be the only element of the soap body")]
    SingleBody,
    /// A date that the XSD allows and no calendar of ours holds.
    #[error("must be a date of the years 1 to 9999")]
    Year,
    /// `paymentAmount` is not the sum of the transfers.
    #[error("must be the sum of the transfers")]
    Sum,
    /// Number of entries in a list.
    #[error("must have {min} to {max} entries")]
    Entries {
        /// At least.
        min: u8,
        /// At most.
        max: u8,
    },
    /// `idTransfer` is not the place among the transfers.
    #[error("must be 1 to n in order")]
    TransferId,
    /// Something that only the V2 primitive can carry.
    #[error("exists in version 2 alone")]
    VersionTwo,
    /// The operation never answers this fault (pagopa.md 2.10; for receipts ARCHITECTURE.md 4.4).
    #[error("is no answer to this operation")]
    FaultOfOperation,
}

// === impl Rule ===

impl Rule {
    /// How a request that breaks the rule is answered: `PAA_SINTASSI_XSD`, or `PAA_SINTASSI_EXTRAXSD` where the XSD allows it.
    pub const fn fault_code(self) -> FaultCode {
        match self {
            Self::SingleBody | Self::Year => FaultCode::SintassiExtraXsd,
            _ => FaultCode::SintassiXsd,
        }
    }
}
