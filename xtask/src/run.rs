//! Commands of others: their output goes to a log and, line by line, to whoever watches.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

use crate::say;

/// A command that belongs to a step.
#[derive(Debug)]
pub(crate) struct Run {
    step: String,
    program: String,
    command: Command,
}

// === impl Run ===

impl Run {
    /// `step` is the name under which the progress is shown.
    pub(crate) fn new(step: &str, program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(&program);
        command.kill_on_drop(true).stdin(Stdio::null());
        let program = Path::new(&program).file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { step: step.to_owned(), program, command }
    }

    /// Cargo, freed from what the cargo that runs us has set: build scripts that look at it would run again each time.
    pub(crate) fn cargo(step: &str, root: &Path, target: &Path) -> Self {
        let mut run = Self::new(step, "cargo").dir(root).env("CARGO_TARGET_DIR", target);
        for (key, _) in std::env::vars_os() {
            let name = key.to_string_lossy();
            if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"].iter().any(|own| name.starts_with(own)) {
                run.command.env_remove(&key);
            }
        }
        run
    }

    /// One argument.
    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Several arguments.
    pub(crate) fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(args);
        self
    }

    /// One variable of the environment.
    pub(crate) fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// Working directory.
    pub(crate) fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Runs it with its output in `log`; an error shows the end of it.
    pub(crate) async fn logged(mut self, log: PathBuf) -> Result<()> {
        if let Some(dir) = log.parent() {
            fs_err::create_dir_all(dir)?;
        }
        let mut file = fs_err::tokio::File::create(&log).await?;
        let mut child = self
            .command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("failed to start {}", self.program))?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let (lines, mut queue) = tokio::sync::mpsc::channel::<String>(64);
        let readers = [tokio::spawn(forward(out, lines.clone())), tokio::spawn(forward(err, lines))];
        let mut tail = std::collections::VecDeque::new();
        while let Some(text) = queue.recv().await {
            file.write_all(text.as_bytes()).await?;
            file.write_all(b"\n").await?;
            say::detail(&self.step, &text);
            tail.push_back(text);
            if tail.len() > 25 {
                tail.pop_front();
            }
        }
        for reader in readers {
            reader.await?;
        }
        file.flush().await?;
        let status = child.wait().await?;
        if !status.success() {
            let tail: Vec<String> = tail.into();
            bail!("{} ended with {status} (log: {}):\n{}", self.program, log.display(), tail.join("\n"));
        }
        Ok(())
    }

    /// Runs it on the person's terminal.
    pub(crate) async fn inherited(mut self) -> Result<()> {
        let status = self.command.status().await.with_context(|| format!("failed to start {}", self.program))?;
        if !status.success() {
            bail!("{} ended with {status}", self.program);
        }
        Ok(())
    }

    /// Runs it and answers with what it printed; an error shows what it complained about.
    pub(crate) async fn output(mut self) -> Result<String> {
        let output = self.command.output().await.with_context(|| format!("failed to start {}", self.program))?;
        if !output.status.success() {
            let complaint = String::from_utf8_lossy(&output.stderr);
            bail!("{} ended with {}: {}", self.program, output.status, complaint.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Carriage returns separate lines too: progress bars use them.
async fn forward(stream: Option<impl AsyncRead + Unpin>, lines: tokio::sync::mpsc::Sender<String>) {
    let Some(stream) = stream else { return };
    let mut reader = BufReader::new(stream).lines();
    while let Ok(Some(text)) = reader.next_line().await {
        let last = text.rsplit('\r').find(|part| !part.is_empty()).unwrap_or_default().to_owned();
        if lines.send(last).await.is_err() {
            return;
        }
    }
}
