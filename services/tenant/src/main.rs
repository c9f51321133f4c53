//! The process.

use std::process::ExitCode;

use fiorino_kit::process;
use fiorino_tenant::service;

#[tokio::main]
async fn main() -> ExitCode {
    Box::pin(process::run("tenant", service::CONDITIONS, service::run)).await
}
