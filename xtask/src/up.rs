//! `up` and `down`: the demo without a terminal, and its end.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::cache::{Cache, Lock};
use crate::cli::{Context, Demo, Installed};
use crate::report::Report;
use crate::{demo, say};

/// Ending all processes takes seconds; their graces add up to this at worst.
const END_DEADLINE: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(100);

/// What `down` needs to know.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    pid: u32,
    /// Of the process, in clock ticks since boot: another process with the same number has another one.
    started_ticks: u64,
    /// Absent while it is still starting.
    report: Option<Report>,
}

/// The right to a run's name; given back on drop.
#[derive(Debug)]
pub(crate) struct Claim {
    state: PathBuf,
    _lock: Lock,
}

/// Starts the demo in the background and waits until it is up.
pub(crate) async fn up(context: &Context, options: &Installed) -> Result<()> {
    let dir = run_dir(&context.cache, &options.named.name);
    fs_err::create_dir_all(&dir)?;
    let (log, report) = (dir.join("log"), dir.join("report.json"));
    remove(&report)?;
    if let Some(path) = &options.report {
        remove(path)?;
    }
    let output = fs_err::File::create(&log)?.into_parts().0;
    let binaries = options.binaries.iter().flat_map(|dir| [Path::new("--binaries"), dir]);
    let mut keeper = Command::new(std::env::current_exe()?)
        .args(["keep", "--name", &options.named.name, "--report"])
        .arg(&report)
        .args(binaries)
        .env("FIORINO_CACHE", context.cache.join(""))
        .env("CARGO_TARGET_DIR", &context.target)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .context("failed to start the background process")?;
    let told = tokio::select! {
        told = follow(&mut keeper, &log, &report) => told,
        _ = tokio::signal::ctrl_c() => Err(anyhow!("interrupted")),
    };
    if let Err(error) = told {
        end(keeper.id()).await?;
        return Err(error);
    }
    if let Some(path) = &options.report {
        fs_err::copy(&report, path)?;
    }
    say::line(&format!("  up; log in {}; `cargo xtask down` ends it", log.display()));
    Ok(())
}

/// The background process: the demo, in a session of its own.
pub(crate) async fn keep(context: &Context, options: Installed) -> Result<()> {
    rustix::process::setsid().context("failed to leave the terminal")?;
    demo::run(context, &Demo { exit: false, installed: options }).await
}

/// Ends a run and waits until nothing of it is left.
pub(crate) async fn down(context: &Context, name: &str) -> Result<()> {
    let path = run_dir(&context.cache, name).join("state.json");
    let Ok(text) = fs_err::read_to_string(&path) else {
        say::line(&format!("  nothing called {name} is up"));
        return Ok(());
    };
    let state: State = serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
    if started_ticks(state.pid).ok() == Some(state.started_ticks) {
        say::step(&format!("end of {name}"), end(Some(state.pid))).await?;
    }
    remove(&path.with_file_name("report.json"))?;
    remove(&path)
}

// === impl Claim ===

impl Claim {
    /// Takes the name, unless another run has it.
    pub(crate) fn take(context: &Context, name: &str) -> Result<Self> {
        let taken =
            format!("a run called {name} is up: `cargo xtask down --name {name}` ends it, --name gives another name");
        let lock = context.cache.try_lock(&format!("run/{name}/lock"), &taken)?;
        let claim = Self { state: run_dir(&context.cache, name).join("state.json"), _lock: lock };
        claim.write(None)?;
        Ok(claim)
    }

    /// Keeps the report beside the state, for whoever looks.
    pub(crate) fn publish(&self, report: &Report) -> Result<()> {
        self.write(Some(report.clone()))
    }

    fn write(&self, report: Option<Report>) -> Result<()> {
        let pid = std::process::id();
        let state = State { pid, started_ticks: started_ticks(pid)?, report };
        Ok(fs_err::write(&self.state, serde_json::to_string_pretty(&state)?)?)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        remove(&self.state).unwrap_or_default();
    }
}

