//! The tolerant reader: bytes in, a request or the reason why there is none.

mod canon;
mod decode;
mod element;
mod envelope;
mod receipt;
mod request;
mod source;

use crate::{
    operation::{Operation, Version},
    receipt::ReceiptMessage,
    request::{PartialHeader, Request},
    rule::Violation,
};

use self::{element::Cursor, source::Source};

type Result<T, E = ReadError> = std::result::Result<T, E>;

/// What a message may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a message that is no receipt.
    pub request_bytes: usize,
    /// Bytes of a receipt: digital stamps travel in it.
    pub receipt_bytes: usize,
    /// Elements inside one another, the envelope counting one.
    pub depth: usize,
}

/// Why a message is refused. No variant repeats a value of the message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Over the limit: for receipts when the operation is not known, for requests when it is.
    #[error("the message has {bytes} bytes and at most {limit} are read")]
    TooLarge {
        /// What was asked, when it could be seen.
        operation: Option<Operation>,
        /// Its size.
        bytes: usize,
        /// The limit in force.
        limit: usize,
    },
    /// No well-formed XML, or XML that is refused.
    #[error("the message is no acceptable xml at byte {position}: {rule}")]
    NotXml {
        /// What is wrong.
        rule: XmlRule,
        /// Bytes from the begin of the text, after decoding to UTF-8.
        position: u64,
        /// What was asked and of whom, when the message was XML that far.
        asked: Option<Box<Asked>>,
    },
    /// XML, but no SOAP 1.1 message.
    #[error("the message is no soap 1.1 request: {rule}")]
    NotSoap {
        /// What is wrong.
        rule: SoapRule,
    },
    /// The body's element is none of paForNode's requests.
    #[error("unknown operation {name}")]
    UnknownOperation {
        /// Local name of the element, at most 64 characters.
        name: String,
    },
    /// A request that violates the XSD or a rule beside it; a receipt without one of its keys.
    #[error("{operation}: {violation}")]
    Schema {
        /// What was asked.
        operation: Operation,
        /// Whom it addresses, as far as known.
        header: Box<PartialHeader>,
        /// The first violation in the order of the message; missing elements count where their parent ends.
        violation: Violation,
    },
}

/// What is known of a message that breaks off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What was asked.
    pub operation: Operation,
    /// Whom it addresses, as far as known.
    pub header: PartialHeader,
}

/// What makes a text no XML that we read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum XmlRule {
    /// Neither UTF-8, ISO-8859-1 nor US-ASCII, or not what it declares.
    #[error("it must be encoded in utf-8, iso-8859-1 or us-ascii, as declared")]
    Encoding,
    /// A character that XML 1.0 excludes, such as a control character.
    #[error("it contains a character that xml 1.0 excludes")]
    Character,
    /// A document type declaration.
    #[error("a document type declaration is refused")]
    Doctype,
    /// An entity reference.
    #[error("only the entities lt, gt, amp, apos and quot and character references are read")]
    Entity,
    /// Too many elements inside one another.
    #[error("its elements are nested too deep")]
    Depth,
    /// A prefix without a namespace, or a reserved one.
    #[error("it uses a namespace prefix that is not declared")]
    Namespace,
    /// Attributes that are repeated or malformed.
    #[error("an element has malformed attributes")]
    Attribute,
    /// The message ends too early.
    #[error("it ends before its last element does")]
    Truncated,
    /// Anything else.
    #[error("it is malformed")]
    Syntax,
}

/// What makes XML no SOAP 1.1 request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SoapRule {
    /// The root is something else.
    #[error("its root is no soap envelope")]
    Envelope,
    /// SOAP 1.2.
    #[error("it is a soap 1.2 envelope")]
    Version,
    /// No body in the envelope.
    #[error("its envelope has no body")]
    Body,
    /// Nothing in the body.
    #[error("its body is empty")]
    Operation,
}

/// Reads a request of the node. Whether it is a receipt or anything else is seen from its element; `SOAPAction` does not count.
///
/// # Errors
/// See [`ReadError`]. A receipt is refused only when it is unreadable (ARCHITECTURE.md 4.4); other violations are its findings.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Request> {
    read_with_charset(bytes, None, limits)
}

/// As [`read`], where `charset` is the one of the `Content-Type`: it counts when the message neither begins with a byte order mark
/// nor declares its encoding.
///
/// # Errors
/// As [`read`].
pub fn read_with_charset(bytes: &[u8], charset: Option<&str>, limits: &Limits) -> Result<Request> {
    read_as(false, bytes, charset, limits)
}

