//! How an amount is divided among those who receive it (ARCHITECTURE.md 4.1).

use crate::money::{self, Cents};

/// Result of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One of those who receive a part, in the order in which the transfers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The issuer of the notice itself: gets what is left, costs and interest.
    pub to_issuer: bool,
    /// Part of the amount before costs; 0 for an issuer that only gets the rest.
    pub basis_points: BasisPoints,
}

/// Hundredths of a per cent, 0..=10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BasisPoints(u16);

/// A part of the amount; its transfer is numbered by its place in the result, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Place of its [`Share`] in the list.
    pub share: usize,
    /// Above zero.
    pub amount: Cents,
}

/// Why an amount cannot be divided.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nobody receives.
    #[error("at least one share is needed")]
    NoShare,
    /// ctTransferListPA (pagopa.md 2.5).
    #[error("a payment has at most {MAX_TRANSFERS} transfers")]
    TooMany,
    /// More than the whole.
    #[error("shares add up to at most 10000 basis points")]
    AboveWhole,
    /// A share by itself.
    #[error("a share is between 0 and 10000 basis points")]
    BasisPoints,
    /// Nothing to divide: a notice of zero does not exist on the wire.
    #[error("the amount to divide must be above zero")]
    Zero,
    /// Amount and costs together.
    #[error("amount and costs together are too much")]
    Total(#[source] money::Error),
}

/// Transfers of one payment (ctTransferListPA, pagopa.md 2.5).
pub const MAX_TRANSFERS: usize = 5;

/// Divides `amount` by the shares, in their order: each is rounded half-up and never more than what is left. What remains and all
/// `costs` (interest, fines, postage) go to the issuer's share, or to the first one when the issuer has none. Parts of zero are left
/// out. The parts add up to `amount + costs`.
///
/// # Errors
/// No share, more than [`MAX_TRANSFERS`], more than the whole, nothing to divide, or more than the wire can carry.
pub fn split(amount: Cents, costs: Cents, shares: &[Share]) -> Result<Vec<Part>> {
    if shares.is_empty() {
        return Err(Error::NoShare);
    }
    if shares.len() > MAX_TRANSFERS {
        return Err(Error::TooMany);
    }
    if shares.iter().map(|share| u32::from(share.basis_points.0)).sum::<u32>() > u32::from(BasisPoints::WHOLE.0) {
        return Err(Error::AboveWhole);
    }
    if amount.checked_add(costs).map_err(Error::Total)?.is_zero() {
        return Err(Error::Zero);
    }
    let rest_to = shares.iter().position(|share| share.to_issuer).unwrap_or(0);
    let mut left = amount;
    let mut parts = Vec::with_capacity(shares.len());
    for (share, told) in shares.iter().enumerate() {
        let amount = told.basis_points.of(amount).map_err(Error::Total)?.min(left);
        left = left.checked_sub(amount).map_err(Error::Total)?;
        parts.push(Part { share, amount });
    }
    if let Some(part) = parts.get_mut(rest_to) {
        part.amount = Cents::checked_sum([part.amount, left, costs]).map_err(Error::Total)?;
    }
    parts.retain(|part| !part.amount.is_zero());
    Ok(parts)
}

// === impl Share ===

impl Share {
    /// The issuer, who gets what the others do not.
    pub const ISSUER: Self = Self { to_issuer: true, basis_points: BasisPoints(0) };

    /// Another institution's share.
    pub const fn of_beneficiary(basis_points: BasisPoints) -> Self {
        Self { to_issuer: false, basis_points }
    }
}

// === impl BasisPoints ===

impl BasisPoints {
    /// 100 %.
    pub const WHOLE: Self = Self(10_000);

    /// So many hundredths of a per cent.
    ///
    /// # Errors
    /// Above 10,000.
    pub fn new(basis_points: u32) -> Result<Self> {
        u16::try_from(basis_points).ok().filter(|points| *points <= Self::WHOLE.0).map(Self).ok_or(Error::BasisPoints)
    }

