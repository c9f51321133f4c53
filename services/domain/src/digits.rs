//! A fixed number of decimal digits: what most codes of this domain are made of.

use std::fmt;

/// `N` ASCII digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Digits<const N: usize>([u8; N]);

// === impl Digits ===

impl<const N: usize> Digits<N> {
    /// All zeros.
    pub(crate) const ZERO: Self = Self([b'0'; N]);

    /// `None` unless `text` is exactly `N` ASCII digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits: [u8; N] = text.as_bytes().try_into().ok()?;
        digits.iter().all(u8::is_ascii_digit).then_some(Self(digits))
    }

    /// `number` with leading zeros; `None` when it has more than `N` digits.
    pub(crate) fn from_number(mut number: u64) -> Option<Self> {
        let mut digits = [b'0'; N];
        for digit in digits.iter_mut().rev() {
            *digit = ascii(number % 10);
            number /= 10;
        }
        (number == 0).then_some(Self(digits))
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("ascii digits by construction")
    }

    pub(crate) fn number(&self) -> u64 {
        number(&self.0)
    }
}

impl<const N: usize> fmt::Debug for Digits<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The number that ASCII digits spell; at most 18 of them, so that it fits.
pub(crate) fn number(digits: &[u8]) -> u64 {
    debug_assert!(digits.len() <= 18, "18 digits fit in 64 bits, {} may not", digits.len());
    digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}

fn ascii(digit: u64) -> u8 {
    b'0' + u8::try_from(digit).expect("one decimal digit")
}
