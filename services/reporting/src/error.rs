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
    /// What the request names does not exist: `NOT_FOUND` with a field violation.
    #[error("{message}")]
    NotFound {
        /// Field that names it.
        field: &'static str,
        /// What was not found.
        message: &'static str,
    },
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
            Self::NotFound { .. } => Code::NotFound,
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
            Error::NotFound { field, message } => details.add_bad_request_violation(field, message),
            Error::Store(source) => {
                // The driver's text stays here: it may show values of a row.
                tracing::error!(error = &source as &dyn std::error::Error, %code, "database failed");
                return Self::new(code, text);
            }
        };
        Self::with_error_details(code, text, details)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_rule_is_told_with_its_field() {
        let status = Status::from(Error::invalid("page_size", "at most 500"));
        assert_eq!(
            (status.code(), status.message()),
            (Code::InvalidArgument, "invalid request: page_size: at most 500")
        );
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!((violations[0].field.as_str(), violations[0].description.as_str()), ("page_size", "at most 500"));
    }

    #[test]
    fn the_driver_s_text_is_not_told() {
        let status = Status::from(Error::Store(sqlx::Error::Protocol("row of RSSMRA80A01H501U".to_owned())));
        assert!(!status.message().contains("RSSMRA"));
    }
}
