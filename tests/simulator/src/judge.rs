//! Judges the raw bytes of a station's answer as the node does: whatever it refuses becomes
//! `PPT_STAZIONE_INT_PA_ERRORE_RESPONSE` for the citizen, so every rule that is broken is named.
//!
//! ```text
//! bytes -> [tree] XML, SOAP 1.1 -> [schema] paForNode.xsd -> [semantics] rules beyond the XSD -> verdict
//! ```
//! Rules: paForNode.xsd and common types (written down here anew, not read from a file), SANP 3.12.0 and the refusals that
//! PagoPA's own tests of the node expect.

pub mod facets;
pub mod schema;
pub mod semantics;
pub mod tree;

use serde::Serialize;

use crate::judge::tree::Element;

/// The operations of a station that the node calls here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Operation {
    /// `paVerifyPaymentNotice`
    Verify,
    /// `paGetPayment`
    GetPayment,
    /// `paGetPaymentV2`
    GetPaymentV2,
    /// `paSendRT`
    SendRt,
    /// `paSendRTV2`
    SendRtV2,
}

/// A rule that an answer broke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Stable name of the rule.
    pub rule: &'static str,
    /// Where: element path inside the body.
    pub path: String,
    /// What was found, without the values of personal fields.
    pub message: String,
}

/// A fault as the station told it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StationFault {
    /// `PAA_*`
    pub code: String,
    /// Its official text.
    pub string: String,
    /// Who raised it.
    pub id: String,
    /// Free text.
    pub description: Option<String>,
}

/// What an answer says, if the node can use it.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// outcome OK, with the answer's element.
    Ok(Element),
    /// outcome KO.
    Ko(StationFault),
    /// Malformed: the rules it broke, at least one.
    Refused(Vec<Violation>),
}

// === impl Operation ===

impl Operation {
    /// Value of `SOAPAction`.
    pub const fn soap_action(self) -> &'static str {
        match self {
            Self::Verify => "paVerifyPaymentNotice",
            Self::GetPayment => "paGetPayment",
            Self::GetPaymentV2 => "paGetPaymentV2",
            Self::SendRt => "paSendRT",
            Self::SendRtV2 => "paSendRTV2",
        }
    }

    /// Local name of the request's body element; the suffixes differ between versions.
    pub const fn request_element(self) -> &'static str {
        match self {
            Self::Verify => "paVerifyPaymentNoticeReq",
            Self::GetPayment => "paGetPaymentReq",
            Self::GetPaymentV2 => "paGetPaymentV2Request",
            Self::SendRt => "paSendRTReq",
            Self::SendRtV2 => "paSendRTV2Request",
        }
    }

    /// Local name of the answer's body element.
    pub const fn response_element(self) -> &'static str {
        match self {
            Self::Verify => "paVerifyPaymentNoticeRes",
            Self::GetPayment => "paGetPaymentRes",
            Self::GetPaymentV2 => "paGetPaymentV2Response",
            Self::SendRt => "paSendRTRes",
            Self::SendRtV2 => "paSendRTV2Response",
        }
    }
}

// === impl Violation ===

impl Violation {
    /// A violation of `rule` at `path`.
    pub fn new(rule: &'static str, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { rule, path: path.into(), message: message.into() }
    }
}

/// Judges an HTTP answer to `operation`.
pub fn judge(operation: Operation, status: u16, content_type: Option<&str>, body: &[u8]) -> Verdict {
    let mut violations = transport(status, content_type);
    if !violations.is_empty() {
        return Verdict::Refused(violations);
    }
    let answer = match tree::parse(body).and_then(|envelope| soap_body(&envelope, operation)) {
        Ok(answer) => answer,
        Err(violation) => return Verdict::Refused(vec![violation]),
    };
    schema::check(operation, &answer, &mut violations);
    if violations.is_empty() {
        semantics::check(operation, &answer, &mut violations);
    }
    if !violations.is_empty() {
        return Verdict::Refused(violations);
    }
    match answer.text_of("outcome") {
        Some("OK") => Verdict::Ok(answer),
        _ => Verdict::Ko(station_fault(&answer)),
    }
}

fn transport(status: u16, content_type: Option<&str>) -> Vec<Violation> {
    let mut violations = Vec::new();
    if status != 200 {
        violations.push(Violation::new("http-status", "", format!("status is {status}, must be 200")));
    }
    let mut parts = content_type.unwrap_or_default().split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    if !media_type.eq_ignore_ascii_case("text/xml") {
        violations.push(Violation::new("content-type", "", format!("is {media_type:?}, must be text/xml")));
    }
    let parameters = parts.filter_map(|part| part.split_once('='));
    let charset = parameters.filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset")).map(|(_, value)| value);
    for charset in charset.map(|value| value.trim().trim_matches('"')) {
        if !charset.eq_ignore_ascii_case("utf-8") {
            violations.push(Violation::new("content-charset", "", format!("is {charset:?}, must be utf-8")));
        }
    }
    violations
}

fn soap_body(envelope: &Element, operation: Operation) -> Result<Element, Violation> {
    let soap = Some(tree::SOAP_NS);
    if envelope.name != "Envelope" || envelope.namespace.as_deref() != soap {
        return Err(Violation::new("soap-envelope", "", "root is not a SOAP 1.1 Envelope"));
    }
    let bodies: Vec<_> =
        envelope.children.iter().filter(|c| c.name == "Body" && c.namespace.as_deref() == soap).collect();
    let [body] = bodies.as_slice() else {
        return Err(Violation::new("soap-body", "Envelope", "there must be exactly one Body"));
    };
    let [answer] = body.children.as_slice() else {
        return Err(Violation::new("soap-body", "Envelope/Body", "there must be exactly one element"));
    };
    if answer.name == "Fault" && answer.namespace.as_deref() == soap {
        return Err(Violation::new("soap-fault", "Envelope/Body", "a SOAP Fault is a malformed answer for the node"));
    }
    if answer.name != operation.response_element() || answer.namespace.as_deref() != Some(tree::PA_NS) {
        let message = format!("found {}, expected {}", answer.name, operation.response_element());
        return Err(Violation::new("body-element", "Envelope/Body", message));
    }
    Ok(answer.clone())
}

fn station_fault(answer: &Element) -> StationFault {
    let fault = answer.child("fault");
    let text = |name: &str| fault.and_then(|f| f.text_of(name)).map(str::to_owned);
    StationFault {
        code: text("faultCode").unwrap_or_default(),
        string: text("faultString").unwrap_or_default(),
        id: text("id").unwrap_or_default(),
        description: text("description"),
    }
}
