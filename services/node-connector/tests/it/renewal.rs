//! Certificates are replaced under load: no request is dropped, a broken file changes nothing, and metrics tell the ends.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use fiorino_test_support::{
    Process, Spec,
    certs::{Identity, Leaf, Usage},
    eventually, free_port,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    process::flags,
    rig::{
        Rig, SOON,
        messages::{self, NOTICE},
    },
};

/// Two looks of the listener at its files.
const RELOADED: Duration = Duration::from_secs(20);

/// A process with the listener for the node, and who calls it.
struct Served {
    rig: Rig,
    process: Process,
    mtls: u16,
    admin: u16,
}

/// What a caller asks.
struct Caller {
    url: String,
    message: String,
}

/// Calls that were made, all of them answered.
#[derive(Debug, Default)]
struct Calls {
    kept: AtomicU64,
    anew: AtomicU64,
}

// === impl Served ===

impl Served {
    /// With the authority in `bundle.crt` and the server's certificate in `server.crt` and `server.key`.
    async fn start() -> Self {
        let rig = Rig::start().await;
        let [plain, mtls, admin] = [(); 3].map(|()| free_port().unwrap());
        let (dir, own) = (rig.mesh.dir().to_owned(), rig.mesh.node_server());
        for (from, to) in [(&own.cert, "server.crt"), (&own.key, "server.key"), (&own.ca, "bundle.crt")] {
            std::fs::copy(from, dir.join(to)).unwrap();
        }
        let file = |name: &str| dir.join(name).display().to_string();
        let more = [
            format!("--listen-mtls=127.0.0.1:{mtls}"),
            format!("--node-cert={}", file("server.crt")),
            format!("--node-key={}", file("server.key")),
            format!("--node-client-ca={}", file("bundle.crt")),
            "--node-client-names=node,next".to_owned(),
        ];
        let program = env!("CARGO_BIN_EXE_fiorino-node-connector");
        let flags = flags(&rig, plain, admin).into_iter().chain(more);
        let process = Process::spawn(&Spec::new(program, dir.join("renewal.log")).args(flags)).unwrap();
        let mut served = Self { rig, process, mtls, admin };
        let url = format!("http://127.0.0.1:{admin}/readyz");
        let ready = async || {
            ensure!(reqwest::get(&url).await?.status().is_success());
            Ok(())
        };
        served.process.wait_ready(SOON, ready).await.unwrap();
        served
    }

    fn dir(&self) -> &Path {
        self.rig.mesh.dir()
    }

    fn client(&self, identity: &Identity) -> reqwest::Client {
        connect(&self.rig.mesh.node_server().ca, identity)
    }

    fn caller(&self) -> Caller {
        Caller {
            url: format!("https://localhost:{}/node/v1/{}", self.mtls, self.rig.names.station),
            message: messages::verify(&self.rig.names, NOTICE),
        }
    }

    async fn call(&self, client: &reqwest::Client) -> Result<()> {
        self.caller().call(client).await
    }

    /// Value of the one series of a metric with these labels.
    async fn metric(&self, name: &str, labels: &[&str]) -> Result<f64> {
        let text = reqwest::get(format!("http://127.0.0.1:{}/metrics", self.admin)).await?.text().await?;
        let mut lines = text.lines().filter(|line| line.starts_with(&format!("{name}{{")));
        let line = lines.find(|line| labels.iter().all(|label| line.contains(label)));
        let line = line.with_context(|| format!("{name} {labels:?} is missing in {text}"))?;
        Ok(line.rsplit(' ').next().unwrap_or_default().parse()?)
    }

    /// The certificates of the server that a scrape tells of.
    async fn server_series(&self) -> Result<Vec<String>> {
        let text = reqwest::get(format!("http://127.0.0.1:{}/metrics", self.admin)).await?.text().await?;
        let of_server =
            |line: &&str| line.starts_with("node_certificate_expiry_seconds{") && line.contains("of=\"server\"");
        Ok(text.lines().filter(of_server).map(str::to_owned).collect())
    }

    async fn reloads(&self, outcome: &str, at_least: f64) {
        let label = format!("outcome=\"{outcome}\"");
        eventually(RELOADED, async || {
            let count = self.metric("node_certificate_reloads_total", &[&label]).await?;
            ensure!(count >= at_least, "{count} {outcome}");
            Ok(())
        })
        .await
        .unwrap();
    }

    fn issue(&self, file: &str, names: &[&str], usage: Usage) -> Identity {
        let leaf = Leaf { common_name: names[0], organisation: None, names, usages: &[usage] };
        let (cert, key) = self.rig.mesh.node_authority().issue_into(self.dir(), file, &leaf).unwrap();
        Identity { cert, key, ca: self.rig.mesh.node_server().ca }
    }
}

// === impl Caller ===

impl Caller {
    async fn call(&self, client: &reqwest::Client) -> Result<()> {
        let request = client.post(&self.url).header("Content-Type", "text/xml").body(self.message.clone());
        let answer = request.send().await?.text().await?;
        ensure!(answer.contains("<outcome>OK</outcome>"), "{answer}");
        Ok(())
    }

