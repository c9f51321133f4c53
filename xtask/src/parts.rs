//! Private servers on loopback: PostgreSQL, Kafka, a Kubernetes API server. They end with us, whatever happens to us.

mod run_dir;
mod zipkin;

use std::path::Path;

use anyhow::Result;
pub(crate) use fiorino_rig::Kubernetes;
use fiorino_rig::Process;
pub(crate) use fiorino_rig::servers::{Kafka, Mode, Postgres};

pub(crate) use run_dir::RunDir;
pub(crate) use zipkin::Zipkin;

use crate::say;
use crate::tools::Tools;

/// The servers, ready.
#[derive(Debug)]
pub(crate) struct Parts {
    /// Databases.
    pub(crate) postgres: Postgres,
    /// Topics.
    pub(crate) kafka: Kafka,
    /// Manifests.
    pub(crate) kubernetes: Kubernetes,
}

// === impl Parts ===

impl Parts {
    /// Starts all of them at the same time in directories below `dir` and waits until they answer.
    pub(crate) async fn start(tools: &Tools, dir: &Path, mode: Mode) -> Result<Self> {
        let (kubernetes, durable) = (dir.join("kubernetes"), mode != Mode::Fast);
        let (postgres, kafka, kubernetes) = tokio::try_join!(
            say::step("PostgreSQL", Postgres::start(&tools.postgres, dir.join("postgres"), mode)),
            say::step("Kafka", Kafka::start(&tools.kafka, dir.join("kafka"), &[])),
            say::step("Kubernetes API server", Box::pin(Kubernetes::start(&tools.kubernetes, kubernetes, durable))),
        )?;
        Ok(Self { postgres, kafka, kubernetes })
    }

    /// The servers' processes, by name.
    pub(crate) fn processes(&self) -> [(&'static str, &Process); 4] {
        let [etcd, apiserver] = self.kubernetes.processes();
        [("postgres", self.postgres.process()), ("kafka", self.kafka.process()), etcd, apiserver]
    }

    /// Stops all of them at the same time.
    pub(crate) fn stop(&mut self) {
        stop_all([self.postgres.process_mut(), self.kafka.process_mut()]);
        if let Err(error) = self.kubernetes.stop() {
            say::line(&format!("  the API server did not stop: {error:#}"));
        }
    }
}

/// Stops several processes at the same time; what does not stop is killed.
pub(crate) fn stop_all<'a>(processes: impl IntoIterator<Item = &'a mut Process>) {
    std::thread::scope(|scope| {
        for process in processes {
            scope.spawn(|| {
                if let Err(error) = process.stop() {
                    say::line(&format!("  {} did not stop: {error:#}", process.name()));
                }
            });
        }
    });
}
