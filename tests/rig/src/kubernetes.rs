//! A private Kubernetes API server with its etcd: no nodes, no controllers, just the API.

mod pki;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;

use self::pki::ControlPlanePki;
use crate::{Process, Signal, Spec, free_port};

/// Longer than they need on a busy small machine; a server that ends is noticed at once.
const READY_DEADLINE: Duration = Duration::from_secs(90);

/// A running API server. Dropping it ends it.
#[derive(Debug)]
pub struct Kubernetes {
    // Dropped in this order: the API server goes before its store.
    apiserver: Process,
    etcd: Process,
    /// Of the administrator.
    pub kubeconfig: PathBuf,
    /// One JSON object per request.
    pub audit_log: PathBuf,
    kubectl: PathBuf,
    dir: PathBuf,
    specs: [Spec; 2],
}

// === impl Kubernetes ===

impl Kubernetes {
    /// Starts both from the binaries in `bin`, in `dir`, and waits until they answer; `durable`: what is written survives the machine.
    ///
    /// # Errors
    /// When one does not start; with the end of its log.
    pub async fn start(bin: &Path, dir: PathBuf, durable: bool) -> Result<Self> {
        fs_err::create_dir_all(&dir)?;
        let pki = pki::control_plane(&dir.join("pki"))?;
        let (client_port, peer_port, port) = (free_port()?, free_port()?, free_port()?);
        let etcd = etcd(bin, &dir, client_port, peer_port, durable);
        let audit_log = dir.join("audit.log");
        let policy = dir.join("audit-policy.yaml");
        fs_err::write(&policy, AUDIT_POLICY)?;
        let kubeconfig = dir.join("kubeconfig");
        fs_err::write(&kubeconfig, kubeconfig_for(&pki, port))?;
        let apiserver = apiserver(bin, &dir, &pki, port)
            .arg(format!("--etcd-servers=http://127.0.0.1:{client_port}"))
            .arg(format!("--audit-policy-file={}", policy.display()))
            .arg(format!("--audit-log-path={}", audit_log.display()));
        let running = (Process::spawn(&etcd)?, Process::spawn(&apiserver)?);
        let (kubectl, specs) = (bin.join("kubectl"), [etcd, apiserver]);
        let (etcd, apiserver) = running;
        let mut kubernetes = Self { apiserver, etcd, kubeconfig, audit_log, kubectl, dir, specs };
        kubernetes.ready().await?;
        Ok(kubernetes)
    }

    /// Both processes, by name.
    pub fn processes(&self) -> [(&'static str, &Process); 2] {
        [("etcd", &self.etcd), ("kube-apiserver", &self.apiserver)]
    }

    /// Stops both.
    ///
    /// # Errors
    /// When the kernel refuses a signal.
    pub fn stop(&mut self) -> Result<()> {
        self.apiserver.stop()?;
        self.etcd.stop()?;
        Ok(())
    }

    /// Ends the API server at once (SIGKILL); etcd stays.
    ///
    /// # Errors
    /// When the kernel refuses the signal.
    pub fn kill(&mut self) -> Result<()> {
        self.apiserver.kill().map(drop)
    }

    /// Starts the API server again, on the same port and data, and waits until it answers.
    ///
    /// # Errors
    /// When it does not start; with the end of its log.
    pub async fn restart(&mut self) -> Result<()> {
        self.apiserver.stop()?;
        self.apiserver = Process::spawn(&self.specs[1])?;
        self.ready().await
    }

    /// Stops both, copies what etcd holds to `backup`, and starts them again.
    ///
    /// # Errors
    /// When they do not start, or the copy fails.
    pub async fn backup(&mut self, backup: &Path) -> Result<()> {
        self.stop()?;
        copy(&self.store(), backup)?;
        self.start_again().await
    }

    /// Stops both, puts `backup` in the place of what etcd holds, and starts them again: what was written since is gone.
    ///
    /// # Errors
    /// When they do not start, or the copy fails.
    pub async fn restore(&mut self, backup: &Path) -> Result<()> {
        self.stop()?;
        fs_err::remove_dir_all(self.store())?;
        copy(backup, &self.store())?;
        self.start_again().await
    }

    async fn start_again(&mut self) -> Result<()> {
        let [etcd, apiserver] = &self.specs;
        self.etcd = Process::spawn(etcd)?;
        self.apiserver = Process::spawn(apiserver)?;
        self.ready().await
    }

    fn store(&self) -> PathBuf {
        self.dir.join("etcd")
    }

    async fn ready(&mut self) -> Result<()> {
        let kubeconfig = format!("--kubeconfig={}", self.kubeconfig.display());
        let kubectl = self.kubectl.clone();
        let etcd = &mut self.etcd;
        let ready = self.apiserver.wait_ready(READY_DEADLINE, async || {
            let asked = Command::new(&kubectl)
                .args([kubeconfig.as_str(), "--request-timeout=2s", "get", "--raw=/readyz"])
                .stdin(Stdio::null())
                .kill_on_drop(true)
                .output();
            let answer = asked.await.context("failed to run kubectl")?;
            ensure!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr).trim());
            Ok(())
        });
        // The API server waits for etcd for ever: an etcd that ended is the better message.
        if let Err(error) = ready.await {
            etcd.ensure_running()?;
            return Err(error);
        }
        Ok(())
    }
}

