//! What tests find outside of their crate: contracts and samples, binaries, interpreters.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// The root of the workspace.
pub fn workspace_root() -> &'static Path {
    // tests/rig is two levels below it.
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The official contracts: `FIORINO_CONTRACTS`, default `../shared/contracts`. `None` = the test skips itself; what was
/// skipped is listed by `cargo xtask test`.
///
/// # Panics
/// In continuous integration (`CI` set), where nothing may be skipped.
pub fn contracts() -> Option<PathBuf> {
    outside("FIORINO_CONTRACTS", "../shared/contracts")
}

/// Real messages and files: `FIORINO_SAMPLES`, default `../shared/samples`. `None` = the test skips itself.
///
/// # Panics
/// In continuous integration (`CI` set), where nothing may be skipped.
pub fn samples() -> Option<PathBuf> {
    outside("FIORINO_SAMPLES", "../shared/samples")
}

/// A binary of this workspace, as built beside the running test or in `FIORINO_BIN_DIR`.
///
/// # Errors
/// When it was not built.
pub fn binary(name: &str) -> Result<PathBuf> {
    let dir = match variable("FIORINO_BIN_DIR") {
        Some(dir) => PathBuf::from(dir),
        // <target>/<profile>/deps/<test>
        None => std::env::current_exe()?.ancestors().nth(2).context("a test lies in deps/")?.to_owned(),
    };
    let path = dir.join(name);
    ensure!(path.is_file(), "{} was not built: run the tests by `cargo xtask test`", path.display());
    Ok(path)
}

/// A Python that has the SOAP client of xtask/tools/python.
///
/// # Errors
/// When `cargo xtask test` did not say where it is.
pub fn python() -> Result<PathBuf> {
    let python = variable("FIORINO_TEST_PYTHON").context("FIORINO_TEST_PYTHON is not set: run `cargo xtask test`")?;
    Ok(python.into())
}

/// The directory of `helm` and `kubeconform`.
///
/// # Errors
/// When `cargo xtask test` did not say where it is.
pub fn helm_bin() -> Result<PathBuf> {
    Ok(variable("FIORINO_TEST_HELM").context("FIORINO_TEST_HELM is not set: run `cargo xtask test`")?.into())
}

/// The directory of `grpcurl`.
///
/// # Errors
/// When `cargo xtask test` did not say where it is.
pub fn grpcurl_bin() -> Result<PathBuf> {
    Ok(variable("FIORINO_TEST_GRPCURL").context("FIORINO_TEST_GRPCURL is not set: run `cargo xtask test`")?.into())
}

/// The directory of `kube-apiserver`, `etcd` and `kubectl`.
///
/// # Errors
/// When `cargo xtask test` did not say where it is.
pub fn kubernetes_bin() -> Result<PathBuf> {
    Ok(variable("FIORINO_TEST_KUBERNETES")
        .context("FIORINO_TEST_KUBERNETES is not set: run `cargo xtask test`")?
        .into())
}

/// The directory with the `node_modules` of xtask/tools/web: what drives a browser.
///
/// # Errors
/// When `cargo xtask test` did not say where it is.
pub fn web() -> Result<PathBuf> {
    Ok(variable("FIORINO_TEST_WEB").context("FIORINO_TEST_WEB is not set: run `cargo xtask test`")?.into())
}

/// A variable that `cargo xtask test` sets; an empty one is none.
#[expect(clippy::disallowed_methods, reason = "tests have no command line: the environment is their configuration")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[expect(clippy::print_stderr, reason = "a skip is told")]
fn outside(name: &str, default: &str) -> Option<PathBuf> {
    let path = variable(name).map_or_else(|| workspace_root().join(default), PathBuf::from);
    if path.is_dir() {
        return Some(path);
    }
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let why = format!("{test}: {name} is absent ({})", path.display());
    assert!(variable("CI").is_none_or(|ci| ci == "false"), "skipped {why}");
    eprintln!("skipped {why}");
    if let Some(list) = variable("FIORINO_TEST_SKIPS") {
        let appended = std::fs::OpenOptions::new().create(true).append(true).open(list);
        appended.and_then(|mut file| writeln!(file, "{why}")).unwrap_or_default();
    }
    None
}
