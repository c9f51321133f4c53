//! The Go compiler, for tools that come as modules. Each module directory holds a `go.mod` and a `go.sum` that say what is built.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::run::Run;

/// What every build has in common: the module files decide, nothing about this machine gets into the binary.
const BUILD: [&str; 4] = ["build", "-mod=readonly", "-trimpath", "-gcflags=all=-dwarf=false"];

/// Fails with where to get it when it is absent.
pub(super) async fn check(step: &str) -> Result<()> {
    let version = Run::new(step, "go").arg("version").output().await;
    version.context("Go 1.26 or newer is needed: https://go.dev/dl").map(drop)
}

/// The garbage collector off costs memory and saves a third of the time; the limit keeps small machines alive.
pub(super) fn go(step: &str, module: &Path) -> Run {
    let flags = [("CGO_ENABLED", "0"), ("GOGC", "off"), ("GOMEMLIMIT", "3GiB"), ("GOFLAGS", "")];
    flags.iter().fold(Run::new(step, "go").dir(module), |run, (key, value)| run.env(key, value))
}

/// Builds commands of a module into `output`.
pub(super) fn build(step: &str, module: &Path, linker_flags: &str, output: &Path, packages: &[&str]) -> Run {
    go(step, module).args(BUILD).args(["-ldflags", linker_flags, "-o"]).arg(output).args(packages)
}
