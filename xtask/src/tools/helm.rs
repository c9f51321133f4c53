//! helm and kubeconform, with which the charts are tested; built from Go modules once and kept.

use std::path::PathBuf;

use anyhow::Result;

use super::{announce, go};
use crate::cache::{Cache, key};
use crate::say;

const STEP: &str = "helm and kubeconform";
const PACKAGES: [&str; 2] = ["helm.sh/helm/v4/cmd/helm", "github.com/yannh/kubeconform/cmd/kubeconform"];

/// The directory of `helm` and `kubeconform`, built when the module's files have changed.
pub(super) async fn ensure(cache: &Cache, module: PathBuf) -> Result<PathBuf> {
    let (go_mod, go_sum) = (fs_err::read(module.join("go.mod"))?, fs_err::read(module.join("go.sum"))?);
    let key = key(&[&go_mod, &go_sum]);
    let done = cache.install("helm", &key, async |dir| {
        announce("helm and kubeconform", "the charts are tested with them; built once from Go modules, about a minute");
        go::check(STEP).await?;
        let bin = dir.join("bin");
        fs_err::create_dir_all(&bin)?;
        let build = go::build(STEP, &module, "-s -w", &bin, &PACKAGES);
        say::step(STEP, build.logged(cache.join("logs/go-helm.log"))).await
    });
    Ok(done.await?.join("bin"))
}
