//! Requests of the node, as read.

use std::fmt;

use fiorino_domain::{institution::InstitutionCode, money::Cents};
use jiff::civil::Date;

use crate::{operation::Operation, operation::Version, receipt::ReceiptMessage};

/// A request that can be worked on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// `paVerifyPaymentNotice`, valid by the XSD.
    Verify(VerifyRequest),
    /// `paGetPayment` and `paGetPaymentV2`, valid by the XSD.
    GetPayment(GetPaymentRequest),
    /// `paSendRT` and `paSendRTV2`: readable, not necessarily valid.
    SendReceipt(Box<ReceiptMessage>),
    /// `paDemandPaymentNotice`, valid by the XSD.
    Demand(DemandRequest),
}

/// Whom the node addresses (pagopa.md 2.3): each 1..35 characters; for receipts, which are never refused for it, 1..255.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// `idPA`: fiscal code of the institution. In a receipt for another beneficiary it is that institution's.
    pub id_pa: String,
    /// `idBrokerPA`: fiscal code of the broker.
    pub id_broker_pa: String,
    /// `idStation`, such as `77777777777_01`.
    pub id_station: String,
}

/// What was found of a [`Header`] in a message that is refused.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartialHeader {
    /// `idPA`, when there and not empty.
    pub id_pa: Option<String>,
    /// `idBrokerPA`, when there and not empty.
    pub id_broker_pa: Option<String>,
    /// `idStation`, when there and not empty.
    pub id_station: Option<String>,
}

/// What is printed on the notice as QR code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QrCode {
    /// The institution that issued the notice.
    pub fiscal_code: InstitutionCode,
    /// 18 digits, of any structure: the node's probe is `000000000000000000` (pagopa.md 2.12).
    pub notice_number: String,
}

/// `paVerifyPaymentNotice` (pagopa.md 2.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyRequest {
    /// Whom it addresses.
    pub header: Header,
    /// The notice.
    pub qr_code: QrCode,
}

/// `paGetPayment` and `paGetPaymentV2` (pagopa.md 2.5, 2.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetPaymentRequest {
    /// Which of the two.
    pub version: Version,
    /// Whom it addresses.
    pub header: Header,
    /// The notice.
    pub qr_code: QrCode,
    /// What the payer was told, which may be 0.00 by the XSD; the answer may differ.
    pub amount: Option<Cents>,
    /// 1..210 characters: the `idCart` of a Checkout cart.
    pub payment_note: Option<String>,
    /// How the transfers will be made, when it matters.
    pub transfer_type: Option<TransferType>,
    /// As the payer was told.
    pub due_date: Option<Date>,
}

/// `stTransferType` (pagopa.md 2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransferType {
    /// The first transfer must go to a postal account.
    Postal,
    /// Every transfer must carry the metadata `IBANAPPOGGIO`.
    Pagopa,
}

/// `paDemandPaymentNotice` (pagopa.md 2.8). The payload is checked to be base64 and not kept: no service of the national catalogue
/// is offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DemandRequest {
    /// Whom it addresses.
    pub header: Header,
    /// `idServizio`: 5 characters.
    pub service: String,
    /// `idSoggettoServizio`: 5 characters.
    pub service_subject: String,
}

// === impl Request ===

impl Request {
    /// The operation asked.
    pub fn operation(&self) -> Operation {
        match self {
            Self::Verify(_) => Operation::Verify,
            Self::GetPayment(request) => Operation::GetPayment(request.version),
            Self::SendReceipt(message) => Operation::SendReceipt(message.version),
            Self::Demand(_) => Operation::Demand,
        }
    }

    /// Whom it addresses.
    pub fn header(&self) -> &Header {
        match self {
            Self::Verify(request) => &request.header,
            Self::GetPayment(request) => &request.header,
            Self::SendReceipt(message) => &message.header,
            Self::Demand(request) => &request.header,
        }
    }
}

// === impl PartialHeader ===

impl PartialHeader {
    /// All three, or what is missing.
    pub(crate) fn complete(self) -> Result<Header, &'static str> {
        Ok(Header {
            id_pa: self.id_pa.ok_or("idPA")?,
            id_broker_pa: self.id_broker_pa.ok_or("idBrokerPA")?,
            id_station: self.id_station.ok_or("idStation")?,
        })
    }
}

impl From<Header> for PartialHeader {
    fn from(header: Header) -> Self {
        Self { id_pa: Some(header.id_pa), id_broker_pa: Some(header.id_broker_pa), id_station: Some(header.id_station) }
    }
}

// === impl TransferType ===

impl fmt::Display for TransferType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Postal => "POSTAL",
            Self::Pagopa => "PAGOPA",
        })
    }
}
