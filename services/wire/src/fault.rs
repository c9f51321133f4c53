//! Faults: those of the catalogue, which travel in a regular answer, and SOAP faults, which the node counts as a broken answer.

use std::fmt;

use crate::{operation::Operation, read::ReadError, request::PartialHeader};

/// The codes that an institution answers today (pagopa.md 2.10); the legacy ones of RPT do not exist here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultCode {
    /// A rule that the XSD does not express.
    SintassiExtraXsd,
    /// The XSD.
    SintassiXsd,
    /// Institution unknown or closed here, or not the one of the notice.
    IdDominioErrato,
    /// Not our broker.
    IdIntermediarioErrato,
    /// Station unknown, or not associated with the institution.
    StazioneIntErrata,
    /// No such notice, or a draft.
    PagamentoSconosciuto,
    /// Paid.
    PagamentoDuplicato,
    /// In the hands of an exclusive process of the institution.
    PagamentoInCorso,
    /// Cancelled or superseded.
    PagamentoAnnullato,
    /// No longer payable, by the institution's decision.
    PagamentoScaduto,
    /// Any other meaning that is wrong.
    Semantica,
    /// A receipt that is already here.
    ReceiptDuplicata,
    /// Ours.
    SystemError,
}

/// A fault of the catalogue (`ctFaultBean`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub code: FaultCode,
    /// Who says so: the institution's fiscal code, as addressed.
    pub id: String,
    /// For a person at the node's or the PSP's: no personal data. The first 1024 characters are written.
    pub description: String,
}

/// A SOAP 1.1 fault: what cannot be answered in the response element of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoapFault {
    /// Whose mistake it is.
    pub code: SoapFaultCode,
    /// One sentence.
    pub reason: String,
    /// The rule that was broken, for the fault's detail.
    pub rule: String,
}

/// The classes of SOAP 1.1 faults in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SoapFaultCode {
    /// The message: sending it again will not help.
    Client,
    /// We: sending it again may help.
    Server,
}

// === impl FaultCode ===

impl FaultCode {
    /// All, in the order of the catalogue.
    pub const ALL: [Self; 13] = [
        Self::SintassiExtraXsd,
        Self::SintassiXsd,
        Self::IdDominioErrato,
        Self::IdIntermediarioErrato,
        Self::StazioneIntErrata,
        Self::PagamentoSconosciuto,
        Self::PagamentoDuplicato,
        Self::PagamentoInCorso,
        Self::PagamentoAnnullato,
        Self::PagamentoScaduto,
        Self::Semantica,
        Self::ReceiptDuplicata,
        Self::SystemError,
    ];

