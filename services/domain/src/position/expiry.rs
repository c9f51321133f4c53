//! Whether the node may have a notice paid now, and why not (ARCHITECTURE.md 4.6, 4.7).

use jiff::Timestamp;

use super::InstalmentState;
use crate::date::LegalDate;

/// What a service wants after the due date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExpiryPolicy {
    /// Payable after it too.
    PayableAfterDueDate,
    /// Not payable from the day after.
    NotPayableAfterDueDate,
}

/// Why a notice cannot be paid; each is one fault of pagopa.md 2.10.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// `PAA_PAGAMENTO_SCONOSCIUTO`: a draft.
    Unknown,
    /// `PAA_PAGAMENTO_DUPLICATO`: paid, or reported as paid.
    Paid,
    /// `PAA_PAGAMENTO_ANNULLATO`: cancelled or superseded.
    Cancelled,
    /// `PAA_PAGAMENTO_SCADUTO`: the due day is over and the service does not take it any more.
    Expired,
}

/// Whether the due day is over and the policy minds: payable to the end of the due day in Europe/Rome.
pub fn expired(due: Option<LegalDate>, policy: ExpiryPolicy, now: Timestamp) -> bool {
    match policy {
        ExpiryPolicy::PayableAfterDueDate => false,
        ExpiryPolicy::NotPayableAfterDueDate => due.is_some_and(|due| due.is_over(now)),
    }
}

/// What the node is answered; `None` when the notice can be paid. A state that is closed outweighs expiry.
pub const fn refusal(state: InstalmentState, expired: bool) -> Option<Refusal> {
    match (state, expired) {
        (InstalmentState::Payable, false) => None,
        (InstalmentState::Payable, true) => Some(Refusal::Expired),
        (InstalmentState::Draft, _) => Some(Refusal::Unknown),
        (InstalmentState::Paid | InstalmentState::ReportedWithoutReceipt, _) => Some(Refusal::Paid),
        (InstalmentState::Superseded | InstalmentState::Cancelled, _) => Some(Refusal::Cancelled),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::{ExpiryPolicy::*, *};

    #[rstest]
    #[case(Some("2026-07-31"), NotPayableAfterDueDate, "2026-07-31T21:59:59Z", false)]
    #[case(Some("2026-07-31"), NotPayableAfterDueDate, "2026-07-31T22:00:00Z", true)]
    #[case(Some("2026-07-31"), PayableAfterDueDate, "2027-01-01T00:00:00Z", false)]
    #[case(None, NotPayableAfterDueDate, "2099-01-01T00:00:00Z", false)]
    fn expiry(#[case] due: Option<&str>, #[case] policy: ExpiryPolicy, #[case] now: Timestamp, #[case] expect: bool) {
        assert_eq!(expired(due.map(|due| LegalDate::parse(due).unwrap()), policy, now), expect);
    }

    #[rstest]
    #[case(InstalmentState::Draft, Some(Refusal::Unknown), Some(Refusal::Unknown))]
    #[case(InstalmentState::Payable, None, Some(Refusal::Expired))]
    #[case(InstalmentState::Paid, Some(Refusal::Paid), Some(Refusal::Paid))]
    #[case(InstalmentState::Superseded, Some(Refusal::Cancelled), Some(Refusal::Cancelled))]
    #[case(InstalmentState::Cancelled, Some(Refusal::Cancelled), Some(Refusal::Cancelled))]
    #[case(InstalmentState::ReportedWithoutReceipt, Some(Refusal::Paid), Some(Refusal::Paid))]
    fn answers(#[case] state: InstalmentState, #[case] in_time: Option<Refusal>, #[case] late: Option<Refusal>) {
        assert_eq!(refusal(state, false), in_time);
        assert_eq!(refusal(state, true), late);
    }
}
