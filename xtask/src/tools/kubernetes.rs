//! A real API server, built from Go modules once and kept.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::{announce, go};
use crate::cache::{Cache, key};
use crate::say;

const STEP: &str = "kubernetes binaries";
const VERSION_VARIABLES: &str = "k8s.io/component-base/version";

/// The directory of `kube-apiserver`, `etcd` and `kubectl`, built when `go.sum` or the flags have changed.
pub(crate) async fn ensure(cache: &Cache, module: PathBuf) -> Result<PathBuf> {
    let go_mod = fs_err::read_to_string(module.join("go.mod"))?;
    let go_sum = fs_err::read(module.join("go.sum"))?;
    let flags = linker_flags(&kubernetes_version(&go_mod)?)?;
    let key = key(&[&go_sum, go_mod.as_bytes(), flags.as_bytes()]);
    let done = cache.install("kubernetes", &key, async |dir| {
        announce(
            "kube-apiserver, etcd and kubectl",
            "a real API server; built once from Go modules, about five minutes",
        );
        say::step(STEP, build(cache, &module, dir, &flags)).await
    });
    Ok(done.await?.join("bin"))
}

async fn build(cache: &Cache, module: &Path, dir: &Path, flags: &str) -> Result<()> {
    go::check(STEP).await?;
    let bin = dir.join("bin");
    fs_err::create_dir_all(&bin)?;
    go::go(STEP, module).args(["mod", "download"]).logged(cache.join("logs/go-download.log")).await?;
    go::build(STEP, module, flags, &bin, &["k8s.io/kubernetes/cmd/kube-apiserver", "k8s.io/kubernetes/cmd/kubectl"])
        .logged(cache.join("logs/go-kubernetes.log"))
        .await?;
    go::build(STEP, module, "-s -w", &bin.join("etcd"), &["go.etcd.io/etcd/server/v3"])
        .logged(cache.join("logs/go-etcd.log"))
        .await
}

fn kubernetes_version(go_mod: &str) -> Result<String> {
    let line = go_mod.lines().map(str::trim).find_map(|line| line.strip_prefix("k8s.io/kubernetes "));
    Ok(line.context("go.mod does not require k8s.io/kubernetes")?.to_owned())
}

/// Without them `/version` says v0.0.0-master, and clients that look at it misbehave.
fn linker_flags(version: &str) -> Result<String> {
    let mut numbers = version.trim_start_matches('v').split('.');
    let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) else {
        bail!("{version} is no version");
    };
    let variables = [
        ("gitVersion", version),
        ("gitMajor", major),
        ("gitMinor", minor),
        ("gitTreeState", "clean"),
        ("gitCommit", "unknown"),
        ("buildDate", "1970-01-01T00:00:00Z"),
    ];
    let settings: Vec<String> =
        variables.iter().map(|(name, value)| format!("-X {VERSION_VARIABLES}.{name}={value}")).collect();
    Ok(format!("-s -w {}", settings.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_comes_from_the_module_file() {
        let version =
            kubernetes_version("require (\n\tk8s.io/kubelet v0.37.2\n\tk8s.io/kubernetes v1.37.2\n)").unwrap();
        assert_eq!(version, "v1.37.2");
        let flags = linker_flags(&version).unwrap();
        assert!(flags.contains("version.gitMinor=37"), "{flags}");
    }
}
