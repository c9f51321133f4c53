//! A private PostgreSQL cluster.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;

use super::{Mode, READY_DEADLINE, Volume};
use crate::{Process, Signal, Spec, free_port};

/// Superuser of the cluster; loopback is trusted.
pub(super) const SUPERUSER: &str = "fiorino";
/// Where the write-ahead log goes, in the cluster's directory.
pub(super) const ARCHIVE: &str = "archive";
/// The user whom Debian's package makes.
const SYSTEM_USER: &str = "postgres";

/// A running cluster.
#[derive(Debug)]
pub struct Postgres {
    process: Process,
    spec: Spec,
    /// Where PostgreSQL's programs are, and what this cluster has.
    pub(super) bin: PathBuf,
    pub(super) dir: PathBuf,
    pub(super) user: Option<(u32, u32)>,
    pub(super) port: u16,
}

// === impl Postgres ===

impl Postgres {
    /// Makes and starts a cluster in `dir`; `bin` holds PostgreSQL's programs.
    ///
    /// # Errors
    /// What `initdb` or the server complains about.
    pub async fn start(bin: &Path, dir: PathBuf, mode: Mode) -> Result<Self> {
        Self::start_on(bin, dir, mode, None).await
    }

    /// The same with its data, but not its write-ahead log, on a volume.
    ///
    /// # Errors
    /// What `initdb` or the server complains about.
    pub async fn start_on(bin: &Path, dir: PathBuf, mode: Mode, volume: Option<&Volume>) -> Result<Self> {
        fs_err::create_dir_all(&dir)?;
        let user = unprivileged_user()?;
        if let Some((uid, gid)) = user {
            chown(&dir, Some(uid), Some(gid))?;
        }
        let data = volume.map_or_else(|| dir.join("data"), |volume| volume.path().join("data"));
        let within = |spec: Spec| {
            let spec = volume.into_iter().fold(spec.dir(&dir), |spec, volume| spec.in_mounts_of(volume.holder()));
            user.into_iter().fold(spec, |spec, (uid, gid)| spec.user(uid, gid))
        };
        if let (Some(volume), Some((uid, gid))) = (volume, user) {
            chown(volume.from_outside(), Some(uid), Some(gid))?;
        }
        let initdb = Spec::new(bin.join("initdb"), dir.join("initdb.log"))
            .args(["--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"])
            .arg(format!("--username={SUPERUSER}"))
            .arg(format!("--waldir={}", dir.join("wal").display()))
            .arg("--pgdata")
            .arg(&data);
        Process::spawn(&within(initdb))?.finish(READY_DEADLINE).await.context("failed to make a PostgreSQL cluster")?;
        let port = free_port()?;
        // SIGINT is PostgreSQL's fast shutdown: it waits for no client.
        let spec = Spec::new(bin.join("postgres"), dir.join("postgres.log"))
            .arg("-D")
            .arg(&data)
            .args(settings(port, mode, &dir).iter().flat_map(|setting| ["-c", setting]))
            .stop_with(Signal::INT, Duration::from_secs(20));
        let spec = within(spec);
        if mode == Mode::Archived {
            fs_err::create_dir_all(dir.join(ARCHIVE))?;
            if let Some((uid, gid)) = user {
                chown(dir.join(ARCHIVE), Some(uid), Some(gid))?;
            }
        }
        let process = Process::spawn(&spec)?;
        let mut postgres = Self { process, spec, bin: bin.to_owned(), dir, user, port };
        postgres.ready().await?;
        Ok(postgres)
    }

    /// Its `postgres` database, as superuser.
    pub fn url(&self) -> String {
        format!("postgres://{SUPERUSER}@127.0.0.1:{}/postgres", self.port)
    }

    /// The postmaster.
    pub const fn process(&self) -> &Process {
        &self.process
    }

    /// The postmaster, to be stopped.
    pub const fn process_mut(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Ends it as a crash does, nothing being written any more (`pg_ctl stop -m immediate`).
    ///
    /// # Errors
    /// When it does not end.
    pub async fn crash(&mut self) -> Result<()> {
        self.process.signal(Signal::QUIT)?;
        self.process.ended(READY_DEADLINE).await.map(drop)
    }

    /// Starts it again, on the same port, and waits until it has recovered.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn restart(&mut self) -> Result<()> {
        self.process.stop()?;
        self.start_again().await
    }

    /// Starts it again where it was stopped.
    pub(super) async fn start_again(&mut self) -> Result<()> {
        self.process = Process::spawn(&self.spec)?;
        self.ready().await
    }

    async fn ready(&mut self) -> Result<()> {
        let (probe, port) = (self.bin.join("pg_isready"), format!("--port={}", self.port));
        self.process
            .wait_ready(READY_DEADLINE, async || {
                let mut ask = Command::new(&probe);
                ask.args(["--host=127.0.0.1", &port]).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
                ensure!(ask.status().await?.success(), "it takes no connections yet");
                Ok(())
            })
            .await
    }
}

/// PostgreSQL refuses to run as root: there the package's user runs it.
fn unprivileged_user() -> Result<Option<(u32, u32)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let users = fs_err::read_to_string("/etc/passwd")?;
    let user = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == SYSTEM_USER).then_some(())?;
        Some((fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
    });
    user.map(Some).with_context(|| format!("there is no user {SYSTEM_USER}: PostgreSQL does not run as root"))
}

fn settings(port: u16, mode: Mode, dir: &Path) -> Vec<String> {
    let archive = format!("archive_command=cp %p {}/%f", dir.join(ARCHIVE).display());
    let mut settings = vec![
        format!("port={port}"),
        "listen_addresses=127.0.0.1".to_owned(),
        "unix_socket_directories=".to_owned(),
        "max_connections=400".to_owned(),
        "shared_buffers=128MB".to_owned(),
        "max_wal_senders=0".to_owned(),
        "jit=off".to_owned(),
        "log_min_messages=warning".to_owned(),
    ];
    let of_mode: &[&str] = match mode {
        // As somebody runs it who writes much: a checkpoint every 15 minutes, not every gigabyte.
        Mode::Durable => &[
            "checkpoint_timeout=15min",
            "max_wal_size=8GB",
            "min_wal_size=4GB",
            "wal_compression=lz4",
            "track_wal_io_timing=on",
        ],
        Mode::Archived => &["wal_level=replica", "max_wal_senders=4", "archive_mode=on", &archive],
        Mode::Fast => &[
            "wal_level=minimal",
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
            "checkpoint_timeout=1h",
            "max_wal_size=4GB",
        ],
    };
    settings.extend(of_mode.iter().map(|setting| (*setting).to_owned()));
    settings
}
