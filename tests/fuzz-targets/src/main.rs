//! Writes the seeds of every target as files: `fiorino-fuzz-seeds <directory>`, for cargo-fuzz (docs/fuzzing.md).

use std::path::PathBuf;

use anyhow::{Context as _, Result};

fn main() -> Result<()> {
    let dir: PathBuf = std::env::args_os().nth(1).context("usage: fiorino-fuzz-seeds <directory>")?.into();
    for target in fiorino_fuzz_targets::ALL {
        let dir = dir.join(target.name);
        fs_err::create_dir_all(&dir)?;
        for (nth, seed) in (target.seeds)().into_iter().enumerate() {
            fs_err::write(dir.join(format!("seed-{nth}")), seed)?;
        }
    }
    Ok(())
}
