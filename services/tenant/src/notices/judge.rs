//! Whether a notice can be paid, and to which account numbers: pure (ARCHITECTURE.md 4.7, 4.3).

use fiorino_domain::{
    iban::Iban,
    institution::InstitutionCode,
    money::Cents,
    position::{self, expired},
    taxonomy::TaxonomyCode,
};
use fiorino_proto::{
    config::v1::LifecyclePhase,
    notices::v1::{MapEntry, PayableNotice, Refusal, Transfer, TransferType},
};
use jiff::Timestamp;

use super::read::{Found, Institution, Notice, Number};
use crate::positions::stored::{StoredEntry, StoredTransfer};

/// Key of a transfer's metadata with the account that a postal slip is settled to (pagopa.md 2.6).
const ALTERNATIVE_ACCOUNT: &str = "IBANAPPOGGIO";

/// A notice that can be paid now.
pub(super) struct Payable<'a> {
    pub(super) institution: &'a Institution,
    pub(super) notice: &'a Notice,
    pub(super) transfers: Vec<Resolved>,
}

/// A transfer with its account number; not `Debug`.
#[derive(Clone)]
pub(super) struct Resolved {
    pub(super) id: u8,
    pub(super) cents: Cents,
    pub(super) beneficiary: InstitutionCode,
    pub(super) name: String,
    pub(super) number: Number,
    pub(super) taxonomy: TaxonomyCode,
    pub(super) metadata: Vec<StoredEntry>,
}

/// The order is that of pagopa.md 2.3: institution, station, notice.
///
/// # Errors
/// Why it cannot be paid.
pub(super) fn judge(found: &Found, now: Timestamp) -> Result<Payable<'_>, Refusal> {
    if !serving(found)?.associated {
        return Err(Refusal::Station);
    }
    judge_by_any_station(found, now)
}

/// The same for whoever asks through no station: a visitor of the portal.
///
/// # Errors
/// Why it cannot be paid.
pub(super) fn judge_by_any_station(found: &Found, now: Timestamp) -> Result<Payable<'_>, Refusal> {
    let institution = serving(found)?;
    let notice = found.notice.as_ref().ok_or(Refusal::Unknown)?;
    if let Some(refusal) = position::refusal(notice.state, expired(notice.due, notice.expiry, now)) {
        return Err(match refusal {
            position::Refusal::Unknown => Refusal::Unknown,
            position::Refusal::Paid => Refusal::Paid,
            position::Refusal::Cancelled => Refusal::Cancelled,
            position::Refusal::Expired => Refusal::Expired,
        });
    }
    let transfers = notice.transfers.iter().map(|stored| resolve(institution, notice, stored)).collect::<Option<_>>();
    Ok(Payable { institution, notice, transfers: transfers.ok_or(Refusal::NoAccount)? })
}

/// The institution, unless it is closed.
fn serving(found: &Found) -> Result<&Institution, Refusal> {
    let institution = found.institution.as_ref().ok_or(Refusal::Institution)?;
    match institution.phase {
        LifecyclePhase::Testing | LifecyclePhase::Live | LifecyclePhase::Suspended | LifecyclePhase::Leaving => {
            Ok(institution)
        }
        LifecyclePhase::Closed | LifecyclePhase::Unspecified => Err(Refusal::Institution),
    }
}

/// Each transfer goes to the number that its account has today, the issuer's as those of others.
fn resolve(institution: &Institution, notice: &Notice, stored: &StoredTransfer) -> Option<Resolved> {
    let (beneficiary, name, number) = match &stored.to {
        None => (institution.code, &institution.legal_name, notice.number.clone()?),
        Some(to) => (to.code, &to.name, notice.others.get(&stored.id)?.clone()),
    };
    Some(Resolved {
        id: stored.id,
        cents: stored.cents,
        beneficiary,
        name: name.clone(),
        number,
        taxonomy: stored.taxonomy,
        metadata: stored.metadata.clone(),
    })
}

// === impl Payable ===

impl Payable<'_> {
    /// What verify answers.
    pub(super) fn summary(&self) -> PayableNotice {
        PayableNotice {
            iuv: self.notice.nav.iuv().to_string(),
            amount_cents: self.notice.amount.get(),
            due_date: self.notice.due.map(|due| due.to_string()).unwrap_or_default(),
            issued_on: self.notice.issued_on.to_string(),
            description: self.notice.description.clone(),
            company_name: self.institution.legal_name.clone(),
            office_name: self.institution.office_name.clone(),
            all_postal: self.transfers.iter().all(|transfer| transfer.number.postal),
        }
    }

    /// Whether it can be paid in the way that the PSP asks for: a postal slip needs a postal account on the first transfer, the
    /// one that pagoPA makes of it the alternative account of every transfer, one of both being postal (pagopa.md 2.6).
    pub(super) fn allows(&self, wanted: TransferType) -> bool {
        match wanted {
            TransferType::Unspecified => true,
            TransferType::Postal => self.transfers.first().is_some_and(|first| first.number.postal),
            TransferType::Pagopa => self.transfers.iter().all(Resolved::has_alternative),
        }
    }

    /// What an activation answers of its transfers.
    pub(super) fn transfers(&self) -> Vec<Transfer> {
        let entry = |StoredEntry { key, value }: &StoredEntry| MapEntry { key: key.clone(), value: value.clone() };
        let transfer = |resolved: &Resolved| Transfer {
            id: resolved.id.into(),
            amount_cents: resolved.cents.get(),
            beneficiary: resolved.beneficiary.to_string(),
            beneficiary_name: resolved.name.clone(),
            iban: resolved.number.iban.clone(),
            remittance: self.notice.description.clone(),
            taxonomy_code: resolved.taxonomy.to_string(),
            metadata: resolved.metadata.iter().map(entry).collect(),
        };
        self.transfers.iter().map(transfer).collect()
    }
}

// === impl Resolved ===

impl Resolved {
    fn has_alternative(&self) -> bool {
        let alternative = self.metadata.iter().find(|entry| entry.key == ALTERNATIVE_ACCOUNT);
        alternative.is_some_and(|entry| self.number.postal || is_postal(&entry.value))
    }
}

fn is_postal(iban: &str) -> bool {
    Iban::parse(iban).is_ok_and(|iban| iban.is_postal())
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
