//! Notice numbers that cannot be guessed from one another: the sequence goes through a keyed permutation (ARCHITECTURE.md 4.2).
//!
//! A Feistel network of ten rounds over the smallest even number of bits that holds the domain; what falls outside of it goes
//! through again (cycle walking), which keeps the whole a permutation of the domain itself.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::notice::Base;

/// Result of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The permutation of one (institution, code, prefix): sequence number -> base of a notice number.
#[derive(Clone)]
pub struct NavPermutation {
    mac: Hmac<Sha256>,
    prefix: Box<str>,
    /// Numbers below it are permuted: 10^(13 - prefix length).
    domain: u64,
    /// Of each half of the network.
    half_bits: u32,
}

/// Why there is no such permutation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It stands at the beginning of 13 digits, and something must follow.
    #[error("a nav prefix is at most 12 digits")]
    Prefix,
}

/// Written into the notice numbers that were issued: never to be changed.
const ROUNDS: u8 = 10;

// === impl NavPermutation ===

impl NavPermutation {
    /// The permutation for this key; every base begins with `prefix`, which may be empty.
    ///
    /// # Errors
    /// The prefix is not made of 0-12 digits.
    pub fn new(key: [u8; 32], prefix: &str) -> Result<Self> {
        if !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Error::Prefix);
        }
        let free = Base::LENGTH.checked_sub(prefix.len()).filter(|free| *free > 0).ok_or(Error::Prefix)?;
        let domain = (0..free).fold(1u64, |domain, _| domain * 10);
        let bits = u64::BITS - (domain - 1).leading_zeros();
        Ok(Self {
            mac: Hmac::new_from_slice(&key).expect("hmac takes keys of any length"),
            prefix: prefix.into(),
            domain,
            half_bits: bits.div_ceil(2),
        })
    }

    /// How many bases there are: sequence numbers begin at 0 and end before it.
    pub const fn size(&self) -> u64 {
        self.domain
    }

    /// The base that belongs to a sequence number; `None` when the sequence is used up.
    pub fn base(&self, sequence: u64) -> Option<Base> {
        if sequence >= self.domain {
            return None;
        }
        let mut number = self.encrypt(sequence);
        while number >= self.domain {
            number = self.encrypt(number);
        }
        let digits = Base::LENGTH - self.prefix.len();
        Base::parse(&format!("{}{number:0digits$}", self.prefix)).ok()
    }

    /// The sequence number that a base came from, so that a counter can be raised above what was issued; `None` when the base
    /// does not begin with the prefix.
    pub fn sequence(&self, base: Base) -> Option<u64> {
        base.as_str().strip_prefix(&*self.prefix)?;
        let mut number = self.decrypt(base.number() % self.domain);
        while number >= self.domain {
            number = self.decrypt(number);
        }
        Some(number)
    }

    fn encrypt(&self, number: u64) -> u64 {
        let (mut left, mut right) = self.halves(number);
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ self.round(round, right));
        }
        left << self.half_bits | right
    }

    fn decrypt(&self, number: u64) -> u64 {
        let (mut left, mut right) = self.halves(number);
        for round in (0..ROUNDS).rev() {
            (left, right) = (right ^ self.round(round, left), left);
        }
        left << self.half_bits | right
    }

    const fn halves(&self, number: u64) -> (u64, u64) {
        (number >> self.half_bits, number & self.mask())
    }

    const fn mask(&self) -> u64 {
        (1 << self.half_bits) - 1
    }

    fn round(&self, round: u8, half: u64) -> u64 {
        let mac = self.mac.clone().chain_update([round]).chain_update(half.to_be_bytes()).finalize().into_bytes();
        mac.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte)) & self.mask()
    }
}

impl std::fmt::Debug for NavPermutation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NavPermutation").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("123456789012", 10)]
    #[case("00000000000", 100)]
    #[case("1234567890", 1_000)]
    #[case("999999999", 10_000)]
    fn small_domains_whole(#[case] prefix: &str, #[case] size: u64) {
        for key in [[0; 32], [7; 32]] {
            let permutation = NavPermutation::new(key, prefix).unwrap();
            assert_eq!(permutation.size(), size);
            let bases: BTreeSet<Base> = (0..size).map(|sequence| permutation.base(sequence).unwrap()).collect();
            assert_eq!(u64::try_from(bases.len()), Ok(size), "every sequence number has a base of its own");
            assert!(bases.iter().all(|base| base.as_str().starts_with(prefix)));
            assert_eq!(permutation.base(size), None);
        }
    }

    /// Numbers that were printed must come out again in every later release.
    #[test]
    fn stable() {
        let permutation = NavPermutation::new(*b"a key of thirty-two bytes, test.", "").unwrap();
        let bases: Vec<String> = (0..3).map(|sequence| permutation.base(sequence).unwrap().to_string()).collect();
        assert_eq!(bases, ["3418212575118", "8196033122606", "4216456934933"]);
    }

    #[test]
    fn keys_differ() {
        let bases = |key| {
            let permutation = NavPermutation::new([key; 32], "").unwrap();
            (0..100).map(|sequence| permutation.base(sequence).unwrap()).collect::<BTreeSet<_>>()
        };
        assert!(bases(1).is_disjoint(&bases(2)));
    }

    #[rstest]
    #[case("1234567890123")]
    #[case("12a")]
    #[case(" ")]
    #[case("٣")]
    fn refused(#[case] prefix: &str) {
        assert_eq!(NavPermutation::new([0; 32], prefix).err(), Some(Error::Prefix));
    }

    #[test]
    fn the_key_is_not_shown() {
        let shown = format!("{:?}", NavPermutation::new([7; 32], "26").unwrap());
        assert_eq!(shown, "NavPermutation { prefix: \"26\", .. }");
    }

    proptest! {
        /// The inverse exists: no two sequence numbers share a base, in every domain.
        #[test]
        fn bijection(key: [u8; 32], prefix in "[0-9]{0,12}", sequence: u64) {
            let permutation = NavPermutation::new(key, &prefix)?;
            let sequence = sequence % permutation.size();
            let base = permutation.base(sequence).expect("inside the domain");
            prop_assert!(base.as_str().starts_with(&prefix));
            prop_assert_eq!(permutation.sequence(base), Some(sequence));
        }

        #[test]
        fn foreign_prefix(key: [u8; 32], number in 0u64..1_000_000_000_000) {
            let permutation = NavPermutation::new(key, "9")?;
            prop_assert_eq!(permutation.sequence(Base::from_number(number)?), None);
        }
    }
}
