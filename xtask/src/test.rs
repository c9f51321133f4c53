//! `cargo xtask test`: checks, then every test against servers that are started once.

use std::path::Path;
use std::{hint, thread};

use anyhow::Result;
use tokio::signal::ctrl_c;

use crate::cli::{Context, Test};
use crate::parts::{Mode, Parts, RunDir};
use crate::run::Run;
use crate::tools::{self, Purpose, Tools};
use crate::{assets, cargo, crds, say};

/// Packages whose tests start the binaries of all others.
const BLACK_BOX: [&str; 2] = ["fiorino-e2e", "fiorino-chaos"];

/// Runs the checks and the tests.
pub(crate) async fn run(context: &Context, options: &Test) -> Result<()> {
    until_interrupted(check_and_test(context, options)).await
}

/// Starts the servers and prints the environment in which `cargo test` finds them.
pub(crate) async fn parts(context: &Context) -> Result<()> {
    let serve = async {
        let tools = Box::pin(tools::ensure(&context.cache, &context.root, Purpose::Test)).await?;
        let dir = RunDir::new()?;
        let parts = Parts::start(&tools, dir.path(), Mode::Fast).await?;
        for (name, value) in environment(context, &tools, &parts) {
            println!("export {name}={value}");
        }
        say::line("  Ctrl-C ends the servers");
        std::future::pending().await
    };
    until_interrupted(serve).await
}

async fn check_and_test(context: &Context, options: &Test) -> Result<()> {
    // Who asks for a package waits for its tests, not for the rest.
    let everything = options.package.is_empty();
    let checks = everything && !options.only_tests;
    if checks {
        cargo::check_format(context).await?;
    }
    let tools = Box::pin(tools::ensure(&context.cache, &context.root, Purpose::Test)).await?;
    if checks {
        say::step("custom resource definitions", async { crds::run(&context.root, true) }).await?;
        say::step("assets of the portal", Box::pin(assets::run(context, true))).await?;
        cargo::check_dependencies(context).await?;
        cargo::check_lints(context).await?;
    }
    if everything || options.package.iter().any(|package| BLACK_BOX.contains(&package.as_str())) {
        cargo::build_tests(context).await?;
    }
    Box::pin(with_parts(context, &tools, options)).await
}

/// Dropped work ends its processes and removes its directories.
pub(crate) async fn until_interrupted(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::select! {
        result = Box::pin(work) => result,
        _ = ctrl_c() => anyhow::bail!("interrupted"),
    }
}

async fn with_parts(context: &Context, tools: &Tools, options: &Test) -> Result<()> {
    let dir = RunDir::new()?;
    let mut parts = Parts::start(tools, dir.path(), Mode::Fast).await?;
    let skips = dir.path().join("skipped");
    let mut test =
        Run::cargo("cargo test", &context.root, &context.target).args(["test", "--no-fail-fast", "--locked"]);
    test = match options.package.as_slice() {
        [] => test.arg("--workspace"),
        packages => test.args(packages.iter().flat_map(|package| ["--package", package])),
    };
    for (name, value) in environment(context, tools, &parts) {
        test = test.env(name, value);
    }
    for _ in 0..options.busy {
        // They end with this process.
        thread::spawn(|| {
            loop {
                hint::spin_loop();
            }
        });
    }
    let result = test.env("FIORINO_TEST_SKIPS", &skips).arg("--").args(&options.arguments).inherited().await;
    parts.stop();
    // Nothing follows the results of a run in which all went well: they are what one looks for at the end of a log.
    if let Ok(skipped) = fs_err::read_to_string(&skips) {
        say::line(&format!("skipped:\n{skipped}"));
    }
    if result.is_err() {
        say::line(&format!("the servers' logs: {}", dir.keep().display()));
    }
    result
}

/// Where tests and benchmarks find the servers and tools.
pub(crate) fn environment(context: &Context, tools: &Tools, parts: &Parts) -> Vec<(&'static str, String)> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::iter::once(tools.kubernetes.clone()).chain(std::env::split_paths(&path));
    let path = std::env::join_paths(dirs).unwrap_or(path).to_string_lossy().into_owned();
    let text = |path: &Path| path.display().to_string();
    let mut environment = vec![
        ("CARGO_TARGET_DIR", text(&context.target)),
        ("FIORINO_BIN_DIR", text(&context.target.join("debug"))),
        ("FIORINO_TEST_DATABASE_URL", parts.postgres.url()),
        ("FIORINO_TEST_KAFKA", parts.kafka.brokers.clone()),
        ("FIORINO_TEST_KAFKA_JARS", text(&tools.kafka)),
        ("FIORINO_TEST_KUBECONFIG", text(&parts.kubernetes.kubeconfig)),
        ("FIORINO_TEST_AUDIT_LOG", text(&parts.kubernetes.audit_log)),
        ("FIORINO_TEST_KUBERNETES", text(&tools.kubernetes)),
        ("PATH", path),
    ];
    environment.extend(tools.helm.iter().map(|bin| ("FIORINO_TEST_HELM", text(bin))));
    environment.extend(tools.grpcurl.iter().map(|bin| ("FIORINO_TEST_GRPCURL", text(bin))));
    environment.extend(tools.python.iter().map(|python| ("FIORINO_TEST_PYTHON", text(python))));
    environment.extend(tools.web.iter().map(|web| ("FIORINO_TEST_WEB", text(web))));
    environment
}
