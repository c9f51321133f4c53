//! The process.

use std::process::ExitCode;

use fiorino_front_office::service;
use fiorino_kit::process;

#[tokio::main]
async fn main() -> ExitCode {
    Box::pin(process::run("front-office", service::CONDITIONS, service::run)).await
}
