//! A cluster that goes back in time, by what an administrator does: a base backup, the archived write-ahead log, a moment.

use std::os::unix::fs::chown;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::READY_DEADLINE;
use super::postgres::{ARCHIVE, Postgres, SUPERUSER};
use crate::{Process, Spec};

/// A base backup of a cluster.
#[derive(Debug)]
pub struct BaseBackup {
    dir: PathBuf,
}

// === impl Postgres ===

impl Postgres {
    /// Takes a base backup (`pg_basebackup`), named so; the cluster was started with [`super::Mode::Archived`].
    ///
    /// # Errors
    /// What the program complains about.
    pub async fn back_up(&self, name: &str) -> Result<BaseBackup> {
        let dir = self.dir.join(name);
        self.run(
            "pg_basebackup",
            &[
                "--host=127.0.0.1",
                &format!("--port={}", self.port),
                &format!("--username={SUPERUSER}"),
                "--checkpoint=fast",
                "--no-sync",
                &format!("--pgdata={}", dir.display()),
            ],
        )
        .await?;
        Ok(BaseBackup { dir })
    }

    /// Gives this moment a name to which the cluster can be brought back, and archives the log up to it.
    ///
    /// # Errors
    /// What the server says.
    pub async fn mark(&self, moment: &str) -> Result<()> {
        self.sql(&format!("select pg_create_restore_point('{moment}'); select pg_switch_wal()")).await
    }

    /// Stops the cluster as a crash does, puts a base backup in its place and replays the archived log up to a moment. It is promoted then:
    /// the same server on another timeline.
    ///
    /// # Errors
    /// When it does not come back.
    pub async fn go_back(&mut self, backup: &BaseBackup, moment: &str) -> Result<()> {
        self.crash().await?;
        let data = self.dir.join("data");
        fs_err::rename(&data, self.dir.join(format!("data-before-{moment}")))?;
        let (from, to) = (backup.dir.display().to_string(), data.display().to_string());
        self.run("cp", &["--archive", &from, &to]).await?;
        let archive = self.dir.join(ARCHIVE);
        let recovery = format!(
            "restore_command = 'cp {}/%f %p'\nrecovery_target_name = '{moment}'\nrecovery_target_action = 'promote'\n",
            archive.display()
        );
        let settings = data.join("postgresql.auto.conf");
        fs_err::write(&settings, fs_err::read_to_string(&settings)? + &recovery)?;
        let signal = data.join("recovery.signal");
        fs_err::write(&signal, "")?;
        if let Some((uid, gid)) = self.user {
            chown(&signal, Some(uid), Some(gid))?;
        }
        self.start_again().await?;
        // It takes connections that only read before it is promoted.
        self.sql("select pg_promote(true) where pg_is_in_recovery()").await?;
        Ok(())
    }

    async fn sql(&self, statements: &str) -> Result<()> {
        let url = self.url();
        self.run(
            "psql",
            &["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", &format!("--dbname={url}"), "--command", statements],
        )
        .await
    }

    /// Runs a program as the cluster's user; those of PostgreSQL by their name.
    async fn run(&self, program: &str, args: &[&str]) -> Result<()> {
        let own = self.bin.join(program);
        let path = if own.is_file() { own } else { PathBuf::from(program) };
        let spec = Spec::new(path, self.dir.join(format!("{program}.log"))).dir(&self.dir).args(args);
        let spec = self.user.into_iter().fold(spec, |spec, (uid, gid)| spec.user(uid, gid));
        Process::spawn(&spec)?.finish(READY_DEADLINE).await.with_context(|| format!("failed to run {program}"))
    }
}
