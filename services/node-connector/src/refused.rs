//! Why a call is answered KO.

use fiorino_proto::notices::v1::Refusal;
use fiorino_wire::FaultCode;

use crate::addressee::Stranger;

/// A KO: the fault, and what a person at the node's or the PSP's can do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) code: FaultCode,
    /// `None`: the official text says it all.
    pub(crate) description: Option<String>,
}

// === impl Refused ===

impl Refused {
    pub(crate) const fn new(code: FaultCode) -> Self {
        Self { code, description: None }
    }

    pub(crate) fn because(code: FaultCode, description: impl Into<String>) -> Self {
        Self { code, description: Some(description.into()) }
    }

    /// Ours: the node may try again.
    pub(crate) const fn system_error() -> Self {
        Self::new(FaultCode::SystemError)
    }

    /// Broker, station or institution is not ours (pagopa.md 2.10).
    pub(crate) fn stranger(stranger: Stranger) -> Self {
        match stranger {
            Stranger::Broker => {
                Self::because(FaultCode::IdIntermediarioErrato, "idBrokerPA is not a broker served here")
            }
            Stranger::Station => Self::because(FaultCode::StazioneIntErrata, "idStation is not a station served here"),
            Stranger::Institution => {
                Self::because(FaultCode::IdDominioErrato, "idPA is not an institution served here")
            }
        }
    }

    /// Tenant's reason; `None` for one that this version does not know.
    pub(crate) fn by_tenant(refusal: Refusal) -> Option<Self> {
        let code = match refusal {
            Refusal::Unspecified => return None,
            Refusal::Unknown => FaultCode::PagamentoSconosciuto,
            Refusal::Paid => FaultCode::PagamentoDuplicato,
            Refusal::Cancelled => FaultCode::PagamentoAnnullato,
            Refusal::Expired => FaultCode::PagamentoScaduto,
            Refusal::Institution => FaultCode::IdDominioErrato,
            Refusal::Station => FaultCode::StazioneIntErrata,
            Refusal::NoAccount => FaultCode::SystemError,
        };
        Some(Self::new(code))
    }
}
