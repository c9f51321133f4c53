//! The six operations of paForNode.wsdl and how their elements are called.

use std::fmt;

/// Namespace of the request and response elements; their children are in none.
pub(crate) const NAMESPACE: &str = "http://pagopa-api.pagopa.gov.it/pa/paForNode.xsd";

/// Which of the twin primitives: a station's "versione primitive" chooses (pagopa.md 1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// `paGetPayment`, `paSendRT`.
    V1,
    /// `paGetPaymentV2`, `paSendRTV2`.
    V2,
}

/// What the node asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `paVerifyPaymentNotice`: is this notice payable, and how much?
    Verify,
    /// `paGetPayment` and `paGetPaymentV2`: the payment, with its transfers.
    GetPayment(Version),
    /// `paSendRT` and `paSendRTV2`: a receipt.
    SendReceipt(Version),
    /// `paDemandPaymentNotice`: a notice for a spontaneous payment at the PSP.
    Demand,
}

// === impl Operation ===

impl Operation {
    /// All, in the order of the WSDL.
    pub const ALL: [Self; 6] = [
        Self::Demand,
        Self::Verify,
        Self::GetPayment(Version::V1),
        Self::GetPayment(Version::V2),
        Self::SendReceipt(Version::V1),
        Self::SendReceipt(Version::V2),
    ];

    /// The name in the WSDL, which is also the `SOAPAction`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Verify => "paVerifyPaymentNotice",
            Self::GetPayment(Version::V1) => "paGetPayment",
            Self::GetPayment(Version::V2) => "paGetPaymentV2",
            Self::SendReceipt(Version::V1) => "paSendRT",
            Self::SendReceipt(Version::V2) => "paSendRTV2",
            Self::Demand => "paDemandPaymentNotice",
        }
    }

    /// Local name of the element in the request's body. The suffixes differ from one operation to the other.
    pub const fn request_element(self) -> &'static str {
        match self {
            Self::Verify => "paVerifyPaymentNoticeReq",
            Self::GetPayment(Version::V1) => "paGetPaymentReq",
            Self::GetPayment(Version::V2) => "paGetPaymentV2Request",
            Self::SendReceipt(Version::V1) => "paSendRTReq",
            Self::SendReceipt(Version::V2) => "paSendRTV2Request",
            Self::Demand => "paDemandPaymentNoticeRequest",
        }
    }

    /// Local name of the element in the response's body.
    pub const fn response_element(self) -> &'static str {
        match self {
            Self::Verify => "paVerifyPaymentNoticeRes",
            Self::GetPayment(Version::V1) => "paGetPaymentRes",
            Self::GetPayment(Version::V2) => "paGetPaymentV2Response",
            Self::SendReceipt(Version::V1) => "paSendRTRes",
            Self::SendReceipt(Version::V2) => "paSendRTV2Response",
            Self::Demand => "paDemandPaymentNoticeResponse",
        }
    }

    /// The operation whose request element has this local name.
    pub fn of_request_element(local_name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.request_element() == local_name)
    }

    /// Whether it brings a receipt.
    pub const fn is_receipt(self) -> bool {
        matches!(self, Self::SendReceipt(_))
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
