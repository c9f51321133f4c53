//! Which client certificates are the node's (ARCHITECTURE.md 6.3; pagopa.md 6.1).
//!
//! The node shows a public certificate and a chain of that leaf alone, and replaces it yearly within days. So there are two ways in:
//!
//! ```text
//!  certificate --not for clients nor servers--> refused
//!       |
//!       +-- pinned (the leaf itself, or its key): within the pin's window and its own validity, nothing else is asked
//!       +-- else: signed by an authority of the bundle (an intermediate will do), with one of the exact DNS names
//! ```
//!
//! A public authority signs for anybody: without names it is refused at the start, unless any name is asked for.

mod certificate;
mod pins;

use std::sync::Arc;

use jiff::Timestamp;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error as TlsError, RootCertStore, SignatureScheme,
    client::{danger::HandshakeSignatureValid, verify_server_cert_signed_by_trust_anchor},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    server::{
        ParsedCertificate, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, DnsName, UnixTime, pem::PemObject as _};

pub(crate) use self::certificate::{client_name, expiry};
use self::{
    certificate::Facts,
    pins::{Pin, Window},
};

/// Certificates in a bundle, and pins in a file: the expiry of each is a metric.
const ENTRIES_MAX: usize = 32;

/// Why what tells the node's client certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not PEM.
    #[error("failed to read the certificates")]
    Pem(#[from] rustls_pki_types::pem::Error),
    /// Nobody could come in.
    #[error("no certificate in it: put the node's client certificate or its authority there")]
    Empty,
    /// More than anybody needs.
    #[error("more than {ENTRIES_MAX} entries in it: remove those of the past")]
    TooMany,
    /// One of the certificates is not X.509.
    #[error("failed to parse certificate {index}: expected X.509 version 3")]
    Parse {
        /// Position in the bundle, from 1.
        index: usize,
    },
    /// A pinned certificate that could never be shown.
    #[error("certificate {name:?} is neither for TLS clients nor for TLS servers: its extended key usage must say so")]
    Purpose {
        /// Its subject, or the name of its pin.
        name: String,
    },
    /// A name cannot be a DNS name.
    #[error("node client name {name:?} is not an exact dns name: wildcards and addresses are not taken")]
    Name {
        /// What was given.
        name: String,
    },
    /// Anybody whom the authority ever signed would be the node.
    #[error(
        "there is an authority in it and no name: give the node's with --node-client-names, \
         or --node-client-any-name if the authority is your own and signs for nobody else"
    )]
    AnyName,
    /// The file of pins is not what it should be.
    #[error("failed to read the pins")]
    Pins(#[from] pins::Error),
    /// rustls refuses the authorities.
    #[error("failed to use the authorities of the node's client certificate")]
    Authorities(#[from] rustls::server::VerifierBuilderError),
    /// rustls refuses a certificate.
    #[error("failed to use the node's client certificates")]
    Tls(#[from] TlsError),
}

/// What tells the node's client certificates.
#[derive(Debug, Clone, Copy, Default)]
pub struct Accepted<'a> {
    /// PEM bundle: leaves are pinned while they are valid, authorities sign.
    pub bundle: &'a [u8],
    /// YAML file of pins with windows (docs/node-certificates.md).
    pub pins: &'a [u8],
    /// DNS names of which a certificate signed by an authority must carry one.
    pub names: &'a [String],
    /// Without names: let in whomever an authority signed.
    pub any_name: bool,
}

/// Verifies the client certificate of the node.
#[derive(Debug)]
pub struct NodeClients {
    pins: Vec<Pin>,
    authorities: Vec<Authority>,
    names: Vec<DnsName<'static>>,
    provider: Arc<CryptoProvider>,
}

/// Something that will not be accepted for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiring {
    /// `server`, `pin` or `authority`.
    pub of: &'static str,
    /// Name of the pin, else of the certificate's subject.
    pub name: String,
    /// Begin of the SHA-256 of certificate or key, in hexadecimal: names repeat.
    pub sha256: String,
    /// Last instant at which it counts.
    pub until: Timestamp,
}

/// An authority of the bundle. Each is an anchor of its own: the anchors' validity is not looked at by whoever builds the path.
#[derive(Debug)]
struct Authority {
    facts: Facts,
    roots: Arc<RootCertStore>,
    for_clients: Arc<dyn ClientCertVerifier>,
}

// === impl NodeClients ===