/// Of a receipt its version, and a hash as [`ReceiptMessage::business_hash`] over what both versions of the message have: the same for
/// `paSendRT` and `paSendRTV2` of one payment. What is in one of them alone, and elements that the XSD does not know, does not count.
///
/// # Errors
/// As [`read`]; another operation is [`ReadError::UnknownOperation`].
pub fn shared_hash(bytes: &[u8], charset: Option<&str>, limits: &Limits) -> Result<(Version, [u8; 32])> {
    receipt_in(read_as(true, bytes, charset, limits)?).map(|message| (message.version, message.business_hash))
}

/// `shared`: the canonical form of a receipt covers what both versions of the message have.
fn read_as(shared: bool, bytes: &[u8], charset: Option<&str>, limits: &Limits) -> Result<Request> {
    let limit = limits.request_bytes.max(limits.receipt_bytes);
    if bytes.len() > limit {
        return Err(ReadError::TooLarge { operation: None, bytes: bytes.len(), limit });
    }
    let text = decode::decode(bytes, charset)?;
    let mut source = Source::new(&text, limits.depth);
    let operation = envelope::open(&mut source)?;
    let limit = if operation.is_receipt() { limits.receipt_bytes } else { limits.request_bytes };
    if bytes.len() > limit {
        return Err(ReadError::TooLarge { operation: Some(operation), bytes: bytes.len(), limit });
    }
    let mut cursor = if shared { Cursor::shared(source) } else { Cursor::new(source) };
    match operation {
        Operation::SendReceipt(version) => {
            receipt::read(&mut cursor, version).map(|message| Request::SendReceipt(Box::new(message)))
        }
        Operation::Verify => request::verify(&mut cursor),
        Operation::GetPayment(version) => request::get_payment(&mut cursor, version),
        Operation::Demand => request::demand(&mut cursor),
    }
}

/// What the first bytes of a message ask, if they tell: for limits that depend on it, before the whole message is there.
pub fn operation_of(prefix: &[u8], charset: Option<&str>, limits: &Limits) -> Option<Operation> {
    let text = decode::decode_prefix(prefix, charset)?;
    envelope::open(&mut Source::new(&text, limits.depth)).ok()
}

/// As [`read`], for a message that is known to be a receipt.
///
/// # Errors
/// As [`read`]; another operation is [`ReadError::UnknownOperation`].
pub fn read_receipt(bytes: &[u8], limits: &Limits) -> Result<ReceiptMessage> {
    receipt_in(read(bytes, limits)?)
}

fn receipt_in(request: Request) -> Result<ReceiptMessage> {
    match request {
        Request::SendReceipt(message) => Ok(*message),
        other => Err(ReadError::UnknownOperation { name: other.operation().request_element().to_owned() }),
    }
}

// === impl Limits ===

impl Default for Limits {
    /// 1 MiB, 4 MiB for receipts, 16 levels (pagopa.md 9.1).
    fn default() -> Self {
        Self { request_bytes: 1024 * 1024, receipt_bytes: 4 * 1024 * 1024, depth: 16 }
    }
}

// === impl ReadError ===

impl ReadError {
    /// What was asked, when it could be seen.
    pub fn operation(&self) -> Option<Operation> {
        match self {
            Self::TooLarge { operation, .. } => *operation,
            Self::Schema { operation, .. } => Some(*operation),
            Self::NotXml { asked, .. } => asked.as_ref().map(|asked| asked.operation),
            Self::NotSoap { .. } | Self::UnknownOperation { .. } => None,
        }
    }

    /// Whom it addressed, as far as known.
    pub fn header(&self) -> Option<&PartialHeader> {
        match self {
            Self::Schema { header, .. } => Some(header),
            Self::NotXml { asked, .. } => asked.as_ref().map(|asked| &asked.header),
            Self::TooLarge { .. } | Self::NotSoap { .. } | Self::UnknownOperation { .. } => None,
        }
    }

    /// Notes what was known when the message broke off.
    fn asked(self, operation: Operation, header: &PartialHeader) -> Self {
        match self {
            Self::NotXml { rule, position, asked: None } => {
                let asked = Some(Box::new(Asked { operation, header: header.clone() }));
                Self::NotXml { rule, position, asked }
            }
            other => other,
        }
    }
}
