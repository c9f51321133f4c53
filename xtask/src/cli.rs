//! The commands.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::cache::Cache;
use crate::{assets, bench, chaos, crds, demo, servers, test, up};

/// What a person runs to try, test and change Fiorino
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
pub(crate) struct Cli {
    /// Where tools, jars and built binaries are kept [default: ~/.cache/fiorino]
    #[arg(long, env = "FIORINO_CACHE", value_name = "DIR", global = true)]
    cache: Option<PathBuf>,
    /// Where cargo builds [default: <cache>/target]
    #[arg(long, env = "CARGO_TARGET_DIR", value_name = "DIR", global = true)]
    target_dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts everything, makes a municipality payable, pays a notice, and stays up until Ctrl-C
    Demo(Demo),
    /// The same in the background; `down` ends it
    Up(Installed),
    /// Ends what `up` or `demo` has started
    Down(Named),
    /// Runs every check and test; starts what they need
    Test(Test),
    /// Measures: load at fixed rates, beside the limits of this machine (docs/benchmarks.md)
    Bench(Bench),
    /// Kills, cuts, hangs and fills everything under load, and compares what was answered with what is there (docs/chaos.md)
    Chaos(Chaos),
    /// Starts the servers that tests need and prints how to use them, until Ctrl-C
    Parts,
    /// Starts everything but operator and services, and writes a script that starts each of these, until Ctrl-C
    Servers(Servers),
    /// Writes the custom resource definitions into the chart
    Crds(Generated),
    /// Makes the style, fonts and icons of the portal from Bootstrap Italia
    Assets(Generated),
    /// The background process of `up`
    #[command(hide = true)]
    Keep(Installed),
}

/// A run's name.
#[derive(Debug, Clone, Args)]
pub(crate) struct Named {
    /// Name of the run: several can be up at the same time
    #[arg(long, default_value = "demo", value_parser = run_name)]
    pub(crate) name: String,
}

/// Options of a run.
#[derive(Debug, Clone, Args)]
pub(crate) struct Installed {
    /// Write what happened and where everything is to this file (docs/report.md)
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Start these binaries and build none
    #[arg(long, value_name = "DIR")]
    pub(crate) binaries: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) named: Named,
}

/// Options of `demo`.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// End everything after the last step; the exit code tells whether all went well
    #[arg(long)]
    pub(crate) exit: bool,
    #[command(flatten)]
    pub(crate) installed: Installed,
}

/// Options of `test`.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Only the tests: no formatting, lints or generated files
    #[arg(long)]
    pub(crate) only_tests: bool,
    /// Only the tests of these packages
    #[arg(long, short, value_name = "PACKAGE")]
    pub(crate) package: Vec<String>,
    /// Threads that do nothing as fast as they can meanwhile: a busy machine breaks no test
    #[arg(long, default_value_t = 0, value_name = "THREADS")]
    pub(crate) busy: usize,
    /// Passed to the test binaries: a filter, `--nocapture`, ...
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    pub(crate) arguments: Vec<String>,
}

/// Options of `bench`.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Write the figures into docs/benchmarks.md
    #[arg(long)]
    pub(crate) write: bool,
    /// Passed to the benchmark: which ones (`verify`, ...), `--notices`, `--duration`, `--help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    pub(crate) arguments: Vec<String>,
}

/// Options of `chaos`.
#[derive(Debug, Args)]
pub(crate) struct Chaos {
    /// How long faults are injected
    #[arg(long, default_value_t = 10)]
    pub(crate) minutes: u64,
    /// Draws the same faults in the same order [default: another one each time]
    #[arg(long)]
    pub(crate) seed: Option<u64>,
}

/// Options of `servers`.
#[derive(Debug, Args)]
pub(crate) struct Servers {
    /// Where scripts, certificates and logs go
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// The cluster whose current context gets the definitions [default: ~/.kube/config]
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

/// Options of what writes generated files.
#[derive(Debug, Args)]
pub(crate) struct Generated {
    /// Write nothing: fail when a file is stale
    #[arg(long)]
    pub(crate) check: bool,
}

/// Where this run works.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// What outlives it.
    pub(crate) cache: Cache,
    /// The workspace.
    pub(crate) root: PathBuf,
    /// Cargo's target directory.
    pub(crate) target: PathBuf,
}

// === impl Cli ===

impl Cli {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let cache = Cache::open(self.cache)?;
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default();
        let target = self.target_dir.unwrap_or_else(|| cache.join("target"));
        let context = Context { cache, root, target: std::path::absolute(target)? };
        match self.command {
            Command::Demo(options) => demo::run(&context, &options).await,
            Command::Up(options) => up::up(&context, &options).await,
            Command::Down(named) => up::down(&context, &named.name).await,
            Command::Keep(options) => up::keep(&context, options).await,
            Command::Test(options) => Box::pin(test::run(&context, &options)).await,
            Command::Bench(options) => Box::pin(bench::run(&context, &options)).await,
            Command::Chaos(options) => Box::pin(chaos::run(&context, &options)).await,
            Command::Parts => Box::pin(test::parts(&context)).await,
            Command::Servers(options) => Box::pin(servers::run(&context, &options)).await,
            Command::Crds(options) => crds::run(&context.root, options.check),
            Command::Assets(options) => Box::pin(assets::run(&context, options.check)).await,
        }
        .map(|()| ExitCode::SUCCESS)
    }
}

/// It becomes the name of a directory.
fn run_name(text: &str) -> Result<String, String> {
    let good = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-';
    match text.len() {
        1..=30 if text.chars().all(good) => Ok(text.to_owned()),
        _ => Err("expected 1 to 30 small letters, digits and dashes".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn filters_reach_the_test_binaries() {
        let cli = Cli::parse_from(["xtask", "test", "-p", "fiorino-domain", "split", "--nocapture"]);
        let Command::Test(test) = cli.command else { panic!("{cli:?}") };
        assert_eq!(test.package, ["fiorino-domain"]);
        assert_eq!(test.arguments, ["split", "--nocapture"]);
    }

    #[rstest::rstest]
    #[case("a b")]
    #[case("../up")]
    #[case("")]
    fn a_run_name_is_a_plain_word(#[case] name: &str) {
        assert!(run_name(name).is_err());
    }
}
