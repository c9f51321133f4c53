//! `cargo xtask demo`: from nothing to a paid notice, step by step.

mod manifests;
mod mesh;
mod pagopa;
mod portal;
mod steps;
mod story;
mod trace;

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{Context, Demo};
use crate::installation::Installation;
use crate::report::Report;
use crate::tools::{self, Purpose};
use crate::up::Claim;
use crate::{cargo, say};

use steps::Steps;
pub(crate) use story::Told;

/// Runs the demo in the foreground.
pub(crate) async fn run(context: &Context, options: &Demo) -> Result<()> {
    let claim = Claim::take(context, &options.installed.named.name)?;
    if let Some(report) = &options.installed.report {
        fs_err::remove_file(report).or_else(absent)?;
    }
    let (installation, told, steps) = tokio::select! {
        done = Box::pin(play(context, options)) => done?,
        () = told_to_end() => anyhow::bail!("interrupted"),
    };
    let report = Report::of(&installation, told, steps.done())?;
    if let Some(path) = &options.installed.report {
        report.write(path)?;
    }
    claim.publish(&report)?;
    if !options.exit {
        card(&report, &installation);
        told_to_end().await;
        say::line("  ending");
    }
    installation.stop(false).await
}

/// Starts everything and tells the story; when a step fails, everything ends and the logs stay.
async fn play(context: &Context, options: &Demo) -> Result<(Installation, Told, Steps)> {
    let mut steps = Steps::default();
    let tools = steps.run("tools", Box::pin(tools::ensure(&context.cache, &context.root, Purpose::Demo))).await?;
    let binaries = match &options.installed.binaries {
        Some(dir) => std::path::absolute(dir)?,
        None => steps.run("build", cargo::build_optimised(context)).await?,
    };
    let installation = steps.run("start", Box::pin(Installation::start(&tools, &binaries))).await?;
    match Box::pin(story::tell(context, &installation, &mut steps)).await {
        Ok(told) => Ok((installation, told, steps)),
        Err(error) => {
            installation.stop(true).await?;
            Err(error)
        }
    }
}

/// Ctrl-C, or `cargo xtask down`.
async fn told_to_end() {
    let (terminate, interrupt) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = (terminate, interrupt) else {
        return say::line("  signals cannot be received: ending");
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

fn card(report: &Report, installation: &Installation) {
    let logs = installation.dir.path().join("fiorino");
    println!();
    println!("  kubectl     export KUBECONFIG={}; kubectl get enti --all-namespaces", report.kubeconfig.display());
    println!("  traces      {}/zipkin/", report.traces_url);
    println!("  logs        {}/*.log", logs.display());
    println!("  portal      {}", report.portal_url);
    println!("  node        {}/node/v1/{}", report.node_urls.join(" and "), report.institution.station);
    println!("  simulator   {}", report.simulator_url);
    println!("  gRPC        {} (tenant), {} (reporting)", report.tenant_grpc, report.reporting_grpc);
    println!("  certificate {} and .key", report.clients.dev.cert.display());
    println!("  to be paid  notice {} of {}", report.institution.notice, report.institution.fiscal_code);
    println!("  the end     cargo xtask down, or Ctrl-C where the demo runs");
    println!();
}

fn absent(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
