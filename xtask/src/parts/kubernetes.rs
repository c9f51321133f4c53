//! A private Kubernetes API server with its etcd: no nodes, no controllers, just the API.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use fiorino_rig::servers::{Mode, READY_DEADLINE};
use fiorino_rig::{Process, Signal, Spec, free_port};

use crate::pki::{self, ControlPlanePki};

/// A running API server.
#[derive(Debug)]
pub(crate) struct Kubernetes {
    pub(super) apiserver: Process,
    pub(super) etcd: Process,
    /// Of the administrator.
    pub(crate) kubeconfig: PathBuf,
    /// One JSON object per request.
    pub(crate) audit_log: PathBuf,
}

// === impl Kubernetes ===

impl Kubernetes {
    /// Starts both in `dir`.
    pub(crate) async fn start(bin: &Path, dir: PathBuf, mode: Mode) -> Result<Self> {
        fs_err::create_dir_all(&dir)?;
        let pki = pki::control_plane(&dir.join("pki"))?;
        let (client_port, peer_port, port) = (free_port()?, free_port()?, free_port()?);
        let etcd = Process::spawn(&etcd(bin, &dir, client_port, peer_port, mode))?;
        let audit_log = dir.join("audit.log");
        let policy = dir.join("audit-policy.yaml");
        fs_err::write(&policy, AUDIT_POLICY)?;
        let kubeconfig = dir.join("kubeconfig");
        fs_err::write(&kubeconfig, kubeconfig_for(&pki, port))?;
        let spec = apiserver(bin, &dir, &pki, port)
            .arg(format!("--etcd-servers=http://127.0.0.1:{client_port}"))
            .arg(format!("--audit-policy-file={}", policy.display()))
            .arg(format!("--audit-log-path={}", audit_log.display()));
        let mut kubernetes = Self { apiserver: Process::spawn(&spec)?, etcd, kubeconfig, audit_log };
        let client = client(&pki)?;
        let url = format!("https://127.0.0.1:{port}/readyz");
        let etcd = &mut kubernetes.etcd;
        let ready = kubernetes.apiserver.wait_ready(READY_DEADLINE, async || {
            client.get(&url).send().await?.error_for_status()?;
            Ok(())
        });
        // The API server waits for etcd for ever: an etcd that ended is the better message.
        if let Err(error) = ready.await {
            etcd.ensure_running()?;
            return Err(error);
        }
        Ok(kubernetes)
    }
}

fn etcd(bin: &Path, dir: &Path, client_port: u16, peer_port: u16, mode: Mode) -> Spec {
    let (client, peer) = (format!("http://127.0.0.1:{client_port}"), format!("http://127.0.0.1:{peer_port}"));
    let spec = Spec::new(bin.join("etcd"), dir.join("etcd.log"))
        .arg(format!("--data-dir={}", dir.join("etcd").display()))
        .args(["--name=fiorino", "--log-level=warn"])
        .args([format!("--listen-client-urls={client}"), format!("--advertise-client-urls={client}")])
        .args([format!("--listen-peer-urls={peer}"), format!("--initial-advertise-peer-urls={peer}")])
        .arg(format!("--initial-cluster=fiorino={peer}"))
        .stop_with(Signal::TERM, Duration::from_secs(5));
    if mode == Mode::Fast { spec.arg("--unsafe-no-fsync") } else { spec }
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

fn client(pki: &ControlPlanePki) -> Result<reqwest::Client> {
    let ca = reqwest::Certificate::from_pem(&fs_err::read(&pki.ca)?)?;
    let admin = [fs_err::read(&pki.admin_cert)?, fs_err::read(&pki.admin_key)?].concat();
    let client = reqwest::Client::builder()
        .tls_certs_only([ca])
        .identity(reqwest::Identity::from_pem(&admin)?)
        .timeout(Duration::from_secs(2));
    client.build().context("failed to make a client for the API server")
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
