//! The trace viewer.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use fiorino_rig::servers::READY_DEADLINE;
use fiorino_rig::{Process, Signal, Spec, free_port};

/// A viewer, ready once [`Zipkin::ready`] says so.
#[derive(Debug)]
pub(crate) struct Zipkin {
    /// Its process.
    pub(crate) process: Process,
    /// Base URL; its page is at `/zipkin/`.
    pub(crate) url: String,
}

// === impl Zipkin ===

impl Zipkin {
    /// Starts it with a log in `dir`; it keeps traces in memory alone.
    pub(crate) fn spawn(jars: &Path, dir: &Path) -> Result<Self> {
        let jar = fs_err::read_dir(jars)?.next().context("no jar of the trace viewer")??.path();
        let port = free_port()?;
        let spec = Spec::new("java", dir.join("zipkin.log"))
            .args(["-Xms32m", "-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
            .args(["-Darmeria.ports[0].ip=127.0.0.1", "-Darmeria.ports[0].protocols[0]=http"])
            .arg(format!("-Darmeria.ports[0].port={port}"))
            .arg("-jar")
            .arg(jar)
            .env("STORAGE_TYPE", "mem")
            .stop_with(Signal::TERM, Duration::from_secs(5));
        Ok(Self { process: Process::spawn(&spec)?, url: format!("http://127.0.0.1:{port}") })
    }

    /// Waits until it answers.
    pub(crate) async fn ready(&mut self) -> Result<()> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).build()?;
        let health = format!("{}/health", self.url);
        let answers = async || {
            client.get(&health).send().await?.error_for_status()?;
            Ok(())
        };
        self.process.wait_ready(READY_DEADLINE, answers).await
    }
}
