//! cargo-deny: licences, banned crates and sources of every dependency, by deny.toml.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::announce;
use crate::cache::{Cache, key, remove_dir};
use crate::run::Run;
use crate::say;

const STEP: &str = "cargo-deny";
const VERSION: &str = "0.20.2";

/// The program, built once. Unoptimised: it runs for seconds and would be built for minutes.
pub(crate) async fn ensure(cache: &Cache, root: &Path) -> Result<PathBuf> {
    let fill = async |dir: &Path| {
        announce("cargo-deny", "checks licences and sources of the dependencies; built once");
        let build = dir.join("build");
        let install = Run::cargo(STEP, root, &build)
            .args(["install", "cargo-deny", "--locked", "--debug", "--version", VERSION, "--root"])
            .arg(dir);
        say::step(STEP, install.logged(cache.join("logs/cargo-deny.log"))).await?;
        remove_dir(&build)
    };
    let dir = cache.install("cargo-deny", &key(&[VERSION.as_bytes()]), fill).await?;
    Ok(dir.join("bin/cargo-deny"))
}
