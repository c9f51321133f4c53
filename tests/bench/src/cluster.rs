//! The API server and its store: they sleep while the node's calls are measured.

use anyhow::{Context as _, Result};
use fiorino_rig::variable;
use rustix::process::{Pid, Signal, kill_process};

/// Sleeping until it is dropped.
#[derive(Debug)]
pub(crate) struct Cluster {
    pids: Vec<Pid>,
}

// === impl Cluster ===

impl Cluster {
    /// Stops the processes that `cargo xtask bench` has named.
    ///
    /// # Errors
    /// When they were not named or are gone.
    pub(crate) fn sleep() -> Result<Self> {
        let told =
            variable("FIORINO_BENCH_CLUSTER").context("FIORINO_BENCH_CLUSTER is not set: run `cargo xtask bench`")?;
        let pids =
            told.split(',').map(|pid| Pid::from_raw(pid.parse()?).context("no process")).collect::<Result<_>>()?;
        let cluster = Self { pids };
        cluster.signal(Signal::STOP)?;
        Ok(cluster)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        self.pids.iter().try_for_each(|pid| Ok(kill_process(*pid, signal)?))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Whoever is gone needs no waking.
        self.signal(Signal::CONT).unwrap_or_default();
    }
}
