//! `fiorino-otlp-sink`: see the library.

use clap::Parser;
use fiorino_otlp_sink::{Options, Sink};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Receives OTLP, keeps it for assertions, forwards traces to a Zipkin viewer
#[derive(Debug, Parser)]
#[command(version)]
struct Command {
    #[command(flatten)]
    options: Options,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let Command { options } = Command::parse();
    let sink = Sink::bind(&options).await?;
    tracing::info!(grpc = %sink.grpc_address()?, http = %sink.http_address()?, "receiving");
    let token = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    });
    sink.serve(token).await
}
