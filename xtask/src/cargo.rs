//! What cargo does for us: binaries and checks.

use std::path::PathBuf;

use anyhow::Result;

use crate::cli::Context;
use crate::run::Run;
use crate::say;
use crate::tools;

/// Binaries of the demo.
const BINARIES: [&str; 7] = [
    "fiorino-operator",
    "fiorino-tenant",
    "fiorino-node-connector",
    "fiorino-reporting",
    "fiorino-front-office",
    "fiorino-simulator",
    "fiorino-otlp-sink",
];

/// Builds what the demo starts, optimised, and answers with its directory.
pub(crate) async fn build_optimised(context: &Context) -> Result<PathBuf> {
    const STEP: &str = "build (profile perf)";
    let packages = BINARIES.iter().flat_map(|name| ["--package", name]);
    let build = Run::cargo(STEP, &context.root, &context.target)
        .args(["build", "--profile=perf", "--bins", "--locked"])
        .args(packages);
    say::step(STEP, build.logged(context.cache.join("logs/build.log"))).await?;
    Ok(context.target.join("perf"))
}

/// Builds the benchmark. Apart from what it measures: its dependencies want other features of the same crates.
pub(crate) async fn build_benchmark(context: &Context) -> Result<()> {
    const STEP: &str = "build (benchmark)";
    let build = Run::cargo(STEP, &context.root, &context.target).args([
        "build",
        "--profile=perf",
        "--bins",
        "--locked",
        "--package=fiorino-bench",
    ]);
    say::step(STEP, build.logged(context.cache.join("logs/build-bench.log"))).await
}

/// Builds what no Tiltfile builds.
pub(crate) async fn build_helpers(context: &Context) -> Result<()> {
    const STEP: &str = "build (simulator)";
    let build = Run::cargo(STEP, &context.root, &context.target).args([
        "build",
        "--bins",
        "--locked",
        "--package=fiorino-simulator",
        "--package=fiorino-otlp-sink",
    ]);
    say::step(STEP, build.logged(context.cache.join("logs/build-helpers.log"))).await
}

/// Builds what the long run of chaos starts: with debug assertions, which its named points need. Answers with its directory.
pub(crate) async fn build_chaos(context: &Context) -> Result<PathBuf> {
    const STEP: &str = "build (chaos)";
    let packages = BINARIES.iter().chain(&["fiorino-chaos"]).flat_map(|name| ["--package", name]);
    let build = Run::cargo(STEP, &context.root, &context.target).args(["build", "--bins", "--locked"]).args(packages);
    say::step(STEP, build.logged(context.cache.join("logs/build-chaos.log"))).await?;
    Ok(context.target.join("debug"))
}

/// Builds every test and every binary that tests start.
pub(crate) async fn build_tests(context: &Context) -> Result<()> {
    const STEP: &str = "build (tests)";
    // All targets at once: features are those that `cargo test --workspace` wants, so that it finds everything built.
    let build =
        Run::cargo(STEP, &context.root, &context.target).args(["build", "--workspace", "--all-targets", "--locked"]);
    say::step(STEP, build.logged(context.cache.join("logs/build-tests.log"))).await
}

/// Formatting.
pub(crate) async fn check_format(context: &Context) -> Result<()> {
    const STEP: &str = "cargo fmt";
    let fmt = Run::cargo(STEP, &context.root, &context.target).args(["fmt", "--all", "--check"]);
    say::step(STEP, fmt.logged(context.cache.join("logs/fmt.log"))).await
}

/// Licences, banned crates and sources of the dependencies: deny.toml.
pub(crate) async fn check_dependencies(context: &Context) -> Result<()> {
    const STEP: &str = "cargo deny";
    let deny = tools::deny::ensure(&context.cache, &context.root).await?;
    let check = Run::new(STEP, deny).dir(&context.root).args(["--locked", "check", "bans", "licenses", "sources"]);
    say::step(STEP, check.logged(context.cache.join("logs/deny.log"))).await
}

/// Lints; a warning is an error.
pub(crate) async fn check_lints(context: &Context) -> Result<()> {
    const STEP: &str = "cargo clippy";
    let clippy = Run::cargo(STEP, &context.root, &context.target).args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]);
    say::step(STEP, clippy.logged(context.cache.join("logs/clippy.log"))).await
}
