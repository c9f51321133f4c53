//! Certificate, key and accepted clients of the listener for the node, reloaded when their files change (ARCHITECTURE.md 3.7):
//! the node's certificate is replaced yearly within days, and no restart may be needed for it.

use std::{path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio_rustls::TlsAcceptor;

use super::client_auth::{self, NodeClients};

/// Between looks at the files.
const RELOAD: Duration = Duration::from_secs(5);

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
    /// rustls refuses certificate or key.
    #[error("failed to use the certificate of the mtls listener")]
    Tls(#[from] rustls::Error),
    /// The accepted client certificates cannot be used.
    #[error("failed to use {}", path.display())]
    Clients {
        /// The file.
        path: PathBuf,
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
    pub client_ca: PathBuf,
    /// DNS names of which a certificate signed by an authority of the bundle must carry one; empty: any.
    pub client_names: Vec<String>,
}

/// The files as last read.
pub(super) struct Tls {
    files: MtlsFiles,
    loaded: ArcSwap<Loaded>,
}

struct Loaded {
    contents: Contents,
    acceptor: TlsAcceptor,
}

#[derive(PartialEq, Eq)]
struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Vec<u8>,
}

// === impl Tls ===

impl Tls {
    pub(super) async fn load(files: &MtlsFiles) -> Result<Self, Error> {
        let contents = Contents::read(files).await?;
        let loaded = ArcSwap::from_pointee(Loaded { acceptor: acceptor(files, &contents)?, contents });
        Ok(Self { files: files.clone(), loaded })
    }

    /// For the next connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.loaded.load().acceptor.clone()
    }

    /// Follows the files for ever. What cannot be used changes nothing.
    pub(super) async fn follow(&self) {
        loop {
            tokio::time::sleep(RELOAD).await;
            match self.reload().await {
                Ok(true) => tracing::info!("certificates of the listener for the node reloaded"),
                Ok(false) => {}
                Err(error) => tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "failed to reload the certificates of the listener for the node, serving with the last ones"
                ),
            }
        }
    }

    async fn reload(&self) -> Result<bool, Error> {
        let contents = Contents::read(&self.files).await?;
        if contents == self.loaded.load().contents {
            return Ok(false);
        }
        self.loaded.store(Arc::new(Loaded { acceptor: acceptor(&self.files, &contents)?, contents }));
        Ok(true)
    }
}

// === impl Contents ===

impl Contents {
    async fn read(files: &MtlsFiles) -> Result<Self, Error> {
        Ok(Self {
            cert: read(&files.cert).await?,
            key: read(&files.key).await?,
            client_ca: read(&files.client_ca).await?,
        })
    }
}

async fn read(path: &PathBuf) -> Result<Vec<u8>, Error> {
    tokio::fs::read(path).await.map_err(|source| Error::Read { path: path.clone(), source })
}

/// TLS 1.2 and 1.3, HTTP/1.1.
fn acceptor(files: &MtlsFiles, contents: &Contents) -> Result<TlsAcceptor, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let pem = |path: &PathBuf| {
        let path = path.clone();
        move |source| Error::Pem { path, source }
    };
    let chain =
        CertificateDer::pem_slice_iter(&contents.cert).collect::<Result<Vec<_>, _>>().map_err(pem(&files.cert))?;
    let key = PrivateKeyDer::from_pem_slice(&contents.key).map_err(pem(&files.key))?;
    let clients = NodeClients::parse(&contents.client_ca, &files.client_names, Arc::clone(&provider))
        .map_err(|source| Error::Clients { path: files.client_ca.clone(), source })?;
    if clients.trusts_any_name() {
        tracing::warn!(
            bundle = %files.client_ca.display(),
            "any client of the bundle's authorities may call: \
             name the node's certificate with --node-client-names unless the authority is your own"
        );
    }
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12, &rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(clients))
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
