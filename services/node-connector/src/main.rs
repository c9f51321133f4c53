//! The process.

use std::process::ExitCode;

use fiorino_kit::process;
use fiorino_node_connector::service;

#[tokio::main]
async fn main() -> ExitCode {
    Box::pin(process::run("node-connector", service::CONDITIONS, service::run)).await
}