impl NodeClients {
    /// Reads what tells the node's certificates.
    ///
    /// # Errors
    /// Says what is wrong with bundle, pins or names.
    pub fn parse(accepted: &Accepted<'_>, provider: Arc<CryptoProvider>) -> Result<Self, Error> {
        let mut pins = pins::parse(accepted.pins)?;
        let mut authorities = Vec::new();
        for (index, certificate) in CertificateDer::pem_slice_iter(accepted.bundle).enumerate() {
            let certificate = certificate?;
            let facts = Facts::of(&certificate).ok_or(Error::Parse { index: index + 1 })?;
            if facts.is_authority {
                authorities.push(Authority::new(certificate, facts, &provider)?);
            } else {
                pins.push(Pin::leaf(&facts));
            }
        }
        if pins.len() + authorities.len() > ENTRIES_MAX {
            return Err(Error::TooMany);
        }
        if pins.is_empty() && authorities.is_empty() {
            return Err(Error::Empty);
        }
        if let Some(useless) = pins.iter().find(|pin| !pin.may_be_shown()) {
            return Err(Error::Purpose { name: useless.name().to_owned() });
        }
        if !authorities.is_empty() && accepted.names.is_empty() && !accepted.any_name {
            return Err(Error::AnyName);
        }
        let exact = |name: &String| DnsName::try_from(name.clone()).map_err(|_| Error::Name { name: name.clone() });
        let names = accepted.names.iter().map(exact).collect::<Result<_, _>>()?;
        Ok(Self { pins, authorities, names, provider })
    }

    /// Whether this certificate is the node's now.
    ///
    /// # Errors
    /// Why it is not.
    pub fn check(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), TlsError> {
        let facts = Facts::of(leaf).ok_or(CertificateError::BadEncoding)?;
        if !facts.for_tls {
            return Err(CertificateError::InvalidPurpose.into());
        }
        let instant = i64::try_from(now.as_secs()).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
        let instant = instant.unwrap_or(Timestamp::MAX);
        let windows = self.pins.iter().filter(|pin| pin.is_of(&facts)).map(Pin::window);
        // A pin has the last word: its window is not widened by an authority.
        if let Some(pinned) = any_open(windows, instant) {
            pinned?;
            return facts.validity.check(instant).map_err(TlsError::from);
        }
        self.check_signed(leaf, chain, now, instant)?;
        if self.names.is_empty() || self.names.iter().any(|name| facts.has_name(name.as_ref())) {
            Ok(())
        } else {
            Err(CertificateError::NotValidForName.into())
        }
    }

    /// What stops being accepted, and when.
    pub fn expiring(&self) -> Vec<Expiring> {
        let pins = self.pins.iter().map(Pin::expiring);
        let authorities = self.authorities.iter().map(|authority| authority.facts.expiring("authority"));
        pins.chain(authorities).collect()
    }

    fn check_signed(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
        instant: Timestamp,
    ) -> Result<(), TlsError> {
        let mut refused = TlsError::from(CertificateError::UnknownIssuer);
        for authority in &self.authorities {
            match authority.check(leaf, chain, now, instant, &self.provider) {
                Ok(()) => return Ok(()),
                Err(TlsError::InvalidCertificate(CertificateError::UnknownIssuer)) => {}
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }
}

/// The other usage is then what counts.
const fn is_of_purpose(error: &TlsError) -> bool {
    use CertificateError::{InvalidPurpose, InvalidPurposeContext};
    matches!(error, TlsError::InvalidCertificate(InvalidPurpose | InvalidPurposeContext { .. }))
}

/// `None` without a window; a verdict that is good when one of them is open.
fn any_open<'a>(windows: impl Iterator<Item = &'a Window>, now: Timestamp) -> Option<Result<(), CertificateError>> {
    windows.map(|window| window.check(now)).reduce(Result::or)
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
        self.check(end_entity, intermediates, now)?;
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

// === impl Authority ===

impl Authority {
    fn new(certificate: CertificateDer<'static>, facts: Facts, provider: &Arc<CryptoProvider>) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        roots.add(certificate)?;
        let roots = Arc::new(roots);
        let for_clients =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider)).build()?;
        Ok(Self { facts, roots, for_clients })
    }

    // The extended key usage may be that of a client or of a server: public authorities stop issuing the former.
    fn check(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
        instant: Timestamp,
        provider: &CryptoProvider,
    ) -> Result<(), TlsError> {
        let Err(as_client) = self.for_clients.verify_client_cert(leaf, chain, now) else {
            return Ok(self.facts.validity.check(instant)?);
        };
        let certificate = ParsedCertificate::try_from(leaf)?;
        let algorithms = provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, chain, now, algorithms)
            .map_err(|as_server| if is_of_purpose(&as_client) { as_server } else { as_client })?;
        Ok(self.facts.validity.check(instant)?)
    }
}
