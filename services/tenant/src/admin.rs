//! Commands that a person runs beside the service: `fiorino-tenant fence allow <uid>`.

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use fiorino_kit::{crypto, error, options::DatabaseOptions, store};

use crate::configuration::{self, Allowed};

/// The first words of the command lines that this module reads.
const COMMANDS: &[&str] = &["fence"];

/// Commands beside the tenant service
#[derive(Debug, Parser)]
#[command(name = "fiorino-tenant", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Which cluster may write the configuration
    #[command(subcommand)]
    Fence(FenceCommand),
}

#[derive(Debug, Subcommand)]
enum FenceCommand {
    /// Lets a cluster lead again whose Lease was followed by another cluster's; that one stops then
    Allow(Allow),
}

#[derive(Debug, Args)]
struct Allow {
    /// metadata.uid of the cluster's Lease, as its operator's log and Event name it
    lease_uid: String,
    /// Namespace of the platform
    #[arg(long, env = "FIORINO_PLATFORM", value_name = "NAMESPACE")]
    platform: String,
    /// Database of the service
    #[command(flatten)]
    database: DatabaseOptions,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("failed to use the database")]
    Database(#[from] sqlx::Error),
    #[error("no lease {0} ever led for the platform: take the uid from the operator's log or its Event")]
    Unknown(String),
    #[error("the lease {0} leads or may lead already: nothing has to be allowed")]
    Needless(String),
}

/// Whether the process's command line is one of these.
pub fn is_asked() -> bool {
    std::env::args().nth(1).is_some_and(|word| COMMANDS.contains(&word.as_str()))
}

/// Runs the command of the process's command line; says on standard output what was done.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line answers on its standard streams")]
pub async fn run() -> ExitCode {
    crypto::install_ring();
    let Command::Fence(FenceCommand::Allow(asked)) = Cli::parse().command;
    match allow(&asked).await {
        Ok(()) => {
            let Allow { lease_uid, platform, .. } = asked;
            println!("allowed: the lease {lease_uid} may lead {platform} again; kept in the table fence_allowance");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}", error::chain(&error));
            ExitCode::FAILURE
        }
    }
}

async fn allow(asked: &Allow) -> Result<(), Error> {
    let pool = store::connect(&asked.database, "admin", 1)?;
    let allowed = configuration::allow_lease(&pool, &asked.platform, &asked.lease_uid).await;
    pool.close().await;
    match allowed? {
        Allowed::Yes => Ok(()),
        Allowed::Unknown => Err(Error::Unknown(asked.lease_uid.clone())),
        Allowed::Needless => Err(Error::Needless(asked.lease_uid.clone())),
    }
}
