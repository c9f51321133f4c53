//! The process, and what a person calls once.

use std::process::ExitCode;

use fiorino_kit::process;
use fiorino_tenant::{admin, restore, service};

#[tokio::main]
async fn main() -> ExitCode {
    if admin::is_asked() {
        return admin::run().await;
    }
    if std::env::args_os().nth(1).is_some_and(|command| command == "restore-check") {
        return Box::pin(restore::check::main()).await;
    }
    Box::pin(process::run("tenant", service::CONDITIONS, service::run)).await
}
