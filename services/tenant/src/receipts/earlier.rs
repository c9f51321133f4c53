//! What other versions of a receipt said that were applied before it: whether it counted already, and the amounts that it does not tell.

use std::collections::HashMap;

use fiorino_proto::receipts::v1::Receipt;
use serde::{Deserialize, Serialize};

use super::{
    arrived::{Arrived, Key},
    compare::Activated,
};

/// A version that was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Earlier {
    pub(super) version: i32,
    pub(super) notice_number: String,
    /// Empty = not told.
    pub(super) issuer: String,
    /// It told of a payment that was made: the receipt has counted.
    pub(super) counted: bool,
    pub(super) cents: Option<i64>,
    pub(super) transfers: Vec<EarlierTransfer>,
}

/// An element of `receipt.content.transfers`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct EarlierTransfer {
    id: u32,
    #[serde(default)]
    cents: Option<i64>,
    beneficiary: String,
}

/// By institution and receipt: the versions that were applied, first to last.
pub(super) type Versions = HashMap<(i32, String), Vec<Earlier>>;

/// What payments say a receipt paid.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Amounts {
    pub(super) total: Option<i64>,
    /// One per transfer of the receipt, in their order.
    pub(super) transfers: Vec<Option<i64>>,
}

// === impl Earlier ===

impl Earlier {
    pub(super) fn of(arrived: &Arrived) -> Self {
        let told = &arrived.told;
        let transfers = told.transfers.iter().map(|transfer| EarlierTransfer {
            id: transfer.id,
            cents: transfer.amount_cents,
            beneficiary: transfer.beneficiary.clone(),
        });
        Self {
            version: arrived.version,
            notice_number: told.notice_number.clone(),
            issuer: told.issuer.clone(),
            counted: arrived.is_paid(),
            cents: told.amount_cents,
            transfers: transfers.collect(),
        }
    }

    /// It has counted for the notice of this receipt, and not as somebody's share of a stranger's notice with an equal number.
    pub(super) fn paid_notice_of(&self, told: &Receipt) -> bool {
        let own = self.issuer.is_empty() || self.issuer == told.institution;
        self.counted && own && self.notice_number == told.notice_number
    }
}

/// The versions of a receipt.
pub(super) fn of<'a>(versions: &'a Versions, key: &Key) -> &'a [Earlier] {
    versions.get(&(key.institution_id, key.receipt_id.clone())).map_or(&[], Vec::as_slice)
}

// === impl Amounts ===

impl Amounts {
    /// What the receipt tells; where it does not, what its latest other version told, else what the attempt to pay was answered. Not told is
    /// not zero, and a zero of another version is not trusted: before amounts could be absent it stood for one that nobody could read.
    pub(super) fn of(told: &Receipt, versions: &[Earlier], activated: Option<&Activated>) -> Self {
        let total = told.amount_cents.or_else(|| {
            let earlier = versions.iter().rev().find_map(|version| version.cents.filter(|cents| *cents > 0));
            earlier.or_else(|| activated.map(|activated| activated.cents))
        });
        let transfer = |id: u32, beneficiary: &str| {
            let mut earlier = versions.iter().rev().flat_map(|version| &version.transfers);
            let earlier = earlier.find_map(|it| it.cents.filter(|cents| *cents > 0 && it.is(id, beneficiary)));
            let mut answered = activated.into_iter().flat_map(|activated| &activated.transfers);
            earlier.or_else(|| answered.find(|it| it.id == id && it.beneficiary == beneficiary).map(|it| it.cents))
        };
        let transfers = told.transfers.iter().map(|it| it.amount_cents.or_else(|| transfer(it.id, &it.beneficiary)));
        Self { total, transfers: transfers.collect() }
    }

    /// Themselves, where they are other than the receipt tells them: what was announced follows from its row.
    pub(super) fn beside(self, told: &Receipt) -> Option<Self> {
        Some(self).filter(|amounts| *amounts != Self::of(told, &[], None))
    }
}

// === impl EarlierTransfer ===

impl EarlierTransfer {
    fn is(&self, id: u32, beneficiary: &str) -> bool {
        self.id == id && self.beneficiary == beneficiary
    }
}
