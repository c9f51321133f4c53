//! The life of an instalment: one table that decides every pair of state and event (ARCHITECTURE.md 4.6).
//!
//! Publish, change, cancel and restore are wishes and may be refused. The other events are facts and never are: money that came is booked
//! in every state, and what is odd about it becomes a case. Nothing leads out of Paid and Superseded to where somebody could pay. A report
//! is taken back by a flow's own revision, a cancellation by the institution.

use crate::{case::CaseKind, text::public_text};

/// Where an instalment stands. Expiry is no state: it follows from due date, policy and time ([`super::expired`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InstalmentState {
    /// Not published: the node does not see it.
    Draft,
    /// Open.
    Payable,
    /// A receipt was applied. The last state: nothing leads out of it.
    Paid,
    /// An instalment of another option was paid instead.
    Superseded,
    /// Withdrawn by the institution.
    Cancelled,
    /// A flow reports it as paid, its receipt is not here yet.
    ReportedWithoutReceipt,
}

/// What happens to an instalment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InstalmentEvent {
    /// The institution makes it payable.
    Publish,
    /// The institution changes amount, due date or text.
    Change,
    /// The institution withdraws it.
    Cancel,
    /// The institution takes its withdrawal back; it was payable. Asked only while no open case says that a flow reports it.
    Restore,
    /// The same of one that was a draft.
    RestoreDraft,
    /// An instalment of another option of the position was paid, here or elsewhere.
    SiblingPaid,
    /// A receipt for it was received.
    ReceiptApplied,
    /// Whoever loads it from another system says that it was paid there.
    PaidElsewhere,
    /// A flow reports it as paid, and there is no receipt.
    FlowReported,
    /// A later revision of the flow does not report it any more.
    FlowWithdrawn,
}

/// What an event leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// The state from now on; may be the one that it was in.
    pub state: InstalmentState,
    /// What a person must look at.
    pub case: Option<CaseKind>,
}

/// A wish that the state does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an instalment that is {} cannot be {}", .state.adjective(), .event.participle())]
pub struct Refused {
    /// Where it stands.
    pub state: InstalmentState,
    /// What was wished.
    pub event: InstalmentEvent,
}

/// No state has this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown instalment state")]
pub struct UnknownState;

/// The table.
///
/// # Errors
/// A wish that comes too late; facts are never refused.
#[expect(clippy::match_same_arms, reason = "a row per rule")]
pub const fn next(state: InstalmentState, event: InstalmentEvent) -> Result<Transition, Refused> {
    use CaseKind::{FlowNotPayable, ReceiptDouble, ReceiptLate, ReceiptUnpublished};
    use InstalmentEvent::{
        Cancel, Change, FlowReported, FlowWithdrawn, PaidElsewhere, Publish, ReceiptApplied, Restore, RestoreDraft,
        SiblingPaid,
    };
    use InstalmentState::{Cancelled, Draft, Paid, Payable, ReportedWithoutReceipt, Superseded};

    let (state, case) = match (state, event) {
        // wishes; an equal repetition changes nothing
        (Draft | Payable, Publish) => (Payable, None),
        (Draft | Payable, Change) => (state, None),
        (Draft | Payable | Cancelled, Cancel) => (Cancelled, None),
        (Cancelled, Restore) => (Payable, None),
        (Cancelled, RestoreDraft) => (Draft, None),
        (Draft | Payable, Restore | RestoreDraft) => (state, None),
        (Paid | Superseded | ReportedWithoutReceipt, Publish | Change | Cancel | Restore | RestoreDraft)
        | (Cancelled, Publish | Change) => return Err(Refused { state, event }),

        // a receipt is applied from every state
        (Payable | ReportedWithoutReceipt, ReceiptApplied) => (Paid, None),
        (Draft, ReceiptApplied) => (Paid, Some(ReceiptUnpublished)),
        (Superseded | Cancelled, ReceiptApplied) => (Paid, Some(ReceiptLate)),
        (Paid, ReceiptApplied) => (Paid, Some(ReceiptDouble)),

        // what another system took is not asked for again; that system knows what is odd about it
        (_, PaidElsewhere) => (Paid, None),

        // one option excludes the others; two that seem paid are for a person. One that is cancelled is out for good: restored, it
        // would ask for what the other option has paid.
        (Draft | Payable | Cancelled, SiblingPaid) => (Superseded, None),
        (ReportedWithoutReceipt, SiblingPaid) => (Superseded, Some(FlowNotPayable)),
        (Paid | Superseded, SiblingPaid) => (state, None),

        // a flow is evidence until the receipt comes; its withdrawal opens only what it had closed
        (Payable | ReportedWithoutReceipt, FlowReported) => (ReportedWithoutReceipt, None),
        (Draft, FlowReported) => (ReportedWithoutReceipt, Some(FlowNotPayable)),
        (Superseded | Cancelled, FlowReported) => (state, Some(FlowNotPayable)),
        (Paid, FlowReported) => (Paid, None),
        (ReportedWithoutReceipt, FlowWithdrawn) => (Payable, None),
        (Draft | Payable | Paid | Superseded | Cancelled, FlowWithdrawn) => (state, None),
    };
    Ok(Transition { state, case })
}

