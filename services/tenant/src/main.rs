//! The process.

use std::process::ExitCode;

use fiorino_kit::process;
use fiorino_tenant::{MIGRATIONS, service};

#[tokio::main]
async fn main() -> ExitCode {
    Box::pin(process::run_on_schema("tenant", &MIGRATIONS, service::CONDITIONS, service::run)).await
}
