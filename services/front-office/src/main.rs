//! The process.

use std::process::ExitCode;

use fiorino_front_office::{MIGRATIONS, service};
use fiorino_kit::process;

#[tokio::main]
async fn main() -> ExitCode {
    Box::pin(process::run_on_schema("front-office", &MIGRATIONS, service::CONDITIONS, service::run)).await
}