    /// `faultCode`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SintassiExtraXsd => "PAA_SINTASSI_EXTRAXSD",
            Self::SintassiXsd => "PAA_SINTASSI_XSD",
            Self::IdDominioErrato => "PAA_ID_DOMINIO_ERRATO",
            Self::IdIntermediarioErrato => "PAA_ID_INTERMEDIARIO_ERRATO",
            Self::StazioneIntErrata => "PAA_STAZIONE_INT_ERRATA",
            Self::PagamentoSconosciuto => "PAA_PAGAMENTO_SCONOSCIUTO",
            Self::PagamentoDuplicato => "PAA_PAGAMENTO_DUPLICATO",
            Self::PagamentoInCorso => "PAA_PAGAMENTO_IN_CORSO",
            Self::PagamentoAnnullato => "PAA_PAGAMENTO_ANNULLATO",
            Self::PagamentoScaduto => "PAA_PAGAMENTO_SCADUTO",
            Self::Semantica => "PAA_SEMANTICA",
            Self::ReceiptDuplicata => "PAA_RECEIPT_DUPLICATA",
            Self::SystemError => "PAA_SYSTEM_ERROR",
        }
    }

    /// `faultString`: the official text; for `PAA_RECEIPT_DUPLICATA`, which has none, that of pagopa.md 10, row 15.
    pub const fn fault_string(self) -> &'static str {
        match self {
            Self::SintassiExtraXsd => "Errore di sintassi extra XSD",
            Self::SintassiXsd => "Errore di sintassi XSD",
            Self::IdDominioErrato => "La PAA non corrisponde al Dominio indicato",
            Self::IdIntermediarioErrato => "Identificativo intermediario non corrispondente",
            Self::StazioneIntErrata => "Stazione intermediario non corrispondente",
            Self::PagamentoSconosciuto => "Pagamento in attesa risulta sconosciuto all’Ente Creditore",
            Self::PagamentoDuplicato => "Pagamento in attesa risulta concluso all’Ente Creditore",
            Self::PagamentoInCorso => "Pagamento in attesa risulta in corso all’Ente Creditore",
            Self::PagamentoAnnullato => "Pagamento in attesa risulta annullato all’Ente Creditore",
            Self::PagamentoScaduto => "Pagamento in attesa risulta scaduto all’Ente Creditore",
            Self::Semantica => "Errore semantico",
            Self::ReceiptDuplicata => "Ricevuta già acquisita",
            Self::SystemError => "Errore generico",
        }
    }

    /// Whether the operation may answer it: the matrix of pagopa.md 2.10, but for receipts, where KO means an equal repetition or
    /// something that was never ours (ARCHITECTURE.md 4.4).
    pub const fn answers(self, operation: Operation) -> bool {
        match (self, operation) {
            (Self::IdDominioErrato | Self::IdIntermediarioErrato | Self::StazioneIntErrata, _)
            | (Self::ReceiptDuplicata, Operation::SendReceipt(_)) => true,
            (_, Operation::SendReceipt(_)) | (Self::ReceiptDuplicata, _) => false,
            _ => true,
        }
    }
}

impl fmt::Display for FaultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Fault ===

impl Fault {
    /// `id` when nothing of the addressee is known: a text that is no fiscal code, but not an empty element.
    pub const ID_UNKNOWN: &str = "-";

    /// A fault with the official text as description.
    pub fn new(code: FaultCode, id: impl Into<String>) -> Self {
        Self { code, id: id.into(), description: code.fault_string().to_owned() }
    }

    /// The same with another description.
    #[must_use]
    pub fn describe(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// The fault with which a request is answered that violates the XSD or a rule beside it, or breaks off; `None` when the message
    /// cannot be answered in a response element, and for receipts, which are never refused for it: a [`SoapFault`] is due then.
    pub fn of(error: &ReadError) -> Option<(Operation, Self)> {
        let operation = error.operation().filter(|operation| !operation.is_receipt())?;
        let (code, description) = match error {
            ReadError::Schema { violation, .. } => (violation.rule.fault_code(), violation.to_string()),
            ReadError::NotXml { rule, .. } => (FaultCode::SintassiXsd, rule.to_string()),
            ReadError::TooLarge { .. } => (FaultCode::SintassiExtraXsd, error.to_string()),
            ReadError::NotSoap { .. } | ReadError::UnknownOperation { .. } => return None,
        };
        let id = error.header().map_or(Self::ID_UNKNOWN, PartialHeader::fault_id);
        Some((operation, Self::new(code, id).describe(description)))
    }
}

impl PartialHeader {
    /// Who raises a fault: the addressed institution, else its broker, else its station.
    pub fn fault_id(&self) -> &str {
        [&self.id_pa, &self.id_broker_pa, &self.id_station]
            .into_iter()
            .flatten()
            .next()
            .map_or(Fault::ID_UNKNOWN, String::as_str)
    }
}

// === impl SoapFault ===

impl SoapFault {
    /// A fault of ours, such as a database that is away.
    pub fn server(reason: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { code: SoapFaultCode::Server, reason: reason.into(), rule: rule.into() }
    }

    /// A fault of the message.
    pub fn client(reason: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { code: SoapFaultCode::Client, reason: reason.into(), rule: rule.into() }
    }
}

impl From<&ReadError> for SoapFault {
    fn from(error: &ReadError) -> Self {
        Self::client("the message cannot be read", error.to_string())
    }
}

impl SoapFaultCode {
    /// The qualified name's local part.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "Client",
            Self::Server => "Server",
        }
    }
}
