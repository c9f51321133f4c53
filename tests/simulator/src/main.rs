//! `fiorino-simulator serve`: the node and a PSP; the other commands talk to a running one: they register, verify, activate, pay.

mod client;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use fiorino_simulator::{Options, Simulator, station::ClientIdentity};
use tokio_util::sync::CancellationToken;

/// The pagoPA node and a PSP, for tests and demonstrations.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the node until SIGTERM or SIGINT.
    Serve(Serve),
    #[command(flatten)]
    Client(client::Command),
}

#[derive(Debug, Args)]
struct Serve {
    /// Address of control API and Backoffice external API.
    #[arg(long, env = "FIORINO_SIMULATOR_LISTEN", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Time between two attempts to deliver a receipt, in milliseconds.
    #[arg(long, default_value_t = 3_600_000)]
    receipt_retry_ms: u64,
    /// Client certificate of the node: PEM.
    #[arg(long, requires_all = ["client_key", "station_ca"])]
    client_cert: Option<PathBuf>,
    /// Its key: PEM.
    #[arg(long)]
    client_key: Option<PathBuf>,
    /// Authority of the stations' server certificates: PEM.
    #[arg(long)]
    station_ca: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match Cli::parse().command {
        Command::Serve(options) => serve(options).await,
        Command::Client(command) => command.run().await,
    }
}

async fn serve(serve: Serve) -> anyhow::Result<()> {
    let identity = match (serve.client_cert, serve.client_key, serve.station_ca) {
        (Some(certificate), Some(key), Some(authority)) => Some(ClientIdentity { certificate, key, authority }),
        _ => None,
    };
    let options = Options {
        receipt_retry: Duration::from_millis(serve.receipt_retry_ms),
        client_identity: identity,
        ..Options::default()
    };
    let token = CancellationToken::new();
    let simulator = Simulator::start(&options, &token)?;
    let listener = tokio::net::TcpListener::bind(serve.listen).await.context("failed to bind --listen")?;
    tracing::info!(address = %listener.local_addr()?, "simulator listening");
    axum::serve(listener, simulator.router()).with_graceful_shutdown(stop()).await?;
    token.cancel();
    Ok(())
}

async fn stop() {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).ok();
    let terminated = async {
        match terminate.as_mut() {
            Some(signal) => drop(signal.recv().await),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = terminated => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
