//! Steps with their times, as printed and as reported.

use anyhow::Result;

use crate::report::Step;
use crate::say;

/// What was done so far.
#[derive(Debug, Default)]
pub(crate) struct Steps(Vec<Step>);

// === impl Steps ===

impl Steps {
    /// Does a step and keeps its time.
    pub(crate) async fn run<T>(&mut self, name: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        let (value, took) = say::timed(name, work).await?;
        self.0.push(Step::new(name, took));
        Ok(value)
    }

    /// All of them.
    pub(crate) fn done(self) -> Vec<Step> {
        self.0
    }
}