/// Shows what the background process says until it has written its report.
async fn follow(keeper: &mut Child, log: &Path, report: &Path) -> Result<()> {
    let mut shown = 0;
    loop {
        let done = report.exists();
        let ended = keeper.try_wait()?;
        let text = fs_err::read(log)?;
        let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
        for line in String::from_utf8_lossy(&text[shown..whole.max(shown)]).lines() {
            say::line(line);
        }
        shown = whole.max(shown);
        if done {
            return Ok(());
        }
        if let Some(status) = ended {
            bail!("the background process ended with {status} (log: {})", log.display());
        }
        sleep(POLL).await;
    }
}

/// Asks a process to end and waits for it.
async fn end(pid: Option<u32>) -> Result<()> {
    let Some(pid) = pid else { return Ok(()) };
    let target = Pid::from_raw(i32::try_from(pid)?).context("a pid is positive")?;
    if kill_process(target, Signal::TERM).is_err() {
        return Ok(());
    }
    let ended = async {
        while is_running(pid) {
            sleep(POLL).await;
        }
    };
    timeout(END_DEADLINE, ended).await.map_err(|_| anyhow!("process {pid} does not end"))
}

/// A zombie has ended: only its parent has not looked yet.
fn is_running(pid: u32) -> bool {
    stat(pid).is_ok_and(|stat| !stat.starts_with('Z'))
}

fn started_ticks(pid: u32) -> Result<u64> {
    // Field 22 of the line; the state is field 3.
    let stat = stat(pid)?;
    Ok(stat.split_whitespace().nth(19).context("a short stat line")?.parse()?)
}

/// From the state on: the name before it may hold spaces and brackets.
fn stat(pid: u32) -> Result<String> {
    let line = fs_err::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = line.rsplit_once(") ").context("a stat line without a name")?;
    Ok(rest.to_owned())
}

fn run_dir(cache: &Cache, name: &str) -> PathBuf {
    cache.join("run").join(name)
}

fn remove(path: &Path) -> Result<()> {
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> (tempfile::TempDir, Context) {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(dir.path().to_owned())).unwrap();
        (dir, Context { cache, root: "/".into(), target: "/".into() })
    }

    #[test]
    fn a_name_is_taken_once_and_given_back() {
        let (_dir, context) = context();
        let claim = Claim::take(&context, "a").unwrap();
        let told = Claim::take(&context, "a").unwrap_err().to_string();
        assert!(told.contains("cargo xtask down --name a"), "{told}");
        Claim::take(&context, "b").unwrap();
        drop(claim);
        Claim::take(&context, "a").unwrap();
    }

    #[tokio::test]
    async fn down_leaves_a_stranger_with_the_same_number_alone() {
        let (_dir, context) = context();
        let mut stranger = Command::new("sleep").arg("60").kill_on_drop(true).spawn().unwrap();
        let dir = run_dir(&context.cache, "demo");
        fs_err::create_dir_all(&dir).unwrap();
        let state = State { pid: stranger.id().unwrap(), started_ticks: 1, report: None };
        fs_err::write(dir.join("state.json"), serde_json::to_string(&state).unwrap()).unwrap();
        down(&context, "demo").await.unwrap();
        assert!(stranger.try_wait().unwrap().is_none());
        assert!(!dir.join("state.json").exists());
    }

    #[tokio::test]
    async fn down_ends_what_the_state_names() {
        let (_dir, context) = context();
        let mut keeper = Command::new("sleep").arg("60").kill_on_drop(true).spawn().unwrap();
        let pid = keeper.id().unwrap();
        let dir = run_dir(&context.cache, "demo");
        fs_err::create_dir_all(&dir).unwrap();
        let state = State { pid, started_ticks: started_ticks(pid).unwrap(), report: None };
        fs_err::write(dir.join("state.json"), serde_json::to_string(&state).unwrap()).unwrap();
        down(&context, "demo").await.unwrap();
        assert!(!keeper.wait().await.unwrap().success());
    }
}
