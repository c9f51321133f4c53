//! The directory of one run, which goes with it; what killed runs left behind is swept.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use tempfile::TempDir;

use crate::cache::remove_dir;

const PREFIX: &str = "fiorino-run-";
const LOCK: &str = "lock";

/// A directory below the system's temporary one. Short, and open to be traversed: PostgreSQL runs as another user.
#[derive(Debug)]
pub(crate) struct RunDir {
    dir: TempDir,
    _lock: std::fs::File,
}

// === impl RunDir ===

impl RunDir {
    /// Makes one, and removes those whose owner is gone.
    pub(crate) fn new() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir()?;
        // Locked before it can be swept: a directory without a lock file is left alone.
        let lock = fs_err::File::create(dir.path().join("lock.new"))?.into_parts().0;
        lock.lock()?;
        fs_err::rename(dir.path().join("lock.new"), dir.path().join(LOCK))?;
        fs_err::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711))?;
        sweep(&std::env::temp_dir())?;
        Ok(Self { dir, _lock: lock })
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Leaves it behind, for whoever looks for the reason of a failure.
    pub(crate) fn keep(mut self) -> PathBuf {
        self.dir.disable_cleanup(true);
        // Not to be swept by the next run.
        fs_err::remove_file(self.dir.path().join(LOCK)).unwrap_or_default();
        self.dir.path().to_owned()
    }
}

fn sweep(parent: &Path) -> Result<()> {
    for entry in fs_err::read_dir(parent)?.flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if let (true, Ok(lock)) = (ours, std::fs::File::open(entry.path().join(LOCK)))
            && lock.try_lock().is_ok()
        {
            remove_dir(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_directories_without_an_owner_are_swept() {
        let parent = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let dir = parent.path().join(format!("{PREFIX}{name}"));
            fs_err::create_dir(&dir).unwrap();
            dir
        };
        let (left, held, new) = (make("left"), make("held"), make("new"));
        fs_err::write(left.join(LOCK), "").unwrap();
        let lock = std::fs::File::create(held.join(LOCK)).unwrap();
        lock.lock().unwrap();
        sweep(parent.path()).unwrap();
        assert!(!left.exists());
        assert!(held.exists() && new.exists());
    }
}
