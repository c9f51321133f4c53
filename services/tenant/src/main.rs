//! The process.

use std::process::ExitCode;

use fiorino_kit::process;
use fiorino_tenant::{admin, service};

#[tokio::main]
async fn main() -> ExitCode {
    if admin::is_asked() {
        return admin::run().await;
    }
    Box::pin(process::run("tenant", service::CONDITIONS, service::run)).await
}
