//! A small volume that can be filled: a memory file system in mounts of its own, which nobody else sees and the kernel removes.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::{Process, Spec};

const MOUNT_DEADLINE: Duration = Duration::from_secs(20);
const BALLAST: &str = "ballast";
const BLOCK_BYTES: usize = 64 * 1024;

/// A mounted volume. Dropping it removes it once nobody uses it.
#[derive(Debug)]
pub struct Volume {
    /// Keeps the mounts alive.
    holder: Process,
    path: PathBuf,
}

// === impl Volume ===

impl Volume {
    /// Mounts `size_mb` megabytes at `dir`, which is made. Needs root.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn mount(dir: &Path, size_mb: u32) -> Result<Self> {
        fs_err::create_dir_all(dir)?;
        let log = dir.with_extension("log");
        let script =
            format!("mount -t tmpfs -o size={size_mb}m,mode=0755 tmpfs \"$1\" && echo mounted && exec sleep infinity");
        let spec =
            Spec::new("unshare", &log).args(["--mount", "--propagation=private", "sh", "-c", &script, "sh"]).arg(dir);
        let mut holder = Process::spawn(&spec)?;
        let mounted = async || {
            ensure!(fs_err::read_to_string(&log)?.contains("mounted"), "not mounted yet");
            Ok(())
        };
        holder.wait_ready(MOUNT_DEADLINE, mounted).await?;
        Ok(Self { holder, path: dir.to_owned() })
    }

    /// Where it is, for a process in its mounts ([`Spec::in_mounts_of`]).
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose mounts it is in.
    pub fn holder(&self) -> u32 {
        self.holder.pid()
    }

    /// Where it is for everybody else.
    pub fn from_outside(&self) -> PathBuf {
        let inside = self.path.strip_prefix("/").unwrap_or(&self.path);
        PathBuf::from(format!("/proc/{}/root", self.holder())).join(inside)
    }

    /// Takes all the space that is left.
    ///
    /// # Errors
    /// What the kernel says, but that it is full.
    pub fn fill(&self) -> Result<()> {
        let mut file = fs_err::OpenOptions::new().create(true).append(true).open(self.from_outside().join(BALLAST))?;
        // Ever smaller blocks, to the last page.
        for block in [BLOCK_BYTES, BLOCK_BYTES / 16] {
            let block = vec![0_u8; block];
            loop {
                match file.write_all(&block) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// Gives it back.
    ///
    /// # Errors
    /// When it was not full.
    pub fn free(&self) -> Result<()> {
        Ok(fs_err::remove_file(self.from_outside().join(BALLAST))?)
    }
}
