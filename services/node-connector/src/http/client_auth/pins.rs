//! Pins: certificates or keys that are the node's, each for a time, so that an announced renewal is known before it comes.
//!
//! ```yaml
//! pins:
//! - name: forwarder-2026                   # shown in the metric of its expiry
//!   certificate: |                         # the leaf as it was published ...
//!     -----BEGIN CERTIFICATE-----
//!   notAfter: 2027-01-31T00:00:00Z         # optional: ends earlier than the certificate
//! - name: forwarder-2027
//!   spki: 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=   # ... or the SHA-256 of its public key, base64
//!   notBefore: 2026-12-01T00:00:00Z        # optional: not accepted earlier
//!   notAfter: 2028-02-28T00:00:00Z         # required of a key, which does not tell its end
//! ```

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use rustls::CertificateError;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use serde::Deserialize;

use super::{
    Expiring,
    certificate::{Facts, Hash, shown},
};

/// Longest name of a pin: it becomes a label.
const NAME_MAX: usize = 64;

/// Why a file of pins cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not UTF-8, not YAML, or not a list of pins.
    #[error("it is no list of pins")]
    Syntax(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A pin that breaks a rule.
    #[error("pin {name:?}: {rule}")]
    Pin {
        /// Its name.
        name: String,
        /// What must hold.
        rule: &'static str,
    },
}

/// When something counts; both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

/// What is accepted without anybody's signature.
#[derive(Debug)]
pub(super) struct Pin {
    name: String,
    what: Pinned,
    window: Window,
    /// Of a certificate: it is for TLS. A key does not tell.
    for_tls: bool,
}

#[derive(Debug)]
enum Pinned {
    Certificate(Hash),
    Key(Hash),
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    pins: Vec<Told>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Told {
    name: String,
    certificate: Option<String>,
    spki: Option<String>,
    not_before: Option<Timestamp>,
    not_after: Option<Timestamp>,
}

/// Reads a file of pins; an empty one has none.
pub(super) fn parse(yaml: &[u8]) -> Result<Vec<Pin>, Error> {
    let text = std::str::from_utf8(yaml).map_err(|error| Error::Syntax(error.into()))?;
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let file: File = serde_saphyr::from_str(text).map_err(|error| Error::Syntax(error.into()))?;
    file.pins.into_iter().map(Pin::read).collect()
}

// === impl Window ===

impl Window {
    /// # Errors
    /// On which side of it this instant is.
    pub(super) fn check(&self, now: Timestamp) -> Result<(), CertificateError> {
        if now < self.from {
            Err(CertificateError::NotValidYet)
        } else if now > self.until {
            Err(CertificateError::Expired)
        } else {
            Ok(())
        }
    }
}

// === impl Pin ===

impl Pin {
    /// A leaf of the bundle: as long as it is valid.
    pub(super) fn leaf(facts: &Facts) -> Self {
        let name = facts.subject().to_owned();
        Self { name, what: Pinned::Certificate(facts.certificate), window: facts.validity, for_tls: facts.for_tls }
    }

    fn read(told: Told) -> Result<Self, Error> {
        let wrong = |rule| Error::Pin { name: told.name.chars().take(NAME_MAX).collect(), rule };
        if told.name.is_empty() || told.name.len() > NAME_MAX || told.name.chars().any(char::is_control) {
            return Err(wrong("a name has 1 to 64 bytes and no control character"));
        }
        let (what, own, for_tls) = match (&told.certificate, &told.spki) {
            (Some(pem), None) => {
                let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).ok();
                let facts = certificate.and_then(|certificate| Facts::of(&certificate));
                let facts = facts.ok_or_else(|| wrong("certificate must be one X.509 certificate, PEM"))?;
                (Pinned::Certificate(facts.certificate), Some(facts.validity), facts.for_tls)
            }
            (None, Some(spki)) => {
                let hash = STANDARD.decode(spki).ok().and_then(|hash| Hash::try_from(hash).ok());
                (
                    Pinned::Key(hash.ok_or_else(|| wrong("spki must be the base64 of a SHA-256: 44 characters"))?),
                    None,
                    true,
                )
            }
            _ => return Err(wrong("either certificate or spki must be given")),
        };
        let until = match (told.not_after, own) {
            (Some(until), Some(own)) => until.min(own.until),
            (until, own) => until
                .or_else(|| own.map(|own| own.until))
                .ok_or_else(|| wrong("notAfter must be given with spki: a key does not tell its end"))?,
        };
        let from = told.not_before.or_else(|| own.map(|own| own.from)).unwrap_or(Timestamp::MIN);
        if from >= until {
            return Err(wrong("notBefore must be before notAfter and the certificate's own end"));
        }
        Ok(Self { name: told.name, what, window: Window { from, until }, for_tls })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) const fn window(&self) -> &Window {
        &self.window
    }

    /// False for a certificate that every handshake would refuse.
    pub(super) const fn may_be_shown(&self) -> bool {
        self.for_tls
    }

    pub(super) fn is_of(&self, facts: &Facts) -> bool {
        match &self.what {
            Pinned::Certificate(hash) => *hash == facts.certificate,
            Pinned::Key(hash) => *hash == facts.key,
        }
    }

    pub(super) fn expiring(&self) -> Expiring {
        let (Pinned::Certificate(hash) | Pinned::Key(hash)) = &self.what;
        Expiring { of: "pin", name: self.name.clone(), sha256: shown(hash), until: self.window.until }
    }
}
