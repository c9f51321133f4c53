//! What the parts are made of, installed when missing: Debian packages, Kubernetes and helm from Go modules, jars, a Python client.

mod debian;
pub(crate) mod deny;
mod go;
mod helm;
mod kubernetes;
mod maven;
mod python;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::cache::Cache;
use crate::say;

/// What the tools are wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Tests: also what the contract tests need.
    Test,
    /// The demo: also the trace viewer.
    Demo,
}

/// Where everything is.
#[derive(Debug, Clone)]
pub(crate) struct Tools {
    /// `kube-apiserver`, `etcd`, `kubectl`.
    pub(crate) kubernetes: PathBuf,
    /// `helm`, `kubeconform`.
    pub(crate) helm: Option<PathBuf>,
    /// PostgreSQL's programs.
    pub(crate) postgres: PathBuf,
    /// Jars of the Kafka broker.
    pub(crate) kafka: PathBuf,
    /// Jar of the trace viewer.
    pub(crate) zipkin: Option<PathBuf>,
    /// A Python that has the SOAP client.
    pub(crate) python: Option<PathBuf>,
}

/// Installs what is missing; with everything there it takes milliseconds.
pub(crate) async fn ensure(cache: &Cache, root: &Path, purpose: Purpose) -> Result<Tools> {
    let sources = root.join("xtask/tools");
    debian::ensure(cache, purpose).await?;
    let binaries = async {
        // One after the other: a Go build takes every core.
        let kubernetes = kubernetes::ensure(cache, sources.join("kubernetes")).await?;
        let helm = match purpose {
            Purpose::Demo => None,
            Purpose::Test => Some(helm::ensure(cache, sources.join("helm")).await?),
        };
        anyhow::Ok((kubernetes, helm))
    };
    let languages = async {
        let kafka = maven::ensure(cache, &sources.join("kafka"), "copy-dependencies").await?;
        let (mut zipkin, mut python) = (None, None);
        match purpose {
            Purpose::Demo => zipkin = Some(maven::ensure(cache, &sources.join("zipkin"), "copy").await?),
            Purpose::Test => python = Some(python::ensure(cache, &sources.join("python")).await?),
        }
        Ok((kafka, zipkin, python))
    };
    let ((kubernetes, helm), (kafka, zipkin, python)) = tokio::try_join!(binaries, languages)?;
    let postgres = fiorino_rig::postgres_bin().context("PostgreSQL is not installed")?;
    Ok(Tools { kubernetes, helm, postgres, kafka, zipkin, python })
}

/// Says what is about to be installed and why.
fn announce(what: &str, why: &str) {
    say::line(&format!("  installing {what}: {why}"));
}
