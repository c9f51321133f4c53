//! A private PostgreSQL cluster.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use fiorino_rig::{Process, Signal, Spec, free_port};

use super::{Mode, READY_DEADLINE};
use crate::run::Run;

/// Superuser of the cluster; loopback is trusted.
const SUPERUSER: &str = "fiorino";

/// A running cluster.
#[derive(Debug)]
pub(crate) struct Postgres {
    pub(super) process: Process,
    port: u16,
}

// === impl Postgres ===

impl Postgres {
    /// Makes and starts a cluster in `dir`.
    pub(crate) async fn start(bin: &Path, dir: PathBuf, mode: Mode) -> Result<Self> {
        fs_err::create_dir_all(&dir)?;
        let user = unprivileged_user().await?;
        if let Some((uid, gid)) = user {
            chown(&dir, Some(uid), Some(gid))?;
        }
        let data = dir.join("data");
        let initdb = Run::new("PostgreSQL", bin.join("initdb"))
            .user(user)
            .dir(&dir)
            .args(["--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"])
            .arg(format!("--username={SUPERUSER}"))
            .arg("--pgdata")
            .arg(&data);
        initdb.output().await.context("failed to make a PostgreSQL cluster")?;
        let port = free_port()?;
        // SIGINT is PostgreSQL's fast shutdown: it waits for no client.
        let mut spec = Spec::new(bin.join("postgres"), dir.join("postgres.log"))
            .dir(&dir)
            .arg("-D")
            .arg(&data)
            .stop_with(Signal::INT, Duration::from_secs(20));
        for setting in settings(port, mode) {
            spec = spec.args(["-c", &setting]);
        }
        if let Some((uid, gid)) = user {
            spec = spec.user(uid, gid);
        }
        let mut postgres = Self { process: Process::spawn(&spec)?, port };
        let probe = bin.join("pg_isready");
        postgres
            .process
            .wait_ready(READY_DEADLINE, async || {
                let ask = Run::new("PostgreSQL", &probe).args(["--host=127.0.0.1", &format!("--port={port}")]);
                ask.output().await.map(drop)
            })
            .await?;
        Ok(postgres)
    }

    /// Its `postgres` database, as superuser.
    pub(crate) fn url(&self) -> String {
        format!("postgres://{SUPERUSER}@127.0.0.1:{}/postgres", self.port)
    }
}

/// PostgreSQL refuses to run as root: there the package's user runs it.
async fn unprivileged_user() -> Result<Option<(u32, u32)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let id = async |what: &str| {
        let printed = Run::new("PostgreSQL", "id").args([what, "postgres"]).output().await?;
        anyhow::Ok(printed.trim().parse::<u32>()?)
    };
    Ok(Some((id("--user").await?, id("--group").await?)))
}

fn settings(port: u16, mode: Mode) -> Vec<String> {
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
    if mode == Mode::Fast {
        let careless = [
            "wal_level=minimal",
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
            "checkpoint_timeout=1h",
            "max_wal_size=4GB",
        ];
        settings.extend(careless.map(str::to_owned));
    }
    settings
}