    /// 0..=10,000.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// That part of an amount, rounded half-up.
    fn of(self, amount: Cents) -> money::Result<Cents> {
        // 99,999,999,999 * 10,000 stays far below 2^63.
        let (points, whole) = (i64::from(self.0), i64::from(Self::WHOLE.0));
        Cents::new((amount.get() * points + whole / 2) / whole)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn share(to_issuer: bool, basis_points: u32) -> Share {
        Share { to_issuer, basis_points: BasisPoints::new(basis_points).unwrap() }
    }

    fn cents(cents: i64) -> Cents {
        Cents::new(cents).unwrap()
    }

    fn check(amount: i64, costs: i64, shares: &[Share], expect: &[(usize, i64)]) {
        let parts = split(cents(amount), cents(costs), shares).unwrap();
        let parts: Vec<_> = parts.iter().map(|part| (part.share, part.amount.get())).collect();
        assert_eq!(parts, expect);
    }

    #[test]
    fn the_issuer_alone_gets_everything() {
        check(12_000, 350, &[Share::ISSUER], &[(0, 12_350)]);
    }

    #[test]
    fn waste_tax_with_the_province() {
        check(10_001, 0, &[Share::ISSUER, share(false, 500)], &[(0, 9_501), (1, 500)]);
        check(10_010, 0, &[Share::ISSUER, share(false, 500)], &[(0, 9_509), (1, 501)]); // 500.5 is rounded up
        check(10_009, 0, &[Share::ISSUER, share(false, 500)], &[(0, 9_509), (1, 500)]);
    }

    #[test]
    fn costs_go_to_the_issuer_wherever_it_stands() {
        check(1_000, 250, &[share(false, 5_000), share(true, 5_000)], &[(0, 500), (1, 750)]);
    }

    #[test]
    fn without_the_issuer_the_first_gets_the_rest() {
        check(
            1_000,
            10,
            &[share(false, 3_333), share(false, 3_333), share(false, 3_333)],
            &[(0, 344), (1, 333), (2, 333)],
        );
    }

    #[test]
    fn never_more_than_what_is_left() {
        // each half of one cent is rounded up; the second finds nothing
        check(1, 0, &[share(false, 5_000), share(true, 5_000)], &[(0, 1)]);
        check(
            3,
            0,
            &[share(false, 2_500), share(false, 2_500), share(false, 2_500), share(false, 2_500)],
            &[(0, 1), (1, 1), (2, 1)],
        );
    }

    #[test]
    fn only_costs() {
        check(0, 500, &[share(false, 10_000), Share::ISSUER], &[(1, 500)]);
    }

    #[rstest]
    #[case(0, 0, &[Share::ISSUER], Error::Zero)]
    #[case(1, 0, &[], Error::NoShare)]
    #[case(1, 0, &[Share::ISSUER; 6], Error::TooMany)]
    #[case(99_999_999_999, 1, &[Share::ISSUER], Error::Total(money::Error::TooLarge))]
    #[case(1, 0, &[Share::of_beneficiary(BasisPoints(5_001)); 2], Error::AboveWhole)]
    fn refused(#[case] amount: i64, #[case] costs: i64, #[case] shares: &[Share], #[case] error: Error) {
        assert_eq!(split(cents(amount), cents(costs), shares), Err(error));
    }

    #[test]
    fn basis_points() {
        assert_eq!(BasisPoints::new(10_000).map(BasisPoints::get), Ok(10_000));
        assert_eq!(BasisPoints::new(10_001), Err(Error::BasisPoints));
        assert_eq!(BasisPoints::new(65_536 + 5), Err(Error::BasisPoints));
    }

    /// 1-5 shares that are together at most the whole.
    fn shares() -> impl Strategy<Value = Vec<Share>> {
        (prop::collection::vec((any::<bool>(), 0u32..=10_000), 1..=MAX_TRANSFERS)).prop_map(|told| {
            let mut left = 10_000;
            let limited = told.into_iter().map(|(to_issuer, points)| {
                let points = points.min(left);
                left -= points;
                share(to_issuer, points)
            });
            limited.collect()
        })
    }

    proptest! {
        #[test]
        fn nothing_is_lost(amount in 0..=90_000_000_000i64, costs in 0..=9_000_000_000i64, shares in shares()) {
            prop_assume!(amount + costs > 0);
            let parts = split(cents(amount), cents(costs), &shares).unwrap();
            prop_assert_eq!(parts.iter().map(|part| part.amount.get()).sum::<i64>(), amount + costs);
            prop_assert!(parts.iter().all(|part| part.amount.get() > 0));
            prop_assert!(parts.len() <= MAX_TRANSFERS);
            prop_assert!(parts.is_sorted_by(|one, next| one.share < next.share));
        }

        /// Whoever does not get the rest gets the share within one cent, and never above its rounding.
        #[test]
        fn shares_are_kept(amount in 0..=90_000_000_000i64, shares in shares()) {
            prop_assume!(amount > 0);
            let rest_to = shares.iter().position(|share| share.to_issuer).unwrap_or(0);
            for part in split(cents(amount), Cents::ZERO, &shares).unwrap() {
                let exact = i128::from(amount) * i128::from(shares[part.share].basis_points.0);
                let got = i128::from(part.amount.get()) * 10_000;
                prop_assert!(part.share == rest_to || got <= exact + 5_000);
            }
        }
    }
}
