//! What receipts do, without a database: for the fuzz targets (docs/fuzzing.md).

use bytes::Bytes;
use fiorino_domain::position::InstalmentState;
use fiorino_proto::receipts::v1::{ApplyOutcome, Receipt};
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    apply::{Known, plan},
    arrived::Arrived,
};
use crate::positions::transition::Locked;

/// What became of receipts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// One per receipt, in their order.
    pub outcomes: Vec<ApplyOutcome>,
    /// Contents of the receipts that are stored, as JSON.
    pub stored: Vec<String>,
    /// Payloads of the events.
    pub events: Vec<Bytes>,
    /// Cases that are opened.
    pub cases: usize,
    /// Notices that are paid.
    pub paid: usize,
}

/// Applies receipts where every institution is known and every notice payable; `seen`: all of them were applied before.
pub fn apply(receipts: Vec<Receipt>, seen: bool) -> Applied {
    let now = Timestamp::UNIX_EPOCH;
    let arrived: Vec<_> = receipts.into_iter().map(|receipt| Arrived::read(receipt, now)).collect();
    let plan = plan(&arrived, known(&arrived, seen), now);
    let stored =
        plan.receipts.iter().filter_map(|row| serde_json::to_string(&row.arrived.content(row.announced.as_ref())).ok());
    Applied {
        stored: stored.collect(),
        events: plan.messages.into_iter().map(|message| message.payload).collect(),
        cases: plan.cases.len(),
        paid: plan.moves.len(),
        outcomes: plan.outcomes,
    }
}

fn known(arrived: &[Arrived], seen: bool) -> Known {
    let mut known = Known::default();
    for (id, one) in (1..).zip(arrived) {
        let id = *known.institutions.entry(one.told.institution.clone()).or_insert(id);
        known.instalments.push(payable(id, &one.told.notice_number));
        known.versions.entry(one.key(id)).or_insert_with(|| one.told.content_hash.to_vec());
    }
    if !seen {
        known.fresh = known.versions.keys().cloned().collect();
    }
    known
}

fn payable(institution_id: i32, nav: &str) -> Locked {
    Locked {
        institution_id,
        nav: nav.to_owned(),
        position_id: Uuid::nil(),
        option_no: 1,
        state: InstalmentState::Payable,
        version: 1,
        amount_cents: 100,
        receipt_id: None,
    }
}
