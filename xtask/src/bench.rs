//! `cargo xtask bench`: figures beside the limits of this machine, on servers that store as in production.

use anyhow::{Context as _, Result};

use crate::cli::{Bench, Context};
use crate::parts::{Mode, Parts, RunDir};
use crate::run::Run;
use crate::test::until_interrupted;
use crate::tools::{self, Purpose};
use crate::{cargo, say};

/// Where the figures are read.
const PAGE: &str = "docs/benchmarks.md";
/// What stands between these lines in the page is written by `--write`.
const MARKS: (&str, &str) = ("<!-- figures -->\n", "<!-- end of figures -->\n");

/// What sleeps while the node's calls are measured.
const CLUSTER: [&str; 2] = ["kube-apiserver", "etcd"];

/// Builds, starts the servers, measures.
pub(crate) async fn run(context: &Context, options: &Bench) -> Result<()> {
    Box::pin(until_interrupted(measure(context, options))).await
}

async fn measure(context: &Context, options: &Bench) -> Result<()> {
    let tools = Box::pin(tools::ensure(&context.cache, &context.root, Purpose::Test)).await?;
    let binaries = cargo::build_optimised(context).await?;
    cargo::build_benchmark(context).await?;
    let dir = RunDir::new()?;
    let mut parts = Parts::start(&tools, dir.path(), Mode::Stock).await?;
    let cluster = parts.processes().into_iter().filter(|(name, _)| CLUSTER.contains(name));
    let cluster: Vec<String> = cluster.map(|(_, process)| process.pid().to_string()).collect();
    let figures = dir.path().join("figures.md");
    let mut bench = Run::new("bench", binaries.join("fiorino-bench")).args(&options.arguments);
    if options.write {
        bench = bench.arg("--write").arg(&figures);
    }
    for (name, value) in crate::test::environment(context, &tools, &parts) {
        bench = bench.env(name, value);
    }
    let done = bench.env("FIORINO_BENCH_CLUSTER", cluster.join(",")).inherited().await;
    parts.stop();
    done?;
    if options.write {
        write(context, options, &fs_err::read_to_string(&figures)?)?;
    }
    Ok(())
}

/// Puts the figures into the page, with where and when they were taken.
#[expect(clippy::disallowed_methods, reason = "a page says on which day it was written")]
fn write(context: &Context, options: &Bench, figures: &str) -> Result<()> {
    let page = context.root.join(PAGE);
    let text = fs_err::read_to_string(&page)?;
    let (before, rest) = text.split_once(MARKS.0).with_context(|| format!("{PAGE} has no place for figures"))?;
    let (_, after) = rest.split_once(MARKS.1).with_context(|| format!("{PAGE} has no end of figures"))?;
    let command = ["cargo xtask bench --write".to_owned()].into_iter().chain(options.arguments.iter().cloned());
    let command = command.collect::<Vec<_>>().join(" ");
    let machine = machine()?;
    let today = jiff::Zoned::now().in_tz("Europe/Rome")?.date();
    let told = format!("`{command}` on {machine}, {today}.\n\n{figures}");
    fs_err::write(&page, format!("{before}{}{told}{}{after}", MARKS.0, MARKS.1))?;
    say::line(&format!("  written to {PAGE}"));
    Ok(())
}

/// Processor, cores, memory.
fn machine() -> Result<String> {
    let cpuinfo = fs_err::read_to_string("/proc/cpuinfo")?;
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches([' ', '\t', ':']);
    let meminfo = fs_err::read_to_string("/proc/meminfo")?;
    let kib: u64 = meminfo.split_whitespace().nth(1).context("no memory")?.parse()?;
    let cores = std::thread::available_parallelism()?;
    Ok(format!("{cores} cores of {model}, {} GiB", kib.div_ceil(1024 * 1024)))
}
