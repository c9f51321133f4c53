//! Why a call cannot be answered, and the one place where that becomes a gRPC status.

use fiorino_kit::store;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// What every call answers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field of the request breaks its rule: `INVALID_ARGUMENT` with a field violation.
    #[error("invalid request: {field}: {rule}")]
    Invalid {
        /// Name of the field.
        field: &'static str,
        /// The rule and the remedy.
        rule: String,
    },
    /// There is no such case here: `NOT_FOUND` with a field violation.
    #[error("case_id: there is no such case in this service; take it from ListCases")]
    NotFound,
    /// The case is resolved, and what was asked needs an open one: `FAILED_PRECONDITION` with a field violation.
    #[error("case_id: the case is resolved; it opens again by itself when its finding comes again")]
    Resolved,
    /// The database failed: `UNAVAILABLE` when trying again can help, else `INTERNAL`.
    #[error("failed to use the database")]
    Store(#[from] sqlx::Error),
}

// === impl Error ===

impl Error {
    /// A field that breaks its rule.
    pub fn invalid(field: &'static str, rule: impl Into<String>) -> Self {
        Self::Invalid { field, rule: rule.into() }
    }

    /// The gRPC code that this error is answered with.
    pub fn code(&self) -> Code {
        match self {
            Self::Invalid { .. } => Code::InvalidArgument,
            Self::NotFound => Code::NotFound,
            Self::Resolved => Code::FailedPrecondition,
            Self::Store(source) if store::transient(source) => Code::Unavailable,
            Self::Store(_) => Code::Internal,
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let (code, text) = (error.code(), error.to_string());
        let mut details = ErrorDetails::new();
        match error {
            Error::Invalid { field, rule } => details.add_bad_request_violation(field, rule),
            Error::NotFound | Error::Resolved => details.add_bad_request_violation("case_id", text.clone()),
            Error::Store(source) => {
                // The driver's text stays here: it may show values of a row.
                tracing::error!(error = &source as &dyn std::error::Error, %code, "database failed");
                return Self::new(code, text);
            }
        };
        Self::with_error_details(code, text, details)
    }
}
