//! The process: options, telemetry, then [`Service`] until a signal.

use std::{error::Error, process::ExitCode};

use clap::Parser as _;
use fiorino_kit::{
    admin::{self, Readiness},
    clock::Clock,
    crypto, options, shutdown,
    telemetry::{self, Telemetry},
};
use fiorino_reporting::{CONDITIONS, Options, Service};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> ExitCode {
    crypto::install_ring();
    let options = Options::parse();
    let telemetry = match telemetry::init("reporting", &options.telemetry) {
        Ok(telemetry) => telemetry,
        Err(error) => {
            // Nothing can log yet.
            let mut command = <Options as clap::CommandFactory>::command();
            command.error(clap::error::ErrorKind::Io, chain(&error)).exit();
        }
    };
    tracing::info!(options = options::redacted(&options), "starting");
    let outcome = run(options, telemetry.clone()).await;
    if let Err(error) = &outcome {
        tracing::error!(error = chain(error.as_ref()), "failed");
    }
    telemetry.shutdown().await;
    if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn run(options: Options, telemetry: Telemetry) -> Result<(), Box<dyn Error>> {
    let token = shutdown::on_signals();
    let readiness = Readiness::new(CONDITIONS);
    let probes = CancellationToken::new();
    let admin = tokio::spawn(admin::serve(options.admin.clone(), telemetry, readiness.clone(), probes.clone()));
    let served = async {
        let Some(service) = Service::start(options, Clock::system(), readiness, token.clone()).await? else {
            return Ok(()); // told to end before the database came
        };
        service.run(token).await
    };
    tokio::pin!(served);
    tokio::select! {
        outcome = &mut served => {
            probes.cancel();
            outcome?;
        }
        // The probes' port is taken: better no process than one that cannot be watched.
        outcome = admin => outcome??,
    }
    Ok(())
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
