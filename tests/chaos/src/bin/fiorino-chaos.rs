//! The long run: `cargo xtask chaos` starts what it needs, and this.

#![expect(clippy::print_stdout, reason = "a command line speaks")]

use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use fiorino_chaos::restored::goes_back;
use fiorino_chaos::run::{Length, run};
use fiorino_chaos::stage::{Own, Stage};

/// Large enough for some hours of load, small enough to be filled in a moment.
const VOLUME_MB: u32 = 1_024;
/// As many as a region may load in an hour.
const LOST_DEBTS: usize = 200_000;

/// Breaks what the seed draws while people pay, and compares what was answered with what is there
#[derive(Debug, Parser)]
#[command(name = "fiorino-chaos")]
struct Options {
    /// How long faults are injected
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1_440))]
    minutes: u64,
    /// Draws the same faults in the same order [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
}

#[tokio::main]
async fn main() -> Result<()> {
    rustls::crypto::ring::default_provider().install_default().unwrap_or_default();
    let Options { minutes, seed } = Options::parse();
    let seed = seed.unwrap_or_else(rand::random);
    println!("seed {seed}");
    let own = Own { postgres: true, volume_mb: Some(VOLUME_MB), kafka: true, kubernetes: true };
    let mut stage = Box::pin(Stage::new(own)).await?;
    let length = Length::Lasting(Duration::from_mins(minutes));
    let report = Box::pin(run(&mut stage, seed, length, |line| println!("{line}"))).await;
    let report = report.with_context(|| format!("seed {seed}"))?;
    println!("{report}");
    println!("answered = inbox = applied = reported, each once; nothing paid twice; nothing answered late");
    drop(stage);
    println!(
        "back in time: {LOST_DEBTS} debts, then each kind of fault once, then tenant's database is put back to before"
    );
    let result = Box::pin(goes_back(LOST_DEBTS, Some(seed), |line| println!("{line}"))).await;
    result.with_context(|| format!("seed {seed}, back in time"))?;
    println!("no number came twice; every receipt is kept; nothing that was paid can be paid again");
    Ok(())
}
