//! What a certificate says of itself, as far as it matters here.

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer as _, X509Certificate},
};

use super::{Expiring, pins::Window};

/// Characters of a name that are shown as a label.
const NAME_MAX: usize = 64;
/// Bytes of a hash that are shown as a label.
const HASH_SHOWN: usize = 8;

/// SHA-256 of a certificate, or of its public key.
pub(super) type Hash = [u8; 32];

/// A certificate's own words.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) certificate: Hash,
    /// Of the `SubjectPublicKeyInfo`.
    pub(super) key: Hash,
    pub(super) validity: Window,
    pub(super) is_authority: bool,
    /// Its extended key usage names TLS clients or TLS servers; without the extension it names neither.
    pub(super) for_tls: bool,
    dns_names: Vec<String>,
    subject: String,
}

// === impl Facts ===

impl Facts {
    /// `None`: not X.509.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (rest, parsed) = X509Certificate::from_der(certificate).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let instant = |seconds| Timestamp::from_second(seconds).ok();
        let usage = parsed.extended_key_usage().ok().flatten();
        let dns_names = dns_names(&parsed);
        let common_name = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        let subject = common_name.or_else(|| dns_names.first().map(String::as_str)).unwrap_or("unnamed");
        Some(Self {
            certificate: Sha256::digest(certificate).into(),
            key: Sha256::digest(parsed.public_key().raw).into(),
            validity: Window {
                from: instant(parsed.validity().not_before.timestamp())?,
                until: instant(parsed.validity().not_after.timestamp())?,
            },
            is_authority: parsed.is_ca(),
            for_tls: usage.is_some_and(|usage| usage.value.client_auth || usage.value.server_auth),
            subject: subject.chars().filter(|character| !character.is_control()).take(NAME_MAX).collect(),
            dns_names,
        })
    }

    /// Whether one of the subject alternative names is exactly this one; a wildcard is not.
    pub(super) fn has_name(&self, name: &str) -> bool {
        self.dns_names.iter().any(|own| own.eq_ignore_ascii_case(name))
    }

    pub(super) fn subject(&self) -> &str {
        &self.subject
    }

    /// As an authority, a pin or the server's certificate.
    pub(super) fn expiring(&self, of: &'static str) -> Expiring {
        Expiring { of, name: self.subject.clone(), sha256: shown(&self.certificate), until: self.validity.until }
    }
}

/// As the label of a metric.
pub(super) fn shown(hash: &Hash) -> String {
    use std::fmt::Write as _;
    hash.iter().take(HASH_SHOWN).fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// When a certificate of ours ends; `None`: not X.509.
pub(crate) fn expiry(certificate: &CertificateDer<'_>) -> Option<Expiring> {
    Some(Facts::of(certificate)?.expiring("server"))
}

/// The name of a verified client for logs and the inbox: its first DNS name, else its subject.
pub(crate) fn client_name(certificate: &CertificateDer<'_>) -> String {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return "unnamed".to_owned() };
    dns_names(&parsed).into_iter().next().unwrap_or_else(|| parsed.subject().to_string())
}

fn dns_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.into_iter().flat_map(|names| &names.value.general_names);
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        })
        .collect()
}
