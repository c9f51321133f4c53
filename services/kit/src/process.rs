//! The life of a service's process, the same for all of them.
//!
//! ```text
//!  ring -> options -> telemetry -> "starting" -> probes + work under the token of the signals -> last telemetry -> exit code
//! ```

use std::{error::Error, process::ExitCode};

use clap::{ArgMatches, CommandFactory as _, FromArgMatches};
use sqlx::migrate::Migrator;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    admin::{self, Readiness},
    clock::Clock,
    crypto, error,
    options::{self, AdminOptions, TelemetryOptions},
    schema, shutdown,
    telemetry::{self, Telemetry},
};

/// The command that brings a schema up to date.
const MIGRATE: &str = "migrate";

/// What every process is told.
pub trait Options: clap::Parser + std::fmt::Debug {
    /// Where probes and metrics are served.
    fn admin(&self) -> &AdminOptions;
    /// What is told about the process.
    fn telemetry(&self) -> &TelemetryOptions;
}

/// What the work of a process gets.
#[derive(Debug, Clone)]
pub struct Context {
    /// Cancelled by SIGTERM or SIGINT: drain and return.
    pub token: CancellationToken,
    /// The conditions that were given to [`run`], all false.
    pub readiness: Readiness,
    /// The machine's clock.
    pub clock: Clock,
}

/// Runs a process called `service` (e.g. `tenant`) from its command line to its exit code; all that `main` does.
///
/// `work` returns when it has drained after the token was cancelled, or with an error; either ends the process. `readiness` are the
/// conditions of `/readyz`. Must be called inside a multi-threaded Tokio runtime.
pub async fn run<O, E>(
    service: &'static str,
    readiness: &[&'static str],
    work: impl AsyncFnOnce(O, Context) -> Result<(), E>,
) -> ExitCode
where
    O: Options,
    E: Into<Box<dyn Error>>,
{
    crypto::install_ring();
    serve(service, readiness, O::parse(), work).await
}

/// The same for a service with a database: `<program> migrate` brings its schema up to date and ends, 0 or another exit code, with the
/// outcome as its last line.
pub async fn run_on_schema<O, E>(
    service: &'static str,
    migrator: &Migrator,
    readiness: &[&'static str],
    work: impl AsyncFnOnce(O, Context) -> Result<(), E>,
) -> ExitCode
where
    O: Options,
    E: Into<Box<dyn Error>>,
{
    crypto::install_ring();
    let migrate = schema::Options::command().name(MIGRATE);
    let mut program = O::command().subcommand(migrate).subcommand_negates_reqs(true);
    let matches = program.get_matches_mut();
    match matches.subcommand() {
        Some((_, matches)) => migrate_schema(service, parsed(&mut program, matches), migrator).await,
        None => serve(service, readiness, parsed(&mut program, &matches), work).await,
    }
}

fn parsed<O: FromArgMatches>(program: &mut clap::Command, matches: &ArgMatches) -> O {
    O::from_arg_matches(matches).unwrap_or_else(|error| error.format(program).exit())
}

async fn migrate_schema(service: &'static str, options: schema::Options, migrator: &Migrator) -> ExitCode {
    let telemetry = start_telemetry::<schema::Options>(service, &options.telemetry);
    tracing::info!(options = options::redacted(&options), "migrating");
    let migrated = schema::migrate(&options, migrator).await;
    match &migrated {
        Ok(found) => {
            tracing::info!(
                version = found.version,
                compatible_from = found.compatible_from,
                "the schema is up to date"
            );
        }
        Err(error) => tracing::error!(error = error::chain(error), "failed to migrate"),
    }
    telemetry.shutdown().await;
    if migrated.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn start_telemetry<O: clap::CommandFactory>(service: &'static str, options: &TelemetryOptions) -> Telemetry {
    match telemetry::init(service, options) {
        Ok(telemetry) => telemetry,
        // Nothing can log yet: told as clap tells a wrong flag.
        Err(error) => O::command().error(clap::error::ErrorKind::InvalidValue, error::chain(&error)).exit(),
    }
}

async fn serve<O, E>(
    service: &'static str,
    readiness: &[&'static str],
    options: O,
    work: impl AsyncFnOnce(O, Context) -> Result<(), E>,
) -> ExitCode
where
    O: Options,
    E: Into<Box<dyn Error>>,
{
    let telemetry = start_telemetry::<O>(service, options.telemetry());
    tracing::info!(options = options::redacted(&options), "starting");
    let context =
        Context { token: shutdown::on_signals(), readiness: Readiness::new(readiness), clock: Clock::system() };
    let admin = options.admin().clone();
    let outcome = supervise(&admin, telemetry.clone(), context.clone(), work(options, context)).await;
    if let Err(error) = &outcome {
        tracing::error!(error = error::chain(error.as_ref()), "failed");
    } else {
        tracing::info!("ended");
    }
    telemetry.shutdown().await;
    if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Does `work` beside the probes. They are served to the end of the work, so that a process that drains is seen alive; without them there
/// is no work, for it could not be watched.
///
/// # Errors
/// The error of the work, or why the probes cannot be served.
pub async fn supervise<E>(
    options: &AdminOptions,
    telemetry: Telemetry,
    context: Context,
    work: impl Future<Output = Result<(), E>>,
) -> Result<(), Box<dyn Error>>
where
    E: Into<Box<dyn Error>>,
{
    let listener = TcpListener::bind(options.admin_listen).await?;
    let probes = CancellationToken::new();
    let admin = tokio::spawn(admin::serve_on(listener, telemetry, context.readiness, probes.clone()));
    let outcome = work.await.map_err(Into::into);
    probes.cancel();
    outcome.and(admin.await?.map_err(Into::into))
}
