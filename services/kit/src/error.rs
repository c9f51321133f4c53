//! Errors as one line of text.

use std::error::Error;

use sqlx::error::DatabaseError;

/// SQLSTATE classes whose text may quote values: data exceptions, constraints, errors that functions raise.
const QUOTING: [&str; 3] = ["22", "23", "P0"];

/// The error and its causes, `: ` between them: for logs and for messages to other parts. Errors of this workspace never repeat their
/// cause in their own text.
///
/// Of what a database refused only code and names are told: its text, and the detail behind it, quote rows with personal data
/// (ARCHITECTURE.md 6.4).
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut texts = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(sqlx::Error::Database(refusal)) = error.downcast_ref() {
            texts.push(told(refusal.as_ref()));
            break;
        }
        texts.push(error.to_string());
        next = error.source();
    }
    texts.join(": ")
}

fn told(refusal: &dyn DatabaseError) -> String {
    let code = refusal.code().unwrap_or_default();
    let mut text = format!("the database answered {code}");
    if let Some(constraint) = refusal.constraint() {
        text = format!("{text}, constraint {constraint}");
    }
    if QUOTING.iter().any(|class| code.starts_with(class)) { text } else { format!("{text}, {}", refusal.message()) }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("failed to {what}")]
    struct Failed {
        what: &'static str,
        source: Box<dyn Error>,
    }

    #[test]
    fn every_cause_is_told_once() {
        let inner = Failed { what: "read", source: Box::new(io::Error::other("disk is gone")) };
        let outer = Failed { what: "start", source: Box::new(inner) };
        assert_eq!(chain(&outer), "failed to start: failed to read: disk is gone");
    }
}
