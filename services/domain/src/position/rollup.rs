//! What options and positions are, told from their instalments: never stored, so never wrong.

use super::InstalmentState;

/// Where an option stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OptionState {
    /// Not published.
    Draft,
    /// Something can be paid, nothing was.
    Open,
    /// Something was paid, something is open.
    PartiallyPaid,
    /// Something was paid, nothing is open.
    Paid,
    /// Another option was paid instead.
    Superseded,
    /// Withdrawn as a whole.
    Cancelled,
}

/// Where a position stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PositionState {
    /// Not published.
    Draft,
    /// Something can be paid, nothing was.
    Open,
    /// Something was paid, something is open.
    PartiallyPaid,
    /// Something was paid, nothing is open.
    Paid,
    /// Withdrawn as a whole.
    Cancelled,
}

// === impl OptionState ===

impl OptionState {
    /// Of its instalments; without any it is cancelled.
    pub fn of(instalments: impl IntoIterator<Item = InstalmentState>) -> Self {
        let found = Found::among(instalments);
        match found {
            Found { settled: true, payable: true, .. } | Found { settled: true, draft: true, .. } => {
                Self::PartiallyPaid
            }
            Found { settled: true, .. } => Self::Paid,
            Found { payable: true, .. } => Self::Open,
            Found { draft: true, .. } => Self::Draft,
            Found { superseded: true, .. } => Self::Superseded,
            Found { .. } => Self::Cancelled,
        }
    }
}

// === impl PositionState ===

impl PositionState {
    /// Of all instalments of all its options; without any it is cancelled.
    pub fn of(instalments: impl IntoIterator<Item = InstalmentState>) -> Self {
        match OptionState::of(instalments) {
            OptionState::Draft => Self::Draft,
            OptionState::Open => Self::Open,
            OptionState::PartiallyPaid => Self::PartiallyPaid,
            OptionState::Paid => Self::Paid,
            // superseded by a payment that is not among them: nothing is left to pay
            OptionState::Superseded | OptionState::Cancelled => Self::Cancelled,
        }
    }
}

/// Which kinds of states there are among instalments.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "a set of four")]
struct Found {
    draft: bool,
    payable: bool,
    settled: bool,
    superseded: bool,
}

// === impl Found ===

impl Found {
    fn among(instalments: impl IntoIterator<Item = InstalmentState>) -> Self {
        instalments.into_iter().fold(Self::default(), |found, state| match state {
            InstalmentState::Draft => Self { draft: true, ..found },
            InstalmentState::Payable => Self { payable: true, ..found },
            InstalmentState::Paid | InstalmentState::ReportedWithoutReceipt => Self { settled: true, ..found },
            InstalmentState::Superseded => Self { superseded: true, ..found },
            InstalmentState::Cancelled => found,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::select};
    use rstest::rstest;

    use super::{
        super::{InstalmentEvent, InstalmentState::*, next},
        *,
    };

    #[rstest]
    #[case(&[], OptionState::Cancelled, PositionState::Cancelled)]
    #[case(&[Draft, Draft], OptionState::Draft, PositionState::Draft)]
    #[case(&[Draft, Payable], OptionState::Open, PositionState::Open)]
    #[case(&[Payable, Cancelled], OptionState::Open, PositionState::Open)]
    #[case(&[Payable, Paid], OptionState::PartiallyPaid, PositionState::PartiallyPaid)]
    #[case(&[Payable, ReportedWithoutReceipt], OptionState::PartiallyPaid, PositionState::PartiallyPaid)]
    #[case(&[Draft, Paid], OptionState::PartiallyPaid, PositionState::PartiallyPaid)]
    #[case(&[Paid, ReportedWithoutReceipt], OptionState::Paid, PositionState::Paid)]
    #[case(&[Paid, Cancelled], OptionState::Paid, PositionState::Paid)]
    #[case(&[Paid, Superseded], OptionState::Paid, PositionState::Paid)]
    #[case(&[Superseded, Cancelled], OptionState::Superseded, PositionState::Cancelled)]
    #[case(&[Cancelled, Cancelled], OptionState::Cancelled, PositionState::Cancelled)]
    fn rows(#[case] instalments: &[InstalmentState], #[case] option: OptionState, #[case] position: PositionState) {
        assert_eq!(OptionState::of(instalments.iter().copied()), option);
        assert_eq!(PositionState::of(instalments.iter().copied()), position);
    }

    proptest! {
        #[test]
        fn order_does_not_matter(mut states in prop::collection::vec(select(InstalmentState::ALL.as_slice()), 0..8)) {
            let before = OptionState::of(states.iter().copied());
            states.reverse();
            prop_assert_eq!(OptionState::of(states), before);
        }

        /// Paying what is open, one after the other, ends in a position that is paid, and never passes through one that is closed.
        #[test]
        fn paying_all_pays_the_position(count in 1usize..12) {
            let mut states = vec![Payable; count];
            for place in 0..count {
                states[place] = next(states[place], InstalmentEvent::ReceiptApplied)?.state;
                let expect = if place + 1 == count { PositionState::Paid } else { PositionState::PartiallyPaid };
                prop_assert_eq!(PositionState::of(states.iter().copied()), expect);
            }
        }
    }
}
