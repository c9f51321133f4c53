//! Certificate, key and accepted clients of the listener for the node, reloaded when their files change (ARCHITECTURE.md 3.7):
//! the node's certificate is replaced yearly within days, and no restart may be needed for it.

use std::{path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use fiorino_kit::{clock::Clock, error::chain};
use rustls::{ServerConfig, server::NoServerSessionStorage};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject as _};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::client_auth::{self, Accepted, Expiring, NodeClients};
use crate::metrics::Metrics;

/// Between looks at the files.
const RELOAD: Duration = Duration::from_secs(5);
/// Changed files must say the same again after this: who copies a file in place has not finished at once.
const SETTLED: Duration = Duration::from_millis(300);
/// Looks at the files between which connections keep the verdict on their client: windows open and close meanwhile.
const LOOKS_PER_CHECK: u32 = 12;

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("failed to read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Certificate or key is no PEM.
    #[error("failed to parse {}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What the reader says.
        source: rustls_pki_types::pem::Error,
    },
    /// rustls refuses certificate or key: they do not belong together, for one.
    #[error("failed to use the certificate of the mtls listener")]
    Tls(#[from] rustls::Error),
    /// The accepted client certificates cannot be used.
    #[error("failed to use the node's client certificates ({files})")]
    Clients {
        /// Bundle and pins.
        files: String,
        /// What is wrong.
        source: client_auth::Error,
    },
}

/// The certificate that the stations' URL is served with, and who may call it.
#[derive(Debug, Clone)]
pub struct MtlsFiles {
    /// PEM chain of the server certificate, leaf first.
    pub cert: PathBuf,
    /// PEM key of the leaf.
    pub key: PathBuf,
    /// PEM bundle: the node's client certificate, its authority, or several of either.
    pub client_ca: Option<PathBuf>,
    /// YAML list of pins with windows.
    pub client_pins: Option<PathBuf>,
    /// Exact DNS names of which a certificate signed by an authority of the bundle must carry one.
    pub client_names: Vec<String>,
    /// Without names: let in whomever an authority of the bundle signed.
    pub client_any_name: bool,
}

/// The files as last read.
pub(super) struct Tls {
    files: MtlsFiles,
    clock: Clock,
    loaded: ArcSwap<Loaded>,
    /// Told when connections are to look at their client's certificate again.
    check: watch::Sender<()>,
}

struct Loaded {
    contents: Contents,
    acceptor: TlsAcceptor,
    clients: Arc<NodeClients>,
    server: Option<Expiring>,
}

#[derive(PartialEq, Eq)]
struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Vec<u8>,
    client_pins: Vec<u8>,
}

// === impl Tls ===

impl Tls {
    pub(super) async fn load(files: &MtlsFiles, clock: Clock) -> Result<Self, Error> {
        let loaded = ArcSwap::from_pointee(Loaded::new(files, Contents::read(files).await?)?);
        Ok(Self { files: files.clone(), clock, loaded, check: watch::Sender::new(()) })
    }

    /// For the next connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.loaded.load().acceptor.clone()
    }

    /// What is to be renewed, and when.
    pub(super) fn expiring(&self) -> Vec<Expiring> {
        let loaded = self.loaded.load();
        loaded.server.iter().cloned().chain(loaded.clients.expiring()).collect()
    }

    /// Returns when a client that was let in is not the node any more: its pin was removed, its window has closed.
    pub(super) async fn is_refused(&self, chain: &[CertificateDer<'_>]) {
        let mut check = self.check.subscribe();
        let Some((leaf, chain)) = chain.split_first() else { return };
        while check.changed().await.is_ok() {
            let clients = Arc::clone(&self.loaded.load().clients);
            let now = u64::try_from(self.clock.now().as_second()).unwrap_or_default();
            if clients.check(leaf, chain, UnixTime::since_unix_epoch(Duration::from_secs(now))).is_err() {
                return;
            }
        }
    }

    /// Follows the files for ever. What cannot be used changes nothing.
    pub(super) async fn follow(&self, metrics: &Metrics) {
        let mut told = None;
        for look in 1_u32.. {
            tokio::time::sleep(RELOAD).await;
            let reloaded = match self.reload().await {
                Ok(reloaded) => {
                    told = None;
                    reloaded
                }
                Err(error) => {
                    metrics.reloaded("failed");
                    let error = chain(&error);
                    // Once for each mistake: the counter goes on.
                    if told.as_ref() != Some(&error) {
                        tracing::error!(
                            error,
                            "failed to reload the certificates of the listener for the node, serving with the last ones"
                        );
                    }
                    told = Some(error);
                    false
                }
            };
            if reloaded {
                metrics.reloaded("reloaded");
                tracing::info!("certificates of the listener for the node reloaded");
            }
            if reloaded || look.is_multiple_of(LOOKS_PER_CHECK) {
                self.check.send_replace(());
            }
        }
    }

    async fn reload(&self) -> Result<bool, Error> {
        let contents = Contents::read(&self.files).await?;
        if contents == self.loaded.load().contents {
            return Ok(false);
        }
        tokio::time::sleep(SETTLED).await;
        if contents != Contents::read(&self.files).await? {
            return Ok(false); // being written: the next look will tell
        }
        self.loaded.store(Arc::new(Loaded::new(&self.files, contents)?));
        Ok(true)
    }
}

// === impl Loaded ===

impl Loaded {
    /// TLS 1.2 and 1.3, HTTP/1.1.
    fn new(files: &MtlsFiles, contents: Contents) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let pem = |path: &PathBuf| {
            let path = path.clone();
            move |source| Error::Pem { path, source }
        };
        let certificates =
            CertificateDer::pem_slice_iter(&contents.cert).collect::<Result<Vec<_>, _>>().map_err(pem(&files.cert))?;
        let key = PrivateKeyDer::from_pem_slice(&contents.key).map_err(pem(&files.key))?;
        let accepted = Accepted {
            bundle: &contents.client_ca,
            pins: &contents.client_pins,
            names: &files.client_names,
            any_name: files.client_any_name,
        };
        let clients = NodeClients::parse(&accepted, Arc::clone(&provider))
            .map_err(|source| Error::Clients { files: files.of_clients(), source })?;
        let clients = Arc::new(clients);
        let server = certificates.first().and_then(client_auth::expiry);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS12, &rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::<NodeClients>::clone(&clients))
            .with_single_cert(certificates, key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // A session that is resumed is not verified again: a pin whose window has closed would go on.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self { contents, acceptor: TlsAcceptor::from(Arc::new(config)), clients, server })
    }
}

// === impl MtlsFiles ===

impl MtlsFiles {
    fn of_clients(&self) -> String {
        let files = self.client_ca.iter().chain(&self.client_pins);
        files.map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    }
}

// === impl Contents ===

impl Contents {
    async fn read(files: &MtlsFiles) -> Result<Self, Error> {
        Ok(Self {
            cert: read(&files.cert).await?,
            key: read(&files.key).await?,
            client_ca: read_if(files.client_ca.as_ref()).await?,
            client_pins: read_if(files.client_pins.as_ref()).await?,
        })
    }
}

async fn read_if(path: Option<&PathBuf>) -> Result<Vec<u8>, Error> {
    match path {
        Some(path) => read(path).await,
        None => Ok(Vec::new()),
    }
}

async fn read(path: &PathBuf) -> Result<Vec<u8>, Error> {
    tokio::fs::read(path).await.map_err(|source| Error::Read { path: path.clone(), source })
}
