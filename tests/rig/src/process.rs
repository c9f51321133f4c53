//! Child processes that end with their owner: stopped on drop, and by the kernel should the owner be killed.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use rustix::process::{Pid, kill_process};

pub use rustix::process::Signal;

use crate::poll::eventually;

const POLL: Duration = Duration::from_millis(10);

/// What to start and how to stop it.
#[derive(Debug, Clone)]
pub struct Spec {
    program: OsString,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    dir: Option<PathBuf>,
    log: PathBuf,
    user: Option<(u32, u32)>,
    mounts_of: Option<u32>,
    stop: Signal,
    grace: Duration,
}

/// A running child. Dropping it stops it.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    child: Child,
    stop: Signal,
    grace: Duration,
}

// === impl Spec ===

impl Spec {
    /// A program whose output is appended to `log`.
    pub fn new(program: impl AsRef<OsStr>, log: impl Into<PathBuf>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            envs: Vec::new(),
            dir: None,
            log: log.into(),
            user: None,
            mounts_of: None,
            stop: Signal::TERM,
            grace: Duration::from_secs(15),
        }
    }

    /// One argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Several arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// `--name=value`, in the place of the one that is there.
    #[must_use]
    pub fn flag(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        let prefix = format!("--{name}=");
        self.args.retain(|arg| !arg.to_string_lossy().starts_with(&prefix));
        self.arg(format!("{prefix}{value}"))
    }

    /// Another log.
    #[must_use]
    pub fn log(mut self, log: impl Into<PathBuf>) -> Self {
        self.log = log.into();
        self
    }

    /// One variable of the environment.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.envs.push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Working directory; without one, that of the caller.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// User and group to run as; needs root.
    #[must_use]
    pub fn user(mut self, uid: u32, gid: u32) -> Self {
        self.user = Some((uid, gid));
        self
    }

    /// Runs in the mounts of another process; needs root.
    #[must_use]
    pub fn in_mounts_of(mut self, pid: u32) -> Self {
        self.mounts_of = Some(pid);
        self
    }

    /// Signal that asks it to stop, and how long it may take before it is killed. Default: SIGTERM, 15 s.
    #[must_use]
    pub fn stop_with(mut self, signal: Signal, grace: Duration) -> Self {
        self.stop = signal;
        self.grace = grace;
        self
    }

    /// A shell script that does the same, for whoever starts it by hand.
    pub fn script(&self) -> String {
        let quote = |text: &OsString| format!("'{}'", text.to_string_lossy().replace('\'', r"'\''"));
        let dir = self.dir.as_ref().map(|dir| format!("cd {} || exit 1\n", quote(&dir.clone().into_os_string())));
        let exports =
            self.envs.iter().map(|(key, value)| format!("export {}={}\n", key.to_string_lossy(), quote(value)));
        let words: Vec<String> = std::iter::once(&self.program).chain(&self.args).map(quote).collect();
        let lines = std::iter::once("#!/bin/sh\n".to_owned()).chain(dir).chain(exports);
        lines.chain([format!("exec {}\n", words.join(" "))]).collect()
    }

    /// `setpriv` of util-linux asks the kernel to signal the child when its parent dies, then becomes the child: same pid.
    fn command(&self) -> Command {
        // A postmaster that is killed outright leaves shared memory behind; everything else may go at once.
        let farewell = if self.stop == Signal::INT { "INT" } else { "KILL" };
        let mut command = match self.mounts_of {
            Some(pid) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--mount=/proc/{pid}/ns/mnt")).args(["--", "setpriv"]);
                command
            }
            None => Command::new("setpriv"),
        };
        command.args(["--pdeathsig", farewell]);
        if let Some((uid, gid)) = self.user {
            command.args([format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".to_owned()]);
        }
        command.arg("--").arg(&self.program).args(&self.args);
        // What the caller's shell says of Fiorino must not reach the child unasked.
        for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("FIORINO_")) {
            command.env_remove(key);
        }
        command.envs(self.envs.iter().map(|(key, value)| (key, value)));
        // A Ctrl-C at the terminal is the owner's to handle.
        command.process_group(0);
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        command
    }
}

// === impl Process ===

