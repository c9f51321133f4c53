//! Values for one service's eyes, sealed so that the same value gives the same bytes.
//!
//! A sealed box (libsodium, X25519) normally draws its ephemeral key at random, so that sealing again gives other bytes, another
//! hash and a new configuration for every replica. Here the ephemeral key is derived from recipient and value (as synthetic
//! initialisation vectors are): the box opens as any other does. All that somebody without the secret key learns is whether two
//! boxes hold the same value, or whether a value that he guessed is the one: what is sealed are keys of >= 128 random bits.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use crypto_box::{
    PublicKey,
    aead::rand_core::{CryptoRng, Error as RandomError, RngCore},
};
use sha2::{Digest as _, Sha256};

const KEY_BYTES: usize = 32;
const CONTEXT: &[u8] = b"fiorino sealed configuration v1";

/// The public key of the service that may read.
#[derive(Clone, PartialEq, Eq)]
pub struct SealKey(PublicKey);

/// Why a value could not be sealed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither a key nor a file that holds one.
    #[error("failed to read the public key: expected 32 bytes as base64 or hex, or a file with them")]
    Key {
        /// What the system says of the file.
        source: Option<std::io::Error>,
    },
    /// The value cannot be sealed.
    #[error("failed to seal")]
    Seal,
}

/// Bytes derived from a seed: the i-th block is the hash of seed and i.
struct Derived {
    seed: [u8; KEY_BYTES],
    block: u64,
}

// === impl SealKey ===

impl SealKey {
    /// Seals `value`; the same value gives the same bytes.
    ///
    /// # Errors
    /// [`Error::Seal`], which only a value of impossible size can cause.
    pub fn seal(&self, value: &[u8]) -> Result<Vec<u8>, Error> {
        let seed = Sha256::new().chain_update(CONTEXT).chain_update(self.0.as_bytes()).chain_update(value).finalize();
        let mut derived = Derived { seed: seed.into(), block: 0 };
        self.0.seal(&mut derived, value).map_err(|_| Error::Seal)
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let bytes = if text.len() == 2 * KEY_BYTES { hex(text)? } else { STANDARD.decode(text).ok()? };
        let bytes: [u8; KEY_BYTES] = bytes.try_into().ok()?;
        Some(Self(PublicKey::from(bytes)))
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

impl FromStr for SealKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if let Some(key) = Self::parse(text) {
            return Ok(key);
        }
        let content = std::fs::read_to_string(text).map_err(|source| Error::Key { source: Some(source) })?;
        Self::parse(&content).ok_or(Error::Key { source: None })
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealKey({})", STANDARD.encode(self.0.as_bytes()))
    }
}

// === impl Derived ===

impl RngCore for Derived {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill_bytes(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, target: &mut [u8]) {
        for chunk in target.chunks_mut(KEY_BYTES) {
            let block = Sha256::new().chain_update(self.seed).chain_update(self.block.to_le_bytes()).finalize();
            chunk.copy_from_slice(&block[..chunk.len()]);
            self.block += 1;
        }
    }

    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), RandomError> {
        self.fill_bytes(target);
        Ok(())
    }
}

impl CryptoRng for Derived {}

#[cfg(test)]
mod tests {
    use fiorino_kit::seal::{Unsealer, generate};
    use proptest::prelude::*;
    use secrecy::ExposeSecret as _;

    use super::*;

    fn pair() -> (Unsealer, SealKey) {
        let (secret, public) = generate();
        (Unsealer::parse(&secret).unwrap(), public.encoded().parse().unwrap())
    }

    proptest! {
        // Curve arithmetic without optimisation is slow.
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn the_owner_opens_and_the_bytes_stay(value: Vec<u8>, other: Vec<u8>) {
            let (owner, key) = pair();
            let sealed = key.seal(&value).unwrap();
            let opened = owner.unseal(&sealed).unwrap();
            prop_assert_eq!(opened.expose_secret(), &value[..]);
            prop_assert_eq!(&sealed, &key.seal(&value).unwrap());
            prop_assert_eq!(value == other, sealed == key.seal(&other).unwrap());
            prop_assert_ne!(&sealed[..], &pair().1.seal(&value).unwrap()[..]);
        }
    }

    #[test]
    fn a_key_is_base64_or_hex_or_a_file() {
        let hex = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742";
        let base64 = STANDARD.encode(super::hex(hex).unwrap());
        let file = std::env::temp_dir().join(format!("fiorino-seal-{}", uuid::Uuid::new_v4()));
        std::fs::write(&file, format!("{base64}\n")).unwrap();
        let from_file: SealKey = file.to_str().unwrap().parse().unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(hex.parse::<SealKey>().unwrap(), from_file);
        assert_eq!(base64.parse::<SealKey>().unwrap(), from_file);
    }
}
