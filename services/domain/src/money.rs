//! Money: whole cents of euro, never negative, never more than a message to the node can carry.

use std::{fmt, iter};

use serde::{Deserialize, Serialize};

/// Result of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An amount in cents of euro, 0..=[`Cents::MAX`] (sac-common-types-1.0.xsd `stAmount`, pagopa.md 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Cents(i64);

/// Why a number is no amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Below zero.
    #[error("an amount is never negative")]
    Negative,
    /// Above [`Cents::MAX`].
    #[error("an amount is at most 999999999.99 euro")]
    TooLarge,
    /// Not written as the wire writes amounts.
    #[error("an amount is written as digits, a point and two digits, such as 120.00")]
    Format,
}

// === impl Cents ===

impl Cents {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// 999999999.99 euro, the wire's maximum.
    pub const MAX: Self = Self(99_999_999_999);

    /// An amount of so many cents.
    ///
    /// # Errors
    /// Negative, or above [`Cents::MAX`].
    pub const fn new(cents: i64) -> Result<Self> {
        match cents {
            ..0 => Err(Error::Negative),
            0..=99_999_999_999 => Ok(Self(cents)),
            _ => Err(Error::TooLarge),
        }
    }

    /// The number of cents.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Whether it is nothing: a notice or transfer of zero does not exist on the wire (`stAmountNotZero`).
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum.
    ///
    /// # Errors
    /// Above [`Cents::MAX`].
    pub const fn checked_add(self, other: Self) -> Result<Self> {
        Self::new(self.0 + other.0)
    }

    /// The difference.
    ///
    /// # Errors
    /// `other` is more than `self`.
    pub const fn checked_sub(self, other: Self) -> Result<Self> {
        Self::new(self.0 - other.0)
    }

    /// So many times the amount.
    ///
    /// # Errors
    /// Above [`Cents::MAX`].
    pub const fn checked_mul(self, times: u32) -> Result<Self> {
        // u32 widened: both factors together stay below 2^69, so the multiplication itself is checked too.
        match self.0.checked_mul(times as i64) {
            Some(cents) => Self::new(cents),
            None => Err(Error::TooLarge),
        }
    }

    /// The sum of all.
    ///
    /// # Errors
    /// Above [`Cents::MAX`].
    pub fn checked_sum(amounts: impl IntoIterator<Item = Self>) -> Result<Self> {
        amounts.into_iter().try_fold(Self::ZERO, Self::checked_add)
    }

    /// Reads `120.00`: the lexical form of `stAmount`, `\d+\.\d{2}`.
    ///
    /// # Errors
    /// Another form, or above [`Cents::MAX`].
    pub fn parse_decimal(text: &str) -> Result<Self> {
        let (euros, cents) = text.split_once('.').ok_or(Error::Format)?;
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(euros) || !digits(cents) || cents.len() != 2 {
            return Err(Error::Format);
        }
        iter::chain(euros.bytes(), cents.bytes())
            .try_fold(Self::ZERO, |amount, digit| amount.checked_mul(10)?.checked_add(Self(i64::from(digit - b'0'))))
    }

    /// Writes `120.00`, as the wire does.
    pub fn to_decimal(self) -> String {
        self.to_string()
    }
}

impl TryFrom<i64> for Cents {
    type Error = Error;

    fn try_from(cents: i64) -> Result<Self> {
        Self::new(cents)
    }
}

impl From<Cents> for i64 {
    fn from(amount: Cents) -> Self {
        amount.get()
    }
}

impl fmt::Display for Cents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("0.00", Ok(0))]
    #[case("0.01", Ok(1))]
    #[case("120.00", Ok(12_000))]
    #[case("007.50", Ok(750))]
    #[case("999999999.99", Ok(99_999_999_999))]
    #[case("1000000000.00", Err(Error::TooLarge))]
    #[case("99999999999999999999999999.00", Err(Error::TooLarge))]
    #[case("120", Err(Error::Format))]
    #[case("120.0", Err(Error::Format))]
    #[case("120.000", Err(Error::Format))]
    #[case(".00", Err(Error::Format))]
    #[case("-1.00", Err(Error::Format))]
    #[case("+1.00", Err(Error::Format))]
    #[case("1,00", Err(Error::Format))]
    #[case("1.0x", Err(Error::Format))]
    #[case("", Err(Error::Format))]
    fn decimals(#[case] text: &str, #[case] expect: Result<i64>) {
        assert_eq!(Cents::parse_decimal(text).map(Cents::get), expect);
    }

    #[test]
    fn bounds() {
        assert_eq!(Cents::new(-1), Err(Error::Negative));
        assert_eq!(Cents::new(99_999_999_999), Ok(Cents::MAX));
        assert_eq!(Cents::new(100_000_000_000), Err(Error::TooLarge));
        assert_eq!(Cents::MAX.checked_add(Cents(1)), Err(Error::TooLarge));
        assert_eq!(Cents::ZERO.checked_sub(Cents(1)), Err(Error::Negative));
        assert_eq!(Cents::MAX.checked_mul(u32::MAX), Err(Error::TooLarge));
        assert_eq!(Cents(250).checked_mul(4), Ok(Cents(1000)));
        assert_eq!(Cents::checked_sum([Cents(1), Cents(2)]), Ok(Cents(3)));
    }

    #[test]
    fn json_is_a_checked_number() {
        assert_eq!(serde_json::to_string(&Cents(12_000)).unwrap(), "12000");
        assert_eq!(serde_json::from_str::<Cents>("12000").unwrap(), Cents(12_000));
        assert!(serde_json::from_str::<Cents>("-1").is_err());
        assert!(serde_json::from_str::<Cents>("12.5").is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(cents in 0..=Cents::MAX.get()) {
            let amount = Cents::new(cents)?;
            prop_assert_eq!(Cents::parse_decimal(&amount.to_decimal())?, amount);
        }
    }
}
