//! What outlives a run: tools, jars, binaries, under `~/.cache/fiorino`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

/// The directory of everything that is installed or built once.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    dir: PathBuf,
}

/// A held lock; released on drop, and by the kernel with the process.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: std::fs::File,
}

// === impl Cache ===

impl Cache {
    /// `dir`, or `~/.cache/fiorino`.
    pub(crate) fn open(dir: Option<PathBuf>) -> Result<Self> {
        let dir = match dir {
            Some(dir) => std::path::absolute(dir)?,
            None => std::env::home_dir().context("no home directory: pass --cache DIR")?.join(".cache/fiorino"),
        };
        fs_err::create_dir_all(&dir)?;
        Ok(Self { dir })
    }

    /// A path below it.
    pub(crate) fn join(&self, path: impl AsRef<Path>) -> PathBuf {
        self.dir.join(path)
    }

    /// Installs `<name>/<key>` once over all processes: `fill` works on a directory that becomes it only when all went well.
    pub(crate) async fn install(
        &self,
        name: &str,
        key: &str,
        fill: impl AsyncFnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let done = self.dir.join(name).join(key);
        if done.is_dir() {
            return Ok(done);
        }
        let _lock = self.lock(&format!("{name}/{key}.lock")).await?;
        if done.is_dir() {
            return Ok(done);
        }
        let partial = self.dir.join(name).join(format!("{key}.partial"));
        remove_dir(&partial)?;
        fs_err::create_dir_all(&partial)?;
        fill(&partial).await?;
        fs_err::rename(&partial, &done)?;
        Ok(done)
    }

    /// Waits until nobody else holds the lock of that name.
    pub(crate) async fn lock(&self, name: &str) -> Result<Lock> {
        let path = self.dir.join(name);
        if let Some(dir) = path.parent() {
            fs_err::create_dir_all(dir)?;
        }
        let locked = tokio::task::spawn_blocking(move || {
            let file = fs_err::File::create(&path)?.into_parts().0;
            file.lock().map(|()| Lock { _file: file })
        });
        locked.await?.context("failed to lock the cache")
    }

    /// Takes the lock of that name, or says that somebody else has it.
    pub(crate) fn try_lock(&self, name: &str, taken: &str) -> Result<Lock> {
        let path = self.dir.join(name);
        if let Some(dir) = path.parent() {
            fs_err::create_dir_all(dir)?;
        }
        let file = fs_err::File::create(&path)?.into_parts().0;
        if file.try_lock().is_err() {
            bail!("{taken}");
        }
        Ok(Lock { _file: file })
    }
}

/// A short name for contents: the same parts give the same key.
pub(crate) fn key(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(8).fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Removes a directory that may not be there.
pub(crate) fn remove_dir(path: &Path) -> Result<()> {
    match fs_err::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> (tempfile::TempDir, Cache) {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(dir.path().to_owned())).unwrap();
        (dir, cache)
    }

    #[tokio::test]
    async fn installs_once_also_when_asked_twice_at_the_same_time() {
        let (_dir, cache) = cache();
        let fills = std::sync::atomic::AtomicU32::new(0);
        let install = async || {
            let fill = async |dir: &Path| {
                fills.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                tokio::task::yield_now().await;
                Ok(fs_err::write(dir.join("tool"), "x")?)
            };
            cache.install("tools", "k", fill).await
        };
        let (first, second) = tokio::try_join!(install(), install()).unwrap();
        assert_eq!(first, second);
        assert!(first.join("tool").is_file());
        assert_eq!(fills.into_inner(), 1);
    }

    #[tokio::test]
    async fn a_failed_install_is_tried_again() {
        let (_dir, cache) = cache();
        let failed = cache.install("tools", "k", async |dir| {
            fs_err::write(dir.join("half"), "x")?;
            bail!("no network")
        });
        failed.await.unwrap_err();
        let path = cache.install("tools", "k", async |_| Ok(())).await.unwrap();
        assert!(!path.join("half").exists());
    }

    #[test]
    fn keys_tell_where_a_part_ends() {
        assert_ne!(key(&[b"ab", b"c"]), key(&[b"a", b"bc"]));
    }
}
