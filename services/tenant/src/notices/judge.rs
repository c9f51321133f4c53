//! Whether a notice can be paid, and to which account numbers: pure (ARCHITECTURE.md 4.7, 4.3).

use base64::{Engine as _, prelude::BASE64_STANDARD};
use fiorino_domain::{
    institution::InstitutionCode,
    money::Cents,
    position::{self, expired},
    taxonomy::TaxonomyCode,
};
use fiorino_proto::{
    config::v1::LifecyclePhase,
    notices::v1::{MapEntry, PayableNotice, Refusal, Stamp, Transfer, TransferType},
};
use jiff::Timestamp;

use super::read::{Found, Institution, Notice, Number};
use crate::positions::{
    given::ALTERNATIVE_ACCOUNT,
    stored::{StoredEntry, StoredStamp, StoredTransfer},
};

/// A notice that can be paid now.
pub(super) struct Payable<'a> {
    pub(super) institution: &'a Institution,
    pub(super) notice: &'a Notice,
    pub(super) transfers: Vec<Resolved>,
}

/// A transfer with its account numbers; not `Debug`.
#[derive(Clone)]
pub(super) struct Resolved {
    pub(super) id: u8,
    pub(super) cents: Cents,
    pub(super) beneficiary: InstitutionCode,
    pub(super) name: String,
    pub(super) to: Destination,
    pub(super) taxonomy: TaxonomyCode,
    /// `None` = the notice's description.
    pub(super) remittance: Option<String>,
    pub(super) metadata: Vec<StoredEntry>,
}

/// Where a transfer goes today.
#[derive(Clone)]
pub(super) enum Destination {
    /// To an account, with the postal number beside it.
    Account { number: Number, postal: Option<String> },
    /// Into a digital stamp.
    Stamp(StoredStamp),
}

/// The numbers that are answered of a transfer; both empty for a stamp.
#[derive(Default)]
pub(super) struct Answered {
    pub(super) iban: String,
    /// A postal account that pagoPA may settle to instead.
    pub(super) alternative: Option<String>,
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
    let to = match (&stored.stamp, &stored.to) {
        (Some(stamp), _) => Destination::Stamp(stamp.clone()),
        (None, None) => Destination::Account { number: notice.number.clone()?, postal: notice.postal.clone() },
        (None, Some(_)) => Destination::Account {
            number: notice.others.get(&stored.id)?.clone(),
            postal: notice.postal_others.get(&stored.id).cloned(),
        },
    };
    let (beneficiary, name) = match &stored.to {
        Some(to) if to.code != institution.code => (to.code, &to.name),
        Some(_) | None => (institution.code, &institution.legal_name),
    };
    Some(Resolved {
        id: stored.id,
        cents: stored.cents,
        beneficiary,
        name: name.clone(),
        to,
        taxonomy: stored.taxonomy,
        remittance: stored.remittance.clone(),
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
            all_postal: self.transfers.iter().all(Resolved::goes_to_postal_account),
        }
    }

    /// What an activation answers of its transfers, when somebody pays in this way: each with the number that it goes to.
    pub(super) fn transfers(&self, wanted: TransferType) -> Vec<Transfer> {
        let transfer = |resolved: &Resolved| {
            let answered = resolved.answered(wanted);
            let alternative =
                answered.alternative.map(|iban| MapEntry { key: ALTERNATIVE_ACCOUNT.to_owned(), value: iban });
            Transfer {
                id: resolved.id.into(),
                amount_cents: resolved.cents.get(),
                beneficiary: resolved.beneficiary.to_string(),
                beneficiary_name: resolved.name.clone(),
                iban: answered.iban,
                remittance: resolved.remittance.as_ref().unwrap_or(&self.notice.description).clone(),
                taxonomy_code: resolved.taxonomy.to_string(),
                metadata: resolved.metadata.iter().map(Into::into).chain(alternative).collect(),
                stamp: resolved.stamp(),
            }
        };
        self.transfers.iter().map(transfer).collect()
    }

    /// The payment's own metadata.
    pub(super) fn metadata(&self) -> Vec<MapEntry> {
        self.notice.metadata.iter().map(Into::into).collect()
    }
}

// === impl Resolved ===

impl Resolved {
    /// The number for a way to pay; none is refused (pagopa.md 2.6). A slip goes to the postal account where there is one; pagoPA's own
    /// touch points are told of it beside the bank's.
    pub(super) fn answered(&self, wanted: TransferType) -> Answered {
        let Destination::Account { number, postal } = &self.to else { return Answered::default() };
        let postal = postal.as_ref().filter(|_| !number.postal);
        match (wanted, postal) {
            (TransferType::Postal, Some(postal)) => Answered { iban: postal.clone(), alternative: None },
            (TransferType::Pagopa, postal) => Answered { iban: number.iban.clone(), alternative: postal.cloned() },
            (TransferType::Postal | TransferType::Unspecified, _) => {
                Answered { iban: number.iban.clone(), alternative: None }
            }
        }
    }

    fn goes_to_postal_account(&self) -> bool {
        matches!(&self.to, Destination::Account { number: Number { postal: true, .. }, .. })
    }

    fn stamp(&self) -> Option<Stamp> {
        match &self.to {
            Destination::Account { .. } => None,
            Destination::Stamp(StoredStamp { digest, province }) => Some(Stamp {
                // What was written is base64.
                document_digest: BASE64_STANDARD.decode(digest).unwrap_or_default().into(),
                province: province.clone(),
            }),
        }
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
