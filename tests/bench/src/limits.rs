//! What the machine gives at most: the same statements without us, and an HTTP server that does nothing.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use axum::{Router, routing::post};
use fiorino_rig::postgres_bin;
use fiorino_world::World;
use tokio::{net::TcpListener, process::Command, task::JoinHandle};

/// How long a limit is measured.
pub(crate) const LASTING: Duration = Duration::from_secs(8);

/// An answer as long as that of a verify.
const ANSWER: &str = include_str!("../answer.xml");

/// A server that reads the body and answers the same to everybody.
///
/// # Errors
/// When there is no free port.
pub(crate) async fn bare_server() -> Result<(SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let router = Router::new().route("/node/v1/{station}", post(async |_body: bytes::Bytes| ANSWER));
    let server = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            println!("  the bare server ended: {error}");
        }
    });
    Ok((address, server))
}

/// Transactions per second of a script of pgbench on a service's database.
///
/// # Errors
/// What pgbench complains about.
pub(crate) async fn pgbench(world: &World, service: &str, script: &Path, clients: usize) -> Result<f64> {
    let url = world.addresses().database_urls.get(service).with_context(|| format!("{service} has no database"))?;
    let program = postgres_bin().context("PostgreSQL is not installed")?.join("pgbench");
    let output = Command::new(program)
        .args([
            "--no-vacuum",
            "--protocol=prepared",
            &format!("--client={clients}"),
            &format!("--time={}", LASTING.as_secs()),
        ])
        .arg(format!("--file={}", script.display()))
        .arg(url)
        .output()
        .await?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let tps = told.lines().find_map(|line| line.strip_prefix("tps = ")).and_then(|rest| rest.split(' ').next());
    let complaint = || format!("{told}{}", String::from_utf8_lossy(&output.stderr));
    Ok(tps.with_context(complaint)?.parse()?)
}
