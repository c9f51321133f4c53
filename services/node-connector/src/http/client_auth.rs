//! Which client certificates are the node's (ARCHITECTURE.md 6.3; pagopa.md 6.1).
//!
//! The node shows a public certificate and a chain of that leaf alone, and replaces it yearly within days. So the bundle may hold
//! leaf certificates (pinned: these and no others, within their validity) and authorities (intermediates too: the chain that comes
//! has none). A public authority signs for anybody: with one, the exact names must be given.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error as TlsError, RootCertStore, SignatureScheme,
    client::{danger::HandshakeSignatureValid, verify_server_cert_signed_by_trust_anchor, verify_server_name},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    server::{
        ParsedCertificate, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Why the bundle of accepted client certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not PEM.
    #[error("failed to read the certificates")]
    Pem(#[from] rustls_pki_types::pem::Error),
    /// A bundle without certificates would refuse everybody.
    #[error("no certificate in it: put the node's client certificate or its authority there")]
    Empty,
    /// One of the certificates is not X.509.
    #[error("failed to parse certificate {index}")]
    Parse {
        /// Position in the bundle, from 1.
        index: usize,
    },
    /// A name cannot be a DNS name.
    #[error("node client name {name:?} is not a dns name")]
    Name {
        /// What was given.
        name: String,
    },
    /// rustls refuses the authorities.
    #[error("failed to use the authorities of the node's client certificate")]
    Authorities(#[from] rustls::server::VerifierBuilderError),
    /// rustls refuses a certificate.
    #[error("failed to use the node's client certificates")]
    Tls(#[from] TlsError),
}

/// Verifies the client certificate of the node.
#[derive(Debug)]
pub struct NodeClients {
    pinned: Vec<Pinned>,
    authorities: Option<Authorities>,
    names: Vec<ServerName<'static>>,
    provider: Arc<CryptoProvider>,
}

#[derive(Debug)]
struct Pinned {
    certificate: CertificateDer<'static>,
    /// Unix time in seconds, both ends included.
    validity: std::ops::RangeInclusive<i64>,
}

#[derive(Debug)]
struct Authorities {
    roots: Arc<RootCertStore>,
    for_clients: Arc<dyn ClientCertVerifier>,
}

// === impl NodeClients ===

impl NodeClients {
    /// Reads a PEM bundle; `names` are the DNS names of which a certificate signed by one of its authorities must carry one.
    ///
    /// # Errors
    /// Says what is wrong with the bundle or the names.
    pub fn parse(bundle: &[u8], names: &[String], provider: Arc<CryptoProvider>) -> Result<Self, Error> {
        let certificates = CertificateDer::pem_slice_iter(bundle).collect::<Result<Vec<_>, _>>()?;
        if certificates.is_empty() {
            return Err(Error::Empty);
        }
        let (mut pinned, mut roots) = (Vec::new(), RootCertStore::empty());
        for (index, certificate) in certificates.into_iter().enumerate() {
            let Ok((_, parsed)) = X509Certificate::from_der(&certificate) else {
                return Err(Error::Parse { index: index + 1 });
            };
            if parsed.is_ca() {
                roots.add(certificate.clone())?;
            } else {
                let validity = parsed.validity().not_before.timestamp()..=parsed.validity().not_after.timestamp();
                pinned.push(Pinned { certificate: certificate.clone(), validity });
            }
        }
        let names = names
            .iter()
            .map(|name| ServerName::try_from(name.clone()).map_err(|_| Error::Name { name: name.clone() }))
            .collect::<Result<_, _>>()?;
        Ok(Self { pinned, authorities: Authorities::new(roots, &provider)?, names, provider })
    }

    /// Whether anybody whom an authority of the bundle signed is let in: right for an authority of one's own alone.
    pub fn trusts_any_name(&self) -> bool {
        self.authorities.is_some() && self.names.is_empty()
    }

    fn is_pinned(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> Option<Result<(), TlsError>> {
        let pinned = self.pinned.iter().find(|pinned| pinned.certificate == *certificate)?;
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        Some(if pinned.validity.contains(&now) { Ok(()) } else { Err(CertificateError::Expired.into()) })
    }

    fn has_name(&self, certificate: &CertificateDer<'_>) -> Result<(), TlsError> {
        let certificate = ParsedCertificate::try_from(certificate)?;
        if self.names.is_empty() || self.names.iter().any(|name| verify_server_name(&certificate, name).is_ok()) {
            Ok(())
        } else {
            Err(CertificateError::NotValidForName.into())
        }
    }
}

impl ClientCertVerifier for NodeClients {
    // No hints: a Java client that finds its issuer missing among them sends no certificate at all.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        match (self.is_pinned(end_entity, now), &self.authorities) {
            (Some(pinned), _) => pinned?,
            (None, Some(authorities)) => {
                authorities.verify(end_entity, intermediates, now, &self.provider)?;
                self.has_name(end_entity)?;
            }
            (None, None) => return Err(CertificateError::UnknownIssuer.into()),
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

// === impl Authorities ===

impl Authorities {
    fn new(roots: RootCertStore, provider: &Arc<CryptoProvider>) -> Result<Option<Self>, Error> {
        if roots.is_empty() {
            return Ok(None);
        }
        let roots = Arc::new(roots);
        let for_clients =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider)).build()?;
        Ok(Some(Self { roots, for_clients }))
    }

    // The extended key usage may be that of a client or of a server: public authorities stop issuing the former.
    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        provider: &CryptoProvider,
    ) -> Result<(), TlsError> {
        let Err(as_client) = self.for_clients.verify_client_cert(end_entity, intermediates, now) else { return Ok(()) };
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)
            .map_err(|_| as_client)
    }
}

/// The name of a verified client for logs and the inbox: its first DNS name, else its subject.
pub(crate) fn client_name(certificate: &CertificateDer<'_>) -> String {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return "unnamed".to_owned() };
    let dns_name = parsed.subject_alternative_name().ok().flatten().and_then(|names| {
        names.value.general_names.iter().find_map(|name| match name {
            x509_parser::extensions::GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        })
    });
    dns_name.unwrap_or_else(|| parsed.subject().to_string())
}
