//! How a call is answered.

use std::time::Duration;

use tonic::{Code, Status};

/// What tenant does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Answer {
    /// It answers.
    #[default]
    AtOnce,
    /// It answers after this long.
    After(Duration),
    /// It does not answer.
    Never,
    /// It answers with an error.
    Fail(Code),
    /// The first call fails, the next ones do not.
    FailOnce(Code),
}

// === impl Answer ===

impl Answer {
    /// What the call that came has to expect.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let now = *self;
        if let Self::FailOnce(_) = now {
            *self = Self::AtOnce;
        }
        now
    }

    /// Lets the call wait or fail.
    ///
    /// # Errors
    /// The code that the script wants.
    pub async fn obey(self) -> Result<(), Status> {
        match self {
            Self::AtOnce => Ok(()),
            Self::After(delay) => {
                tokio::time::sleep(delay).await;
                Ok(())
            }
            Self::Never => std::future::pending().await,
            Self::Fail(code) | Self::FailOnce(code) => Err(Status::new(code, "as the script says")),
        }
    }
}
