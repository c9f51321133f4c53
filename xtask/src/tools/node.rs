//! What makes the portal's style and looks at its pages, as packages of Node.js.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::announce;
use crate::cache::{Cache, key};
use crate::run::Run;
use crate::say;

const STEP: &str = "node packages";

/// The directory of `node_modules` with what `package-lock.json` in `source` pins.
pub(crate) async fn ensure(cache: &Cache, source: &Path) -> Result<PathBuf> {
    let (package, lock) = (source.join("package.json"), source.join("package-lock.json"));
    let version = Run::new(STEP, "node").arg("--version").output().await?;
    let contents = [fs_err::read(&package)?, fs_err::read(&lock)?];
    let fill = async |dir: &Path| {
        announce("Bootstrap Italia, axe and a driver of browsers", "the portal's style, and the tests of its pages");
        fs_err::copy(&package, dir.join("package.json"))?;
        fs_err::copy(&lock, dir.join("package-lock.json"))?;
        let install = Run::new(STEP, "npm").dir(dir).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
        say::step(STEP, install.logged(cache.join("logs/npm.log"))).await
    };
    cache.install("node", &key(&[&contents[0], &contents[1], version.as_bytes()]), fill).await
}
