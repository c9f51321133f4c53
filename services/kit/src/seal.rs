//! Values that only one service can read (ARCHITECTURE.md 3.7): libsodium's sealed boxes, X25519 and XSalsa20-Poly1305.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use crypto_box::aead::OsRng;
use secrecy::{ExposeSecret, SecretSlice, SecretString};

const KEY_BYTES: usize = 32;

/// Why a value could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key file could not be read.
    #[error("failed to read the key file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Not the base64 of 32 bytes.
    #[error("failed to parse the {what} key: expected the base64 of 32 bytes")]
    Key {
        /// Which key: `public` or `secret`.
        what: &'static str,
    },
    /// The value could not be sealed.
    #[error("failed to seal")]
    Seal,
    /// The value was sealed to another key, or damaged.
    #[error("failed to open the sealed value: another key or damaged")]
    Open,
}

/// `Result` of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Seals to one service; public.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(crypto_box::PublicKey);

/// Opens what was sealed to this service.
#[derive(Clone)]
pub struct Unsealer {
    secret: crypto_box::SecretKey,
}

/// A new pair: the content of a key file and the public key to give away.
pub fn generate() -> (SecretString, PublicKey) {
    let secret = crypto_box::SecretKey::generate(&mut OsRng);
    let public = PublicKey(secret.public_key());
    (SecretString::from(STANDARD.encode(secret.to_bytes())), public)
}

/// Seals `plain` so that only the owner of `key` can read it; each call gives other bytes.
///
/// # Errors
/// [`Error::Seal`], which only a value of impossible size can cause.
pub fn seal(key: &PublicKey, plain: &[u8]) -> Result<Vec<u8>> {
    key.0.seal(&mut OsRng, plain).map_err(|_| Error::Seal)
}

fn parse_key(what: &'static str, text: &str) -> Result<[u8; KEY_BYTES]> {
    let bytes = STANDARD.decode(text.trim()).map_err(|_| Error::Key { what })?;
    bytes.try_into().map_err(|_| Error::Key { what })
}

// === impl PublicKey ===

impl PublicKey {
    /// Parses base64.
    ///
    /// # Errors
    /// [`Error::Key`] when it is not the base64 of 32 bytes.
    pub fn parse(text: &str) -> Result<Self> {
        parse_key("public", text).map(|bytes| Self(crypto_box::PublicKey::from(bytes)))
    }

    /// Base64, as given to whoever seals.
    pub fn encoded(&self) -> String {
        STANDARD.encode(self.0.as_bytes())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.encoded())
    }
}

// === impl Unsealer ===

impl Unsealer {
    /// Reads a key file: the base64 of 32 bytes.
    ///
    /// # Errors
    /// A file that cannot be read or holds something else.
    pub fn from_file(path: &Path) -> Result<Self> {
        let text = fs_err::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        Self::parse(&SecretString::from(text))
    }

    /// Parses the content of a key file.
    ///
    /// # Errors
    /// [`Error::Key`] when it is not the base64 of 32 bytes.
    pub fn parse(text: &SecretString) -> Result<Self> {
        parse_key("secret", text.expose_secret()).map(|bytes| Self { secret: crypto_box::SecretKey::from(bytes) })
    }

    /// The key that others seal to.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.secret.public_key())
    }

    /// Opens a sealed value.
    ///
    /// # Errors
    /// [`Error::Open`] when it was sealed to another key or damaged.
    pub fn unseal(&self, sealed: &[u8]) -> Result<SecretSlice<u8>> {
        self.secret.unseal(sealed).map(SecretSlice::from).map_err(|_| Error::Open)
    }
}

impl fmt::Debug for Unsealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unsealer({:?})", self.public_key())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pair() -> (Unsealer, PublicKey) {
        let (file, public) = generate();
        (Unsealer::parse(&file).unwrap(), public)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn only_the_owner_opens_and_only_the_whole(plain: Vec<u8>, damaged: prop::sample::Index, bit in 0_u8..8) {
            let (owner, public) = pair();
            let mut sealed = seal(&public, &plain).unwrap();
            let opened = owner.unseal(&sealed).unwrap();
            prop_assert_eq!(opened.expose_secret(), &plain[..]);
            prop_assert!(pair().0.unseal(&sealed).is_err());
            let index = damaged.index(sealed.len());
            sealed[index] ^= 1_u8 << bit;
            prop_assert!(owner.unseal(&sealed).is_err());
        }
    }

    #[test]
    fn a_public_key_survives_its_text() {
        let (owner, public) = pair();
        assert_eq!(PublicKey::parse(&public.encoded()).unwrap(), owner.public_key());
        assert!(PublicKey::parse("c2hvcnQ=").unwrap_err().to_string().contains("public key"));
    }

    #[test]
    fn debug_shows_no_secret() {
        let (file, _) = generate();
        let unsealer = Unsealer::parse(&file).unwrap();
        assert!(!format!("{unsealer:?}").contains(file.expose_secret().trim_end_matches('=')));
    }
}
