//! The SOAP client that tests ours, in a Python environment of its own.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::announce;
use crate::cache::{Cache, key};
use crate::run::Run;
use crate::say;

const STEP: &str = "python packages";

/// The interpreter of an environment that holds what `requirements.txt` in `source` pins.
pub(crate) async fn ensure(cache: &Cache, source: &Path) -> Result<PathBuf> {
    let requirements = source.join("requirements.txt");
    let version = Run::new(STEP, "python3").arg("--version").output().await?;
    let fill = async |dir: &Path| {
        announce(
            "zeep",
            "a strict SOAP client, generated from the official WSDL, calls the node-connector in the tests",
        );
        let install = async {
            let venv = Run::new(STEP, "python3").args(["-m", "venv"]).arg(dir);
            venv.logged(cache.join("logs/venv.log")).await?;
            let pip = Run::new(STEP, dir.join("bin/python"))
                .args(["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--requirement"])
                .arg(&requirements);
            pip.logged(cache.join("logs/pip.log")).await
        };
        say::step(STEP, install).await
    };
    let dir = cache.install("python", &key(&[&fs_err::read(&requirements)?, version.as_bytes()]), fill).await?;
    Ok(dir.join("bin/python"))
}
