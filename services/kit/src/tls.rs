//! The mesh: every part has a certificate of one authority, and its first DNS name says who it is.
//!
//! Certificates are renewed by writing the files anew; [`Identity::refresh`] takes the new ones over without a restart
//! (ARCHITECTURE.md 3.7: mounted files, reloaded, are only TLS keys and unsealing keys).

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use rustls::{RootCertStore, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use x509_parser::{extensions::GeneralName, prelude::FromDer as _};

use crate::options::TlsOptions;

const ALPN_HTTP2: &[u8] = b"h2";

/// Why an identity could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read.
    #[error("failed to read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file is not the PEM it should be.
    #[error("failed to find a {what} in {}: expected PEM", path.display())]
    Pem {
        /// What was looked for: `certificate`, `private key`, `certificate authority`.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// rustls refuses certificate, key or authority.
    #[error("failed to use the certificate in {}", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// The authorities cannot verify anybody.
    #[error("failed to use the certificate authorities in {}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What rustls says.
        source: rustls::server::VerifierBuilderError,
    },
    /// The own certificate names nobody.
    #[error("failed to find a DNS name in the certificate in {}", path.display())]
    Nameless {
        /// The file.
        path: PathBuf,
    },
}

/// `Result` of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Certificate, key and authorities of this process; cheap to clone, all clones see a [`refresh`](Identity::refresh).
#[derive(Debug, Clone)]
pub struct Identity {
    options: Arc<TlsOptions>,
    loaded: Arc<ArcSwap<Loaded>>,
}

/// The content of the three files, kept to notice that they changed.
#[derive(PartialEq, Eq)]
struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
    authorities: Vec<u8>,
}

#[derive(Debug)]
struct Loaded {
    files: Files,
    name: String,
    server: Arc<rustls::ServerConfig>,
    client: Arc<rustls::ClientConfig>,
}

/// The name of a verified certificate in the mesh: its first DNS SAN (`operator`, `tenant`, `node-connector`, `reporting`, `front-office`,
/// `dev`).
pub fn peer_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = x509_parser::certificate::X509Certificate::from_der(certificate).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    })
}

// === impl Identity ===

impl Identity {
    /// Reads the three files and checks that they belong together. [`crate::crypto::install_ring`] comes first.
    ///
    /// # Errors
    /// Says which file is wrong and why.
    pub fn load(options: &TlsOptions) -> Result<Self> {
        let files = Files {
            certificate: read(&options.tls_cert)?,
            key: read(&options.tls_key)?,
            authorities: read(&options.tls_ca)?,
        };
        let loaded = files.load(options)?;
        Ok(Self { options: Arc::new(options.clone()), loaded: Arc::new(ArcSwap::from_pointee(loaded)) })
    }

    /// Who this process is in the mesh: the first DNS name of its certificate.
    pub fn name(&self) -> String {
        self.loaded.load().name.clone()
    }

    /// For listeners of the mesh: a client certificate of the mesh is required; ALPN `h2`.
    pub fn server_config(&self) -> Arc<rustls::ServerConfig> {
        Arc::clone(&self.loaded.load().server)
    }

    /// For calls within the mesh: shows the own certificate, trusts the mesh's authorities alone; ALPN `h2`.
    pub fn client_config(&self) -> Arc<rustls::ClientConfig> {
        Arc::clone(&self.loaded.load().client)
    }

    /// Takes changed files over for connections made from now on; tells whether there was a change. [`crate::rpc::Server`] and
    /// [`crate::rpc::Channel`] call it every few seconds.
    ///
    /// # Errors
    /// Files that do not work (or do not work yet: they are written one after the other); the old ones stay in use.
    pub async fn refresh(&self) -> Result<bool> {
        let files = Files {
            certificate: read_async(&self.options.tls_cert).await?,
            key: read_async(&self.options.tls_key).await?,
            authorities: read_async(&self.options.tls_ca).await?,
        };
        if files == self.loaded.load().files {
            return Ok(false);
        }
        self.loaded.store(Arc::new(files.load(&self.options)?));
        Ok(true)
    }
}

// === impl Files ===

impl Files {
    fn load(self, options: &TlsOptions) -> Result<Loaded> {
        let chain = self.chain(&options.tls_cert)?;
        let name =
            chain.first().and_then(peer_name).ok_or_else(|| Error::Nameless { path: options.tls_cert.clone() })?;
        let roots = Arc::new(self.roots(&options.tls_ca)?);
        let refused = |source| Error::Tls { path: options.tls_cert.clone(), source };

        let verifier = WebPkiClientVerifier::builder(Arc::clone(&roots))
            .build()
            .map_err(|source| Error::Authorities { path: options.tls_ca.clone(), source })?;
        let mut server = rustls::ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), self.key(&options.tls_key)?)
            .map_err(refused)?;
        server.alpn_protocols = vec![ALPN_HTTP2.to_vec()];

        let mut client = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, self.key(&options.tls_key)?)
            .map_err(refused)?;
        client.alpn_protocols = vec![ALPN_HTTP2.to_vec()];

        Ok(Loaded { files: self, name, server: Arc::new(server), client: Arc::new(client) })
    }

    fn chain(&self, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
        certificates(&self.certificate).ok_or_else(|| Error::Pem { what: "certificate", path: path.to_owned() })
    }

    fn key(&self, path: &Path) -> Result<PrivateKeyDer<'static>> {
        PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| Error::Pem { what: "private key", path: path.to_owned() })
    }

    fn roots(&self, path: &Path) -> Result<RootCertStore> {
        let authorities = certificates(&self.authorities)
            .ok_or_else(|| Error::Pem { what: "certificate authority", path: path.to_owned() })?;
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots.add(authority).map_err(|source| Error::Tls { path: path.to_owned(), source })?;
        }
        Ok(roots)
    }
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Files(***)")
    }
}

fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().ok()?;
    (!certificates.is_empty()).then_some(certificates)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs_err::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

async fn read_async(path: &Path) -> Result<Vec<u8>> {
    fs_err::tokio::read(path).await.map_err(|source| Error::Read { path: path.to_owned(), source })
}
