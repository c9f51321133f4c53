//! What the parts are made of, installed when missing: Debian packages, Kubernetes and helm from Go modules, jars, a Python client, what
//! tests pages of the portal.

mod debian;
pub(crate) mod deny;
mod go;
mod grpcurl;
mod helm;
mod kubernetes;
mod maven;
mod node;
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
    /// `grpcurl`
    pub(crate) grpcurl: Option<PathBuf>,
    /// PostgreSQL's programs.
    pub(crate) postgres: PathBuf,
    /// Jars of the Kafka broker.
    pub(crate) kafka: PathBuf,
    /// Jar of the trace viewer.
    pub(crate) zipkin: Option<PathBuf>,
    /// A Python that has the SOAP client.
    pub(crate) python: Option<PathBuf>,
    /// Packages of Node.js that drive a browser.
    pub(crate) web: Option<PathBuf>,
}

/// Installs what is missing; with everything there it takes milliseconds.
pub(crate) async fn ensure(cache: &Cache, root: &Path, purpose: Purpose) -> Result<Tools> {
    let sources = root.join("xtask/tools");
    debian::ensure(cache, purpose).await?;
    let binaries = async {
        // One after the other: a Go build takes every core.
        let kubernetes = kubernetes::ensure(cache, sources.join("kubernetes")).await?;
        let (mut helm, mut grpcurl) = (None, None);
        if purpose == Purpose::Test {
            helm = Some(helm::ensure(cache, sources.join("helm")).await?);
            grpcurl = Some(grpcurl::ensure(cache, sources.join("grpcurl")).await?);
        }
        anyhow::Ok((kubernetes, helm, grpcurl))
    };
    let languages = async {
        let kafka = maven::ensure(cache, &sources.join("kafka"), "copy-dependencies").await?;
        let (mut zipkin, mut python, mut web) = (None, None, None);
        match purpose {
            Purpose::Demo => zipkin = Some(maven::ensure(cache, &sources.join("zipkin"), "copy").await?),
            Purpose::Test => {
                python = Some(python::ensure(cache, &sources.join("python")).await?);
                web = Some(node::ensure(cache, &sources.join("web")).await?);
            }
        }
        Ok((kafka, zipkin, python, web))
    };
    let ((kubernetes, helm, grpcurl), (kafka, zipkin, python, web)) = tokio::try_join!(binaries, languages)?;
    let postgres = fiorino_rig::postgres_bin().context("PostgreSQL is not installed")?;
    Ok(Tools { kubernetes, helm, grpcurl, postgres, kafka, zipkin, python, web })
}

/// What makes the portal's assets: the packages of Node.js alone.
pub(crate) async fn web(cache: &Cache, root: &Path) -> Result<PathBuf> {
    debian::ensure(cache, Purpose::Test).await?;
    node::ensure(cache, &root.join("xtask/tools/web")).await
}

/// Says what is about to be installed and why.
fn announce(what: &str, why: &str) {
    say::line(&format!("  installing {what}: {why}"));
}
