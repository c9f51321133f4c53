//! A gate on the way to a part, inside the encryption: it lets every call through but those of one service.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use fiorino_rig::certs::{Identity, Mesh};
use http::{HeaderValue, Request, Response, header};
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// gRPC's `UNAVAILABLE`.
const UNAVAILABLE: HeaderValue = HeaderValue::from_static("14");

/// An open gate; dropping it closes it to new connections.
#[derive(Debug)]
pub struct Gate {
    address: SocketAddr,
    refused: Arc<AtomicUsize>,
    accepting: AbortHandle,
}

/// How both sides are spoken to.
#[derive(Clone)]
struct Sides {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
    server_name: ServerName<'static>,
    target: SocketAddr,
    service: &'static str,
    refused: Arc<AtomicUsize>,
}

// === impl Gate ===

impl Gate {
    /// Before `server` at `target`, for `client`: both are names of the mesh. Calls of `service`, e.g.
    /// `fiorino.config.v1.ConfigStream`, are answered that it is away.
    ///
    /// # Errors
    /// When a certificate cannot be read or no port can be bound.
    pub async fn before(
        target: SocketAddr,
        mesh: &Mesh,
        [client, server]: [&str; 2],
        service: &'static str,
    ) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let refused = Arc::new(AtomicUsize::new(0));
        let sides = Sides {
            acceptor: TlsAcceptor::from(Arc::new(server_config(&mesh.identity(server))?)),
            connector: TlsConnector::from(Arc::new(client_config(&mesh.identity(client))?)),
            server_name: ServerName::try_from(server.to_owned())?,
            target,
            service,
            refused: Arc::clone(&refused),
        };
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A connection that breaks is made anew by whoever needs it.
                tokio::spawn(sides.clone().pass(stream));
            }
        });
        Ok(Self { address, refused, accepting: accepting.abort_handle() })
    }

    /// Where it stands.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Calls that it did not let through.
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

// === impl Sides ===

impl Sides {
    async fn pass(self, stream: TcpStream) -> Result<()> {
        let from = self.acceptor.accept(stream).await?;
        let to = TcpStream::connect(self.target).await?;
        let to = self.connector.connect(self.server_name, to).await?;
        let (sender, connection) = Builder::new(TokioExecutor::new()).handshake(TokioIo::new(to)).await?;
        let onward = tokio::spawn(connection);
        let (service, refused) = (self.service, self.refused);
        let forward = service_fn(move |request| forward(sender.clone(), request, service, Arc::clone(&refused)));
        let served = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(from), forward).await;
        onward.abort();
        Ok(served?)
    }
}

async fn forward(
    mut sender: SendRequest<Incoming>,
    request: Request<Incoming>,
    service: &str,
    refused: Arc<AtomicUsize>,
) -> hyper::Result<Response<Either<Incoming, Empty<Bytes>>>> {
    if request.uri().path().trim_start_matches('/').starts_with(service) {
        refused.fetch_add(1, Ordering::Relaxed);
        let mut answer = Response::new(Either::Right(Empty::new()));
        answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        answer.headers_mut().insert("grpc-status", UNAVAILABLE);
        return Ok(answer);
    }
    sender.ready().await?;
    Ok(sender.send_request(request).await?.map(Either::Left))
}

fn server_config(identity: &Identity) -> Result<ServerConfig> {
    let (chain, key) = (certificates(&identity.cert)?, PrivateKeyDer::from_pem_file(&identity.key)?);
    let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn client_config(identity: &Identity) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&identity.ca)? {
        roots.add(certificate)?;
    }
    let (chain, key) = (certificates(&identity.cert)?, PrivateKeyDer::from_pem_file(&identity.key)?);
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = || CertificateDer::pem_file_iter(file)?.collect::<Result<Vec<_>, _>>();
    read().with_context(|| format!("failed to read {}", file.display()))
}