// === impl InstalmentState ===

impl InstalmentState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Draft, Self::Payable, Self::Paid, Self::Superseded, Self::Cancelled, Self::ReportedWithoutReceipt];

    /// The stable name, for logs and people.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Payable => "payable",
            Self::Paid => "paid",
            Self::Superseded => "superseded",
            Self::Cancelled => "cancelled",
            Self::ReportedWithoutReceipt => "reported_without_receipt",
        }
    }

    /// Reads a stable name.
    ///
    /// # Errors
    /// Not one of them.
    pub fn parse(name: &str) -> Result<Self, UnknownState> {
        Self::ALL.into_iter().find(|state| state.as_str() == name).ok_or(UnknownState)
    }

    /// The stable number, as in rows and messages (`fiorino.positions.v1.InstalmentState`).
    pub const fn number(self) -> i16 {
        match self {
            Self::Draft => 1,
            Self::Payable => 2,
            Self::Paid => 3,
            Self::Superseded => 4,
            Self::Cancelled => 5,
            Self::ReportedWithoutReceipt => 6,
        }
    }

    /// Reads a stable number.
    ///
    /// # Errors
    /// Not one of them.
    pub fn from_number(number: i16) -> Result<Self, UnknownState> {
        Self::ALL.into_iter().find(|state| state.number() == number).ok_or(UnknownState)
    }

    /// Whether the money came, by receipt or as a flow reports.
    pub const fn is_settled(self) -> bool {
        match self {
            Self::Paid | Self::ReportedWithoutReceipt => true,
            Self::Draft | Self::Payable | Self::Superseded | Self::Cancelled => false,
        }
    }

    const fn adjective(self) -> &'static str {
        match self {
            Self::ReportedWithoutReceipt => "reported as paid",
            Self::Draft | Self::Payable | Self::Paid | Self::Superseded | Self::Cancelled => self.as_str(),
        }
    }
}

public_text!(InstalmentState, UnknownState);

// === impl InstalmentEvent ===

impl InstalmentEvent {
    /// Every event.
    pub const ALL: [Self; 10] = [
        Self::Publish,
        Self::Change,
        Self::Cancel,
        Self::Restore,
        Self::RestoreDraft,
        Self::SiblingPaid,
        Self::ReceiptApplied,
        Self::PaidElsewhere,
        Self::FlowReported,
        Self::FlowWithdrawn,
    ];

    const fn participle(self) -> &'static str {
        match self {
            Self::Publish => "published",
            Self::Change => "changed",
            Self::Cancel => "cancelled",
            Self::Restore | Self::RestoreDraft => "restored",
            Self::SiblingPaid => "superseded",
            Self::ReceiptApplied | Self::PaidElsewhere => "paid",
            Self::FlowReported => "reported",
            Self::FlowWithdrawn => "reopened",
        }
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
