//! The process, and what a person calls once.

use std::process::ExitCode;

use fiorino_kit::process;
use fiorino_tenant::{restore, service};

#[tokio::main]
async fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|command| command == "restore-check") {
        return Box::pin(restore::check::main()).await;
    }
    Box::pin(process::run("tenant", service::CONDITIONS, service::run)).await
}
