//! `fiorino-simulator serve`: the node and a PSP; `fiorino-simulator pay`: pays a notice through a running one.

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
    /// Verifies a notice through a running node.
    Verify(Notice),
    /// Verifies, activates and pays a notice through a running node.
    Pay(Notice),
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

#[derive(Debug, Args)]
struct Notice {
    /// Address of a running simulator.
    #[arg(long, env = "FIORINO_SIMULATOR_URL")]
    url: String,
    /// Fiscal code of the institution.
    #[arg(long)]
    institution: String,
    /// 18 digits.
    #[arg(long = "notice")]
    number: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match Cli::parse().command {
        Command::Serve(options) => serve(options).await,
        Command::Verify(notice) => psp(&notice, "verify").await,
        Command::Pay(notice) => psp(&notice, "pay").await,
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

#[expect(clippy::print_stdout, reason = "a command line answers on standard output")]
async fn psp(notice: &Notice, step: &str) -> anyhow::Result<()> {
    let url = format!("{}/psp/{step}", notice.url.trim_end_matches('/'));
    let body = serde_json::json!({"fiscalCode": notice.institution, "noticeNumber": notice.number});
    let response =
        reqwest::Client::new().post(url).json(&body).send().await.context("failed to reach the simulator")?;
    let refused = !response.status().is_success();
    let answer: serde_json::Value = response.json().await.context("failed to read the answer")?;
    println!("{answer:#}");
    anyhow::ensure!(!refused, "the node answered with a fault");
    Ok(())
}
