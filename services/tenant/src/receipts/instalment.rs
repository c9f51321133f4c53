//! An instalment while the receipts of a batch are applied one after the other.

use fiorino_domain::{
    case::CaseKind,
    position::{InstalmentEvent, InstalmentState, next},
};

use crate::positions::transition::{Locked, Move};

/// As the receipts before have left it.
pub(super) struct Instalment {
    pub(super) locked: Locked,
    pub(super) state: InstalmentState,
    pub(super) receipt_id: Option<String>,
}

// === impl Instalment ===

impl Instalment {
    pub(super) fn new(locked: Locked) -> Self {
        Self { state: locked.state, receipt_id: locked.receipt_id.clone(), locked }
    }

    /// It was loaded as paid, and no receipt has come for it.
    pub(super) fn is_paid_elsewhere(&self) -> bool {
        self.state == InstalmentState::Paid && self.receipt_id.is_none()
    }

    /// A fact; facts are never refused (ARCHITECTURE.md 4.6).
    pub(super) fn happens(&mut self, event: InstalmentEvent) -> Option<CaseKind> {
        let transition = next(self.state, event).ok()?;
        self.state = transition.state;
        transition.case
    }

    pub(super) fn moved(self) -> Option<Move> {
        let Self { locked, state, receipt_id } = self;
        let paid_by = receipt_id.filter(|receipt_id| locked.receipt_id.as_ref() != Some(receipt_id));
        (state != locked.state || paid_by.is_some()).then_some(Move {
            institution_id: locked.institution_id,
            nav: locked.nav,
            version: locked.version,
            state,
            receipt_id: paid_by,
            issued_on: None,
        })
    }
}
