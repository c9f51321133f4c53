//! Errors as one line of text.

use std::{error::Error, iter};

/// The error and its causes, `: ` between them: for logs and for messages to other parts. Errors of this workspace never repeat their
/// cause in their own text.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
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
