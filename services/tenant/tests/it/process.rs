//! The binary: waits for its database, becomes ready, serves, ends in order.

use std::{io::Write as _, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use fiorino_tenant::MIGRATIONS;
use fiorino_test_support::{Parts, Process, Signal, Spec, certs::Mesh, eventually, free_port};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    fixture::{PATIENCE, arguments, channel, mesh},
    manifest::Manifest,
};

struct Tenant {
    process: Process,
    grpc: u16,
    admin: u16,
    mesh: Arc<Mesh>,
}

impl Tenant {
    fn spawn(database_url: &str) -> Self {
        let (mesh, grpc, admin) = (mesh(), free_port().unwrap(), free_port().unwrap());
        let log = mesh.dir().join(format!("tenant-{grpc}.log"));
        let spec = Spec::new(env!("CARGO_BIN_EXE_fiorino-tenant"), log)
            .args(arguments(&mesh, database_url, grpc))
            .arg(format!("--admin-listen=127.0.0.1:{admin}"));
        let process = Process::spawn(&spec).unwrap();
        Self { process, grpc, admin, mesh }
    }

    /// The answer of the admin port.
    async fn get(&self, path: &str) -> Result<String> {
        let mut connection = TcpStream::connect(("127.0.0.1", self.admin)).await?;
        let mut request = Vec::new();
        write!(request, "GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")?;
        connection.write_all(&request).await?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    async fn answers(&self, path: &str, status: &str) {
        self.says(path, status, "").await;
    }

    async fn says(&self, path: &str, status: &str, text: &str) {
        let probe = async || {
            let answer = self.get(path).await?;
            let line = answer.lines().next().context("an empty answer")?;
            ensure!(line.contains(status) && answer.contains(text), "{path}: {answer}");
            Ok(())
        };
        eventually(PATIENCE, probe).await.unwrap_or_else(|error: anyhow::Error| {
            panic!("{error:#}\n{}", std::fs::read_to_string(self.process.log()).unwrap_or_default())
        });
    }

    async fn ends_in_order(mut self) -> String {
        self.process.signal(Signal::TERM).unwrap();
        let probe = async || self.process.exited()?.context("still running");
        let status = eventually(PATIENCE, probe).await.unwrap();
        let log = std::fs::read_to_string(self.process.log()).unwrap();
        assert!(status.success(), "{status}\n{log}");
        drop(self.mesh);
        log
    }
}

/// Runs `migrate` to its end; whether it succeeded, and its last line.
async fn migrate(database_url: &str, more: &[&str]) -> (bool, String) {
    let mesh = mesh();
    let log = mesh.dir().join(format!("migrate-{}.log", free_port().unwrap()));
    let arguments = ["migrate".to_owned(), format!("--database-url={database_url}")];
    let spec = Spec::new(env!("CARGO_BIN_EXE_fiorino-tenant"), log).args(arguments).args(more);
    let mut process = Process::spawn(&spec).unwrap();
    let status = eventually(PATIENCE, async || process.exited()?.context("still running")).await.unwrap();
    (status.success(), process.log_tail(1))
}

#[tokio::test]
async fn on_an_empty_database_it_waits_for_the_command_that_migrates_then_serves_and_ends_in_order() {
    let database = Parts::get().empty_database().await.unwrap();
    let tenant = Tenant::spawn(&database.url);
    tenant.says("/readyz", "503", "waiting for listener, schema (the database has no version of its schema yet").await;
    tenant.answers("/livez", "200").await;
    let (migrated, last_line) = migrate(&database.url, &[]).await;
    assert!(migrated && last_line.contains("the schema is up to date"), "{last_line}");
    tenant.answers("/readyz", "200").await;
    let address = ([127, 0, 0, 1], tenant.grpc).into();
    let mut client =
        fiorino_proto::config::v1::config_apply_client::ConfigApplyClient::new(channel(&[address], "operator"));
    let fence = fiorino_proto::config::v1::AcquireFenceRequest {
        lease_uid: "lease".into(),
        lease_transitions: 1,
        platform: crate::fixture::PLATFORM.into(),
    };
    let fence = client.acquire_fence(fence).await.unwrap().into_inner().fence;
    let request = fiorino_proto::config::v1::ApplyBundleRequest { fence, ..Manifest::new().bundle() };
    assert_eq!(client.apply_bundle(request).await.unwrap().into_inner().config_seq, 1);
    let log = tenant.ends_in_order().await;
    assert!(log.contains("bundle applied") && !log.contains("panicked"), "{log}");
    // The audit keeps on whose behalf.
    let actors: Vec<String> =
        sqlx::query_scalar("select distinct actor from config_resource").fetch_all(&database.pool).await.unwrap();
    assert_eq!(actors, ["operator"]);
}

#[tokio::test]
async fn a_migration_that_cannot_be_done_is_told_by_exit_code_and_last_line() {
    let away = format!("postgres://nobody@127.0.0.1:{}/none", free_port().unwrap());
    let (migrated, last_line) = migrate(&away, &["--tries=1"]).await;
    assert!(!migrated && last_line.contains("failed to migrate"), "{last_line}");
}

#[tokio::test]
async fn it_waits_for_a_database_that_is_away_alive_but_not_ready() {
    let tenant = Tenant::spawn(&format!("postgres://nobody@127.0.0.1:{}/none", free_port().unwrap()));
    tenant.answers("/livez", "200").await;
    tenant.answers("/readyz", "503").await;
    tenant.ends_in_order().await;
}

#[tokio::test]
async fn a_person_lets_a_lease_lead_again() {
    let database = Parts::get().migrated("tenant", &MIGRATIONS).await.unwrap();
    for statement in [
        "insert into fence_lease (platform, lease_uid, superseded) values ('fiorino', 'first', true), ('fiorino', 'second', false)",
        "insert into fence (platform, fence, lease_uid, lease_transitions) values ('fiorino', 2, 'second', 0)",
    ] {
        sqlx::query(statement).execute(&database.pool).await.unwrap();
    }
    let run = async |lease: &str| {
        let url = format!("--database-url={}", database.url);
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_fiorino-tenant"));
        let output = command.args(["fence", "allow", lease, "--platform=fiorino", &url]).output().await.unwrap();
        let told = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
        (output.status.success(), told)
    };
    for (lease, works, text) in [
        ("third", false, "no lease third ever led"),
        ("second", false, "nothing has to be allowed"),
        ("first", true, "the lease first may lead fiorino again"),
        ("first", false, "nothing has to be allowed"),
    ] {
        let (worked, told) = run(lease).await;
        assert!(worked == works && told.contains(text), "{lease}: {told}");
    }
    let kept: Vec<String> =
        sqlx::query_scalar("select lease_uid from fence_allowance").fetch_all(&database.pool).await.unwrap();
    assert_eq!(kept, ["first"]);
}