    /// Without a pause until `token` is cancelled, on one connection or each time on a new one; a call that fails ends it.
    async fn keep_calling(
        self,
        connect: impl Fn() -> reqwest::Client,
        anew: bool,
        calls: Arc<Calls>,
        token: CancellationToken,
    ) -> Result<()> {
        let mut client = connect();
        while !token.is_cancelled() {
            if anew {
                client = connect();
            }
            self.call(&client).await.with_context(|| format!("after {calls:?}"))?;
            let count = if anew { &calls.anew } else { &calls.kept };
            count.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_replaced_without_a_dropped_request() {
    let served = Served::start().await;
    let (calls, token) = (Arc::new(Calls::default()), CancellationToken::new());
    let mut callers = JoinSet::new();
    for anew in [false, true] {
        let (authority, identity) = (served.rig.mesh.node_server().ca, served.rig.mesh.node_client());
        let connect = move || connect(&authority, &identity);
        callers.spawn(served.caller().keep_calling(connect, anew, Arc::clone(&calls), token.clone()));
    }
    let first = served.server_series().await.unwrap();
    assert_eq!(first.len(), 1, "{first:?}");

    // The server's certificate, its files one after the other, as a copy in place does.
    let renewed = served.issue("renewed", &["localhost", "127.0.0.1"], Usage::Server);
    std::fs::copy(&renewed.cert, served.dir().join("server.crt")).unwrap();
    std::fs::copy(&renewed.key, served.dir().join("server.key")).unwrap();
    served.reloads("reloaded", 1.0).await;
    // The clients': the authority gives way to two pinned leaves.
    let next = served.issue("next", &["next"], Usage::Server);
    let present = std::fs::read(served.rig.mesh.node_client().cert).unwrap();
    std::fs::write(served.dir().join("bundle.crt"), [present, std::fs::read(&next.cert).unwrap()].concat()).unwrap();
    served.reloads("reloaded", 2.0).await;
    served.call(&served.client(&next)).await.unwrap();
    let after = (calls.kept.load(Ordering::Relaxed), calls.anew.load(Ordering::Relaxed));
    eventually(SOON, async || {
        let now = (calls.kept.load(Ordering::Relaxed), calls.anew.load(Ordering::Relaxed));
        ensure!(now.0 > after.0 + 20 && now.1 > after.1 + 5, "{now:?} after {after:?}");
        Ok(())
    })
    .await
    .unwrap();
    token.cancel();
    while let Some(caller) = callers.join_next().await {
        caller.unwrap().unwrap();
    }

    // The metric tells of the new certificate and no longer of the old one.
    let second = served.server_series().await.unwrap();
    assert!(second.len() == 1 && second[0].split('}').next() != first[0].split('}').next(), "{first:?} {second:?}");
    for name in ["name=\"node\"", "name=\"next\""] {
        let left = served.metric("node_certificate_expiry_seconds", &["of=\"pin\"", name]).await.unwrap();
        assert!(left > 86_400.0, "{left}");
    }
    served.metric("node_certificate_expiry_seconds", &["of=\"authority\""]).await.unwrap_err();
}

#[tokio::test]
async fn a_broken_file_keeps_what_was_served_and_is_told() {
    let served = Served::start().await;
    let present = served.client(&served.rig.mesh.node_client());
    let left = served.metric("node_certificate_expiry_seconds", &["of=\"authority\""]).await.unwrap();
    assert!(left > 86_400.0, "{left}");
    // A key of another certificate, then no PEM at all.
    let other = served.issue("other", &["localhost"], Usage::Server);
    std::fs::copy(&other.key, served.dir().join("server.key")).unwrap();
    served.reloads("failed", 1.0).await;
    served.call(&served.client(&served.rig.mesh.node_client())).await.unwrap();
    std::fs::write(served.dir().join("bundle.crt"), "nonsense").unwrap();
    served.reloads("failed", 2.0).await;
    served.call(&present).await.unwrap();
    let log = std::fs::read_to_string(served.process.log()).unwrap();
    let told = log.lines().filter(|line| line.contains("failed to reload the certificates")).count();
    assert!(told >= 1 && log.contains("ERROR"), "{log}");
    // Mended: taken over.
    std::fs::copy(served.rig.mesh.node_server().key, served.dir().join("server.key")).unwrap();
    std::fs::copy(served.rig.mesh.node_client().cert, served.dir().join("bundle.crt")).unwrap();
    served.reloads("reloaded", 1.0).await;
    served.call(&present).await.unwrap();
}

#[tokio::test]
async fn a_client_that_was_taken_off_the_list_loses_its_kept_connection() {
    let served = Served::start().await;
    let gone = served.client(&served.rig.mesh.node_client());
    served.call(&gone).await.unwrap();
    let next = served.issue("next", &["next"], Usage::Client);
    std::fs::copy(&next.cert, served.dir().join("bundle.crt")).unwrap();
    served.reloads("reloaded", 1.0).await;
    served.call(&served.client(&next)).await.unwrap();
    eventually(SOON, async || {
        ensure!(served.call(&gone).await.is_err(), "still served");
        Ok(())
    })
    .await
    .unwrap();
}

fn connect(authority: &Path, Identity { cert, key, .. }: &Identity) -> reqwest::Client {
    let authority = std::fs::read(authority).unwrap();
    let pem = [std::fs::read(cert).unwrap(), std::fs::read(key).unwrap()].concat();
    reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(&authority).unwrap()])
        .identity(reqwest::Identity::from_pem(&pem).unwrap())
        .http1_only()
        .build()
        .unwrap()
}
