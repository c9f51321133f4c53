//! Benchmarks: a whole Fiorino as processes, load at fixed rates, and beside each figure the limit of the machine in the same run.
//!
//! ```text
//!  region (1,500 institutions, 1,000,000 notices) --> bodies, prepared before
//!                                                        |
//!  pace: arrival i is due at start + i / rate  --> connections --> node-connector --> tenant --> PostgreSQL
//!                                                        |
//!                                                  latency from the due time: who waits for a free connection waits too
//! ```
//! Started by `cargo xtask bench`, which builds the binaries and starts the servers.

#![expect(clippy::print_stdout, reason = "a command line speaks")]
#![expect(clippy::cast_precision_loss, reason = "figures for people, far below 2^52")]

mod bench;
mod cluster;
mod http;
mod limits;
mod load;
mod machine;
mod region;
mod report;
mod soap;
mod wal;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Parser;
use fiorino_rig::variable;
use fiorino_world::{Options, World};

use crate::{
    bench::{Bench, onboarding::Platform},
    cluster::Cluster,
    region::Region,
    report::Report,
};

/// Measures Fiorino; started by `cargo xtask bench`
#[derive(Debug, Parser)]
struct Cli {
    /// What to measure; nothing: everything but `loading`
    #[arg(value_enum)]
    benches: Vec<Bench>,
    /// Institutions that are loaded
    #[arg(long, default_value_t = 1_500)]
    institutions: usize,
    /// Notices that are loaded
    #[arg(long, default_value_t = 1_000_000)]
    notices: usize,
    /// Part of the rates' duration that is run, in per cent: 100 is what docs/benchmarks.md shows
    #[arg(long, default_value_t = 100)]
    duration: u32,
    /// Write the table to this file
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    fiorino_kit::crypto::install_ring();
    let wanted = if cli.benches.is_empty() { Bench::usual() } else { cli.benches.clone() };
    let dir = tempfile::tempdir()?;
    let mut world = Box::pin(World::start(options(dir.path().to_owned())?)).await?;
    let mut report = Report::new(cli.institutions, cli.notices);
    let platform = Platform::of(&world).await?;
    let institutions = platform.region(cli.institutions, &mut report).await?;
    if wanted.contains(&Bench::Onboarding) {
        bench::onboarding::run(&mut world, &platform, cli.institutions, &mut report).await?;
    }
    if wanted.iter().any(|bench| *bench != Bench::Onboarding) {
        world.process("operator")?.stop()?;
        let _asleep = Cluster::sleep()?;
        let region = Box::pin(Region::load(&world, institutions, cli.notices, &mut report)).await?;
        let run = bench::Run { region: &region, duration: cli.duration };
        for bench in Bench::ALL.into_iter().filter(|bench| wanted.contains(bench)) {
            Box::pin(bench.run(&mut world, &run, &mut report)).await?;
        }
    }
    println!("{}", report.markdown());
    if let Some(file) = cli.write {
        fs_err::write(file, report.markdown())?;
    }
    world.stop().await
}

/// Telemetry as shipped, one replica of each service, the whole cluster watched.
fn options(run_dir: PathBuf) -> Result<Options> {
    let own = std::env::current_exe()?;
    let bin_dir = own.parent().context("a binary lies in a directory")?.to_owned();
    let required = |name: &str| variable(name).with_context(|| format!("{name} is not set: run `cargo xtask bench`"));
    let options = Options::unique(
        bin_dir,
        run_dir,
        required("FIORINO_TEST_DATABASE_URL")?,
        required("FIORINO_TEST_KAFKA")?,
        required("FIORINO_TEST_KUBECONFIG")?.into(),
    )?;
    Ok(Options { node_connectors: 1, trace_ratio: "0.05".to_owned(), watch_namespaces: Vec::new(), ..options })
}