/// Copies a directory.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs_err::create_dir_all(to)?;
    for entry in fs_err::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs_err::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn etcd(bin: &Path, dir: &Path, client_port: u16, peer_port: u16, durable: bool) -> Spec {
    let (client, peer) = (format!("http://127.0.0.1:{client_port}"), format!("http://127.0.0.1:{peer_port}"));
    let spec = Spec::new(bin.join("etcd"), dir.join("etcd.log"))
        .arg(format!("--data-dir={}", dir.join("etcd").display()))
        .args(["--name=fiorino", "--log-level=warn"])
        .args([format!("--listen-client-urls={client}"), format!("--advertise-client-urls={client}")])
        .args([format!("--listen-peer-urls={peer}"), format!("--initial-advertise-peer-urls={peer}")])
        .arg(format!("--initial-cluster=fiorino={peer}"))
        .stop_with(Signal::TERM, Duration::from_secs(5));
    if durable { spec } else { spec.arg("--unsafe-no-fsync") }
}

fn apiserver(bin: &Path, dir: &Path, pki: &ControlPlanePki, port: u16) -> Spec {
    let file = |flag: &str, path: &Path| format!("--{flag}={}", path.display());
    Spec::new(bin.join("kube-apiserver"), dir.join("kube-apiserver.log"))
        .args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", &format!("--secure-port={port}")])
        // Loopback is no valid endpoint of the `kubernetes` service.
        .arg("--endpoint-reconciler-type=none")
        .args([file("tls-cert-file", &pki.server_cert), file("tls-private-key-file", &pki.server_key)])
        .arg(file("client-ca-file", &pki.ca))
        .arg("--service-account-issuer=https://kubernetes.default.svc")
        .args([file("service-account-key-file", &pki.tokens_public)])
        .args([file("service-account-signing-key-file", &pki.tokens_key)])
        .args(["--authorization-mode=RBAC", "--service-cluster-ip-range=10.96.0.0/16"])
        // Without a controller nobody makes the default service account that this plugin asks for; nothing runs here anyway.
        .arg("--disable-admission-plugins=ServiceAccount")
        .stop_with(Signal::TERM, Duration::from_secs(5))
}

fn kubeconfig_for(pki: &ControlPlanePki, port: u16) -> String {
    format!(
        "apiVersion: v1
kind: Config
clusters:
  - name: fiorino
    cluster: {{server: \"https://127.0.0.1:{port}\", certificate-authority: \"{}\"}}
users:
  - name: admin
    user: {{client-certificate: \"{}\", client-key: \"{}\"}}
contexts:
  - name: fiorino
    context: {{cluster: fiorino, user: admin}}
current-context: fiorino
",
        pki.ca.display(),
        pki.admin_cert.display(),
        pki.admin_key.display()
    )
}

/// Who wrote what and when; bodies are not needed, and the server's own bookkeeping would only drown it.
const AUDIT_POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: None
    users: [\"system:apiserver\"]
  - level: None
    nonResourceURLs: [\"/*\"]
  - level: Metadata
";
