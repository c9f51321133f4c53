//! Servers, trace viewer and a whole Fiorino on them: what `demo` and `up` run.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use fiorino_rig::{Process, Signal, Spec, free_port};
use fiorino_world::{Options, World};

use crate::parts::{Mode, Parts, RunDir, stop_all};
use crate::say;
use crate::tools::Tools;

/// Namespace of the platform in `examples/`.
pub(crate) const PLATFORM: &str = "fiorino";

/// Everything that runs. Fields are dropped in this order.
#[derive(Debug)]
pub(crate) struct Installation {
    /// Fiorino itself.
    pub(crate) world: World,
    zipkin: Process,
    /// Where traces are looked at.
    pub(crate) traces_url: String,
    /// The servers.
    pub(crate) parts: Parts,
    /// Logs, data, certificates.
    pub(crate) dir: RunDir,
}

// === impl Installation ===

impl Installation {
    /// Starts everything and waits until it is ready.
    pub(crate) async fn start(tools: &Tools, binaries: &Path) -> Result<Self> {
        let dir = RunDir::new()?;
        let started = Box::pin(Self::start_in(&dir, tools, binaries)).await;
        match started {
            Ok((world, zipkin, traces_url, parts)) => Ok(Self { world, zipkin, traces_url, parts, dir }),
            Err(error) => Err(error.context(format!("logs are in {}", dir.keep().display()))),
        }
    }

    async fn start_in(dir: &RunDir, tools: &Tools, binaries: &Path) -> Result<(World, Process, String, Parts)> {
        let jars = tools.zipkin.as_deref().context("the trace viewer was not installed")?;
        let port = free_port()?;
        let traces_url = format!("http://127.0.0.1:{port}");
        let mut zipkin = Process::spawn(&zipkin(jars, &dir.path().join("zipkin.log"), port)?)?;
        let parts = Parts::start(tools, dir.path(), Mode::Durable).await?;
        let run_dir = dir.path().join("fiorino");
        fs_err::create_dir_all(&run_dir)?;
        let options = Options {
            kubectl: tools.kubernetes.join("kubectl"),
            postgres_bin: tools.postgres.clone(),
            database_prefix: String::new(),
            topic_prefix: String::new(),
            platform: PLATFORM.to_owned(),
            watch_namespaces: Vec::new(),
            forward_traces: Some(traces_url.clone()),
            extra_args: BTreeMap::new(),
            ..Options::unique(
                binaries.to_owned(),
                run_dir,
                parts.postgres.url(),
                parts.kafka.brokers.clone(),
                parts.kubernetes.kubeconfig.clone(),
            )?
        };
        let world = say::step("operator, services and simulator", Box::pin(World::start(options))).await?;
        let health = format!("{traces_url}/health");
        let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).build()?;
        let answers = async || {
            client.get(&health).send().await?.error_for_status()?;
            Ok(())
        };
        say::step("trace viewer", zipkin.wait_ready(Duration::from_mins(1), answers)).await?;
        Ok((world, zipkin, traces_url, parts))
    }

    /// Every process with its name.
    pub(crate) fn processes(&self) -> Vec<(String, u32)> {
        let servers = self.parts.processes().into_iter().chain([("trace-viewer", &self.zipkin)]);
        let all = self.world.processes().chain(servers);
        all.map(|(name, process)| (name.to_owned(), process.pid())).collect()
    }

    /// Ends everything; logs go too unless `keep_logs`.
    pub(crate) async fn stop(self, keep_logs: bool) -> Result<()> {
        let Self { world, mut zipkin, mut parts, dir, .. } = self;
        let stopped = world.stop().await;
        stop_all([&mut zipkin]);
        parts.stop();
        if keep_logs {
            say::line(&format!("  logs are in {}", dir.keep().display()));
        }
        stopped
    }
}

fn zipkin(jars: &Path, log: &Path, port: u16) -> Result<Spec> {
    let jar = fs_err::read_dir(jars)?.next().context("no jar of the trace viewer")??.path();
    Ok(Spec::new("java", log)
        .args(["-Xms32m", "-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .args(["-Darmeria.ports[0].ip=127.0.0.1", "-jar"])
        .arg(jar)
        .env("QUERY_PORT", port.to_string())
        .env("STORAGE_TYPE", "mem")
        .stop_with(Signal::TERM, Duration::from_secs(5)))
}
