//! The process: options, telemetry, then [`Operator`] until a signal.

use std::{error::Error, process::ExitCode};

use fiorino_kit::process::{self, Context};
use fiorino_operator::{Operator, Options};

#[tokio::main]
async fn main() -> ExitCode {
    process::run("operator", &Operator::READINESS, work).await
}

async fn work(options: Options, context: Context) -> Result<(), Box<dyn Error>> {
    let client = options.client().await?;
    let operator = Operator::new(options, client, context.clock)?;
    Ok(Box::pin(operator.run(context.readiness, context.token)).await?)
}
