//! Servers, trace viewer and a whole Fiorino on them: what `demo` and `up` run.

use std::path::Path;

use anyhow::{Context as _, Result};
use fiorino_world::{Options, World};

use crate::parts::{Mode, Parts, RunDir, Zipkin, stop_all};
use crate::say;
use crate::tools::Tools;

/// Namespace of the platform in `examples/`.
pub(crate) const PLATFORM: &str = "fiorino";

/// Everything that runs. Fields are dropped in this order.
#[derive(Debug)]
pub(crate) struct Installation {
    /// Fiorino itself.
    pub(crate) world: World,
    /// Where traces are looked at.
    pub(crate) zipkin: Zipkin,
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
        match Box::pin(start_in(dir.path(), tools, binaries)).await {
            Ok((world, zipkin, parts)) => Ok(Self { world, zipkin, parts, dir }),
            Err(error) => Err(error.context(format!("logs are in {}", dir.keep().display()))),
        }
    }

    /// Every process with its name.
    pub(crate) fn processes(&self) -> Vec<(String, u32)> {
        let servers = self.parts.processes().into_iter().chain([("trace-viewer", &self.zipkin.process)]);
        let all = self.world.processes().chain(servers);
        all.map(|(name, process)| (name.to_owned(), process.pid())).collect()
    }

    /// Ends everything; logs go too unless `keep_logs`.
    pub(crate) async fn stop(self, keep_logs: bool) -> Result<()> {
        let Self { world, mut zipkin, mut parts, dir } = self;
        let stopped = world.stop().await;
        stop_all([&mut zipkin.process]);
        parts.stop();
        if keep_logs {
            say::line(&format!("  logs are in {}", dir.keep().display()));
        }
        stopped
    }
}

/// What the examples speak of: the platform's namespace, the whole cluster, no prefixes.
pub(crate) fn plain(options: Options) -> Options {
    Options {
        database_prefix: String::new(),
        topic_prefix: String::new(),
        platform: PLATFORM.to_owned(),
        watch_namespaces: Vec::new(),
        ..options
    }
}

async fn start_in(dir: &Path, tools: &Tools, binaries: &Path) -> Result<(World, Zipkin, Parts)> {
    let jars = tools.zipkin.as_deref().context("the trace viewer was not installed")?;
    let mut zipkin = Zipkin::spawn(jars, dir)?;
    let run_dir = dir.join("fiorino");
    fs_err::create_dir_all(&run_dir)?;
    let forward_traces = Some(zipkin.url.clone());
    let fiorino = async {
        let parts = Parts::start(tools, dir, Mode::Durable).await?;
        let (database, kafka) = (parts.postgres.url(), parts.kafka.brokers.clone());
        let kubeconfig = parts.kubernetes.kubeconfig.clone();
        let options = Options {
            kubectl: tools.kubernetes.join("kubectl"),
            forward_traces,
            ..plain(Options::unique(binaries.to_owned(), run_dir, database, kafka, kubeconfig)?)
        };
        let world = say::step("operator, services and simulator", Box::pin(World::start(options))).await?;
        Ok((world, parts))
    };
    let ((world, parts), ()) = tokio::try_join!(fiorino, say::step("trace viewer", zipkin.ready()))?;
    Ok((world, zipkin, parts))
}
