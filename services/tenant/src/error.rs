//! Why a call cannot be answered, and the one place where that becomes a gRPC status.

use fiorino_kit::store;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// What every fallible function of this crate answers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One broken rule: where, what and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field in the request, e.g. `institution.spec.fiscal_code`.
    pub field: String,
    /// The rule and the remedy; no personal data.
    pub message: String,
}

/// Why a call cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request breaks rules: `INVALID_ARGUMENT` with field violations.
    #[error("invalid request: {}", summary(.0))]
    Invalid(Vec<Violation>),
    /// What the request names does not exist: `NOT_FOUND` with a field violation.
    #[error("{message}")]
    NotFound {
        /// Field that names it.
        field: &'static str,
        /// What was not found.
        message: String,
    },
    /// Another one holds the key: `ALREADY_EXISTS` with a field violation.
    #[error("{}", .0.message)]
    AlreadyExists(Violation),
    /// The state of things does not allow it: `FAILED_PRECONDITION` with field violations.
    #[error("{}", summary(.0))]
    Precondition(Vec<Violation>),
    /// The caller's stream was replaced by a newer one: `ABORTED`.
    #[error("{0}")]
    Superseded(String),
    /// More is asked than can be done in time: `RESOURCE_EXHAUSTED`.
    #[error("too many requests at present, try again later")]
    Overloaded,
    /// Too many events wait for Kafka: `RESOURCE_EXHAUSTED`.
    #[error(
        "{most} events or more wait for Kafka; wait until they have left, then call again with the same page_token"
    )]
    Backlog {
        /// How many may wait.
        most: i64,
    },
    /// The work broke off and may or may not have been done: `UNAVAILABLE`, as every call is idempotent.
    #[error("the work broke off, try it again: a repetition is safe")]
    Interrupted,
    /// The database may be a restored one, and gives out no number: `UNAVAILABLE`, until a person has ended it.
    #[error(
        "no notice number is issued: the database may be a restored one; try again when `fiorino-tenant restore-check` has ended"
    )]
    Restored,
    /// The database failed: `UNAVAILABLE` when trying again can help, else `INTERNAL`.
    #[error("failed to use the database")]
    Store {
        /// What the driver says.
        #[from]
        source: sqlx::Error,
    },
}

// === impl Violation ===

impl Violation {
    /// A violation of `field`.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

// === impl Error ===

impl Error {
    /// One broken rule of a request.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![Violation::new(field, message)])
    }

    /// One fact that stands against the request.
    pub fn precondition(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Precondition(vec![Violation::new(field, message)])
    }

    /// The database is away or has no room: whatever else is tried fails as well.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Store { source } if store::away(source))
    }

    /// The gRPC code that this error is answered with.
    pub fn code(&self) -> Code {
        match self {
            Self::Invalid(_) => Code::InvalidArgument,
            Self::NotFound { .. } => Code::NotFound,
            Self::AlreadyExists(_) => Code::AlreadyExists,
            Self::Precondition(_) => Code::FailedPrecondition,
            Self::Superseded(_) => Code::Aborted,
            Self::Overloaded | Self::Backlog { .. } => Code::ResourceExhausted,
            Self::Interrupted | Self::Restored => Code::Unavailable,
            Self::Store { source } if store::transient(source) => Code::Unavailable,
            Self::Store { .. } => Code::Internal,
        }
    }

    /// Field and message for an outcome that has room for one.
    pub fn first_violation(&self) -> (String, String) {
        let first = self.violations().into_iter().next();
        first.map_or_else(|| (String::new(), self.to_string()), |violation| (violation.field, violation.message))
    }

    fn violations(&self) -> Vec<Violation> {
        match self {
            Self::Invalid(violations) | Self::Precondition(violations) => violations.clone(),
            Self::AlreadyExists(violation) => vec![violation.clone()],
            Self::NotFound { field, message } => vec![Violation::new(*field, message.clone())],
            Self::Superseded(_)
            | Self::Overloaded
            | Self::Backlog { .. }
            | Self::Interrupted
            | Self::Restored
            | Self::Store { .. } => Vec::new(),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        if let Error::Store { source } = &error {
            // Told to the log alone, and there without the driver's text: it may show values of the row.
            tracing::error!(error = source as &dyn std::error::Error, code = %error.code(), "database failed");
        }
        let violations = error.violations();
        if violations.is_empty() {
            return Self::new(error.code(), error.to_string());
        }
        let mut details = ErrorDetails::new();
        for Violation { field, message } in violations {
            details.add_bad_request_violation(field, message);
        }
        Self::with_error_details(error.code(), error.to_string(), details)
    }
}

fn summary(violations: &[Violation]) -> String {
    violations.iter().map(|v| format!("{}: {}", v.field, v.message)).collect::<Vec<_>>().join("; ")
}
