//! grpcurl, by which the documents call the services; built from a Go module once and kept.

use std::path::PathBuf;

use anyhow::Result;

use super::{announce, go};
use crate::cache::{Cache, key};
use crate::say;

const STEP: &str = "grpcurl";
const PACKAGE: &str = "github.com/fullstorydev/grpcurl/cmd/grpcurl";

/// The directory of `grpcurl`, built when the module's files have changed.
pub(super) async fn ensure(cache: &Cache, module: PathBuf) -> Result<PathBuf> {
    let (go_mod, go_sum) = (fs_err::read(module.join("go.mod"))?, fs_err::read(module.join("go.sum"))?);
    let key = key(&[&go_mod, &go_sum]);
    let done = cache.install("grpcurl", &key, async |dir| {
        announce(STEP, "the commands of docs/cases.md are run with it; built once from Go modules, about a minute");
        go::check(STEP).await?;
        let bin = dir.join("bin");
        fs_err::create_dir_all(&bin)?;
        let build = go::build(STEP, &module, "-s -w", &bin, &[PACKAGE]);
        say::step(STEP, build.logged(cache.join("logs/go-grpcurl.log"))).await
    });
    Ok(done.await?.join("bin"))
}
