//! How the amount of an instalment is divided (ARCHITECTURE.md 4.1): by shares as they were when it was made, or as its maker gave it.

use fiorino_domain::{
    money::Cents,
    split::{self, BasisPoints, Share},
    taxonomy::TaxonomyCode,
};
use serde::{Deserialize, Serialize};

use super::{
    facts::Service,
    stored::{StoredBeneficiary, StoredTransfer},
};

/// What `notice.division` holds: an amount that changes later is divided as the first one was.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub(crate) enum Division {
    /// Its maker gave the parts.
    Amounts,
    /// By shares.
    Shares(Shares),
}

/// Who shares in an instalment, from the service by which it was made.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shares {
    /// Of the issuer's own transfer.
    taxonomy: TaxonomyCode,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    of: Vec<StoredShare>,
}

/// A beneficiary's share.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct StoredShare {
    /// Basis points.
    points: u32,
    taxonomy: TaxonomyCode,
    to: StoredBeneficiary,
}

// === impl Shares ===

impl Shares {
    /// Those of the service at present.
    pub(super) fn of_service(service: &Service) -> Self {
        let share = |beneficiary: &super::facts::Beneficiary| StoredShare {
            points: beneficiary.share_basis_points,
            taxonomy: beneficiary.taxonomy_code,
            to: StoredBeneficiary {
                code: beneficiary.fiscal_code,
                name: beneficiary.legal_name.clone(),
                account: beneficiary.account.clone(),
            },
        };
        Self { taxonomy: service.taxonomy, of: service.beneficiaries.iter().map(share).collect() }
    }

    /// Those of an instalment that was made before shares were kept with it: its service's, if the same accounts share in it today.
    pub(super) fn of_before(transfers: &[StoredTransfer], service: &Service) -> Option<Self> {
        let own = |transfer: &&StoredTransfer| transfer.to.is_none();
        let taxonomy = transfers.iter().find(own).map_or(service.taxonomy, |transfer| transfer.taxonomy);
        let today = Self { taxonomy, ..Self::of_service(service) };
        let accounts = |to: &StoredBeneficiary| (to.code, to.account.clone());
        let mut then: Vec<_> = transfers.iter().filter_map(|transfer| transfer.to.as_ref()).map(accounts).collect();
        if then.is_empty() {
            return Some(Self { taxonomy, of: Vec::new() });
        }
        let mut now: Vec<_> = today.of.iter().map(|share| accounts(&share.to)).collect();
        then.sort_unstable();
        now.sort_unstable();
        (then == now).then_some(today)
    }

    /// The transfers of an amount: the issuer's first unless the shares give everything away, then the beneficiaries in their order.
    ///
    /// # Errors
    /// Shares that cannot be divided.
    pub(super) fn divide(&self, amount: Cents) -> split::Result<Vec<StoredTransfer>> {
        let given: u32 = self.of.iter().map(|share| share.points).sum();
        let mut shares = if given < BasisPoints::WHOLE.get().into() { vec![Share::ISSUER] } else { Vec::new() };
        let issuers = shares.len();
        for share in &self.of {
            shares.push(Share::of_beneficiary(BasisPoints::new(share.points)?));
        }
        let parts = split::split(amount, Cents::ZERO, &shares)?;
        let transfer = |(id, part): (u8, split::Part)| {
            let share = part.share.checked_sub(issuers).and_then(|place| self.of.get(place));
            StoredTransfer {
                id,
                cents: part.amount,
                taxonomy: share.map_or(self.taxonomy, |share| share.taxonomy),
                to: share.map(|share| share.to.clone()),
                remittance: None,
                metadata: Vec::new(),
                stamp: None,
            }
        };
        Ok((1..).zip(parts).map(transfer).collect())
    }
}

#[cfg(test)]
#[path = "division_tests.rs"]
mod tests;
