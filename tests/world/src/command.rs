//! Programs that are run to their end.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// Runs a program with `input` and answers with what it printed; an error shows what it complained about.
pub(crate) async fn run(program: &Path, args: &[&str], input: &str) -> Result<String> {
    let name = program.display();
    let mut child = Command::new(program)
        .args(args)
        .kill_on_drop(true)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("failed to start {name}"))?;
    // Dropped after writing: the end of the input.
    child.stdin.take().context("stdin is piped")?.write_all(input.as_bytes()).await?;
    let output = child.wait_with_output().await?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} {} failed: {}", args.join(" "), complaint.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
