//! Answers of the front: what the node gets, and what is counted.

use axum::{body::Body, response::Response};
use fiorino_wire::{self as wire, Fault, Operation, ReadError, SoapFault};
use http::{HeaderValue, StatusCode, header};

use super::body;
use crate::refused::Refused;

/// Operation of a message in which none was seen.
pub(super) const UNKNOWN: &str = "unknown";
/// Seconds after which a receipt may come again.
const RETRY_AFTER: &str = "5";

/// An answer, and how it is counted.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    body: String,
    pub(super) op: &'static str,
    pub(super) outcome: Outcome,
    /// `faultCode`, or the class of a SOAP fault; empty when OK.
    pub(super) fault: &'static str,
    /// Institution addressed, when known.
    pub(super) institution: String,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Ok,
    Ko,
    /// A SOAP fault.
    Fault,
}

// === impl Outcome ===

impl Outcome {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Ko => "KO",
            Self::Fault => "FAULT",
        }
    }
}

// === impl Answer ===

impl Answer {
    pub(super) fn ok(operation: Operation, institution: &str, body: String) -> Self {
        Self {
            status: StatusCode::OK,
            body,
            op: operation.name(),
            outcome: Outcome::Ok,
            fault: "",
            institution: institution.to_owned(),
        }
    }

    /// KO in the response element of the operation; the institution addressed raises it.
    pub(super) fn ko(operation: Operation, institution: &str, refused: Refused) -> Self {
        let fault = Fault::new(refused.code, institution);
        let fault = match refused.description {
            Some(description) => fault.describe(description),
            None => fault,
        };
        Self::fault(operation, &fault)
    }

    /// As [`Answer::ko`], of a fault that is complete.
    pub(super) fn fault(operation: Operation, fault: &Fault) -> Self {
        match wire::write_fault(operation, fault) {
            Ok(body) => Self {
                status: StatusCode::OK,
                body,
                op: operation.name(),
                outcome: Outcome::Ko,
                fault: fault.code.as_str(),
                institution: fault.id.clone(),
            },
            Err(violation) => {
                tracing::error!(op = operation.name(), fault = %fault.code, violation = %violation, "a fault was refused by the writer");
                let fault = SoapFault::server("the answer could not be written", "try again");
                Self::soap(StatusCode::INTERNAL_SERVER_ERROR, operation.name(), &fault)
            }
        }
    }

    /// The message cannot be read.
    pub(super) fn unreadable(operation: Option<Operation>, error: &ReadError) -> Self {
        let op = operation.map_or(UNKNOWN, Operation::name);
        Self::soap(StatusCode::INTERNAL_SERVER_ERROR, op, &SoapFault::from(error))
    }

    /// 503: the node comes again.
    pub(super) fn later(op: &'static str, reason: &str) -> Self {
        Self::soap(StatusCode::SERVICE_UNAVAILABLE, op, &SoapFault::server(reason, "send the message again"))
    }

    /// The caller's mistake, before any operation was seen.
    pub(super) fn client_fault(status: StatusCode, reason: &str, rule: &str) -> Self {
        Self::soap(status, UNKNOWN, &SoapFault::client(reason, rule))
    }

    /// Nobody is called at this path.
    pub(super) fn nothing_there() -> Self {
        let rule = "stations are called at /node/v1/{stationId}: correct the station's URL";
        Self::client_fault(StatusCode::NOT_FOUND, "there is nothing at this path", rule)
    }

    /// A station is called otherwise.
    pub(super) fn not_by_this_method() -> Self {
        let rule = "stations are called with POST";
        Self::client_fault(StatusCode::METHOD_NOT_ALLOWED, "the method is not allowed", rule)
    }

    /// The body was not taken.
    pub(super) fn body_fault(error: body::Error) -> Self {
        let rule = error.to_string();
        let reason = "the body was not taken";
        match error {
            body::Error::TooLong { .. } => Self::client_fault(StatusCode::PAYLOAD_TOO_LARGE, reason, &rule),
            body::Error::TooSlow { .. } => Self::client_fault(StatusCode::REQUEST_TIMEOUT, reason, &rule),
            body::Error::Broken => Self::client_fault(StatusCode::BAD_REQUEST, reason, &rule),
            body::Error::Overloaded => Self::later(UNKNOWN, &rule),
        }
    }

    fn soap(status: StatusCode, op: &'static str, fault: &SoapFault) -> Self {
        Self {
            status,
            body: wire::write_soap_fault(fault),
            op,
            outcome: Outcome::Fault,
            fault: fault.code.as_str(),
            institution: String::new(),
        }
    }

    pub(super) fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/xml; charset=utf-8"));
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
            }
            StatusCode::METHOD_NOT_ALLOWED => {
                headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
            }
            // Where the request ends is in doubt: nothing that follows is taken for another one.
            StatusCode::BAD_REQUEST => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}