impl Process {
    /// Starts it; waits for nothing.
    ///
    /// # Errors
    /// When the log cannot be opened or the program cannot be started.
    pub fn spawn(spec: &Spec) -> Result<Self> {
        let name = Path::new(&spec.program).file_name().unwrap_or(&spec.program).to_string_lossy().into_owned();
        let log = fs_err::OpenOptions::new().create(true).append(true).open(&spec.log)?.into_parts().0;
        let mut command = spec.command();
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = from_lasting_thread(command).with_context(|| format!("failed to start {name}"))?;
        Ok(Self { name, log: spec.log.clone(), child, stop: spec.stop, grace: spec.grace })
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// File name of the program.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// File that holds its output.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How it ended, if it did.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// An error with the end of the log, if it has ended: for readiness polls.
    ///
    /// # Errors
    /// When it has ended.
    pub fn ensure_running(&mut self) -> Result<()> {
        match self.exited()? {
            None => Ok(()),
            Some(status) => Err(anyhow!("{} ended with {status}:\n{}", self.name, self.log_tail(20))),
        }
    }

    /// Polls `ready` until it answers `Ok`. A process that has ended is not asked again.
    ///
    /// # Errors
    /// When it has ended, or the last answer at the deadline; with the end of the log.
    pub async fn wait_ready(&mut self, deadline: Duration, mut ready: impl AsyncFnMut() -> Result<()>) -> Result<()> {
        let verdict: Result<Result<()>> = eventually(deadline, async || {
            if let Err(error) = self.ensure_running() {
                return anyhow::Ok(Err(error));
            }
            ready().await.map(Ok)
        })
        .await;
        verdict.with_context(|| format!("{} did not become ready:\n{}", self.name, self.log_tail(20)))?
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// When it still runs at the deadline.
    pub async fn ended(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let name = self.name.clone();
        let ended = eventually(deadline, async || self.exited()?.context("it still runs")).await;
        ended.with_context(|| format!("{name} did not end"))
    }

    /// The same, and it must have succeeded.
    ///
    /// # Errors
    /// When it still runs at the deadline, or failed; with the end of the log.
    pub async fn finish(mut self, deadline: Duration) -> Result<()> {
        let status = self.ended(deadline).await?;
        ensure!(status.success(), "{} ended with {status}:\n{}", self.name, self.log_tail(20));
        Ok(())
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.pid())?).context("a pid is positive")?;
        kill_process(pid, signal).with_context(|| format!("failed to signal {} ({})", self.name, self.pid()))
    }

    /// Asks it to stop, kills it when its grace has passed, and waits for the end.
    ///
    /// # Errors
    /// When the kernel refuses a signal or does not tell the end.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        self.signal(self.stop)?;
        let mut waited = Duration::ZERO;
        while waited < self.grace {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(POLL);
            waited += POLL;
        }
        self.kill()
    }

    /// Ends it at once (SIGKILL) and waits for the end.
    ///
    /// # Errors
    /// When the kernel refuses the signal or does not tell the end.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.child.kill()?;
        Ok(self.child.wait()?)
    }

    /// The last lines of its output.
    pub fn log_tail(&self, lines: usize) -> String {
        let text = fs_err::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nobody is left to tell: the kernel has the last word through the death signal.
        drop(self.stop());
    }
}

/// The kernel sends the death signal when the *thread* that started the child ends, so one thread starts them all.
fn from_lasting_thread(command: Command) -> Result<Child> {
    type Job = (Command, SyncSender<std::io::Result<Child>>);
    static SPAWNER: OnceLock<SyncSender<Job>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, queue) = sync_channel::<Job>(16);
        std::thread::spawn(move || {
            for (mut command, answer) in queue {
                answer.send(command.spawn()).unwrap_or_default();
            }
        });
        jobs
    });
    let (answer, child) = sync_channel(1);
    spawner.send((command, answer)).context("the starting thread is gone")?;
    Ok(child.recv().context("the starting thread is gone")??)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(dir: &Path, script: &str) -> Process {
        Process::spawn(&Spec::new("sh", dir.join("log")).args(["-c", script])).unwrap()
    }

    #[test]
    fn stops_on_drop() {
        let dir = tempfile::tempdir().unwrap();
        let process = sleeper(dir.path(), "exec sleep 60");
        let proc_entry = PathBuf::from(format!("/proc/{}", process.pid()));
        assert!(proc_entry.exists());
        drop(process);
        assert!(!proc_entry.exists());
    }

    #[test]
    fn outlives_the_thread_that_asked_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        let mut process = std::thread::spawn(move || sleeper(&path, "exec sleep 60")).join().unwrap();
        process.ensure_running().unwrap();
    }

    #[test]
    fn tells_how_it_ended_and_what_it_said() {
        let dir = tempfile::tempdir().unwrap();
        let mut process = sleeper(dir.path(), "echo cannot bind; exit 3");
        let status = process.child.wait().unwrap();
        assert_eq!(status.code(), Some(3));
        let text = process.ensure_running().unwrap_err().to_string();
        assert!(text.contains("cannot bind"), "{text}");
    }

    #[test]
    fn a_script_keeps_what_the_shell_would_take_apart() {
        let spec = Spec::new("printf", "/dev/null").args(["%s|", "it's", "two words"]).arg("$HOME").env("A", "'");
        let output = Command::new("sh").args(["-c", &spec.script()]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "it's|two words|$HOME|");
    }

    #[tokio::test]
    async fn is_not_waited_for_when_it_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let mut process = sleeper(dir.path(), "echo no such database; exit 1");
        let never = process.wait_ready(Duration::from_hours(1), async || Err(anyhow!("refused"))).await;
        assert!(never.unwrap_err().to_string().contains("no such database"));
    }
}
