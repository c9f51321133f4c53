//! The process.

use std::process::ExitCode;

use fiorino_kit::process;
use fiorino_reporting::{CONDITIONS, MIGRATIONS, run};

#[tokio::main]
async fn main() -> ExitCode {
    Box::pin(process::run_on_schema("reporting", &MIGRATIONS, CONDITIONS, run)).await
}
