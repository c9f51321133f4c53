//! The process.

use std::process::ExitCode;

use fiorino_kit::process;
use fiorino_reporting::{CONDITIONS, run};

#[tokio::main]
async fn main() -> ExitCode {
    Box::pin(process::run("reporting", CONDITIONS, run)).await
}
