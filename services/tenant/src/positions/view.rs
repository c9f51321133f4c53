//! Positions as the API shows them: rows and roll-ups, nothing stored twice.

use fiorino_domain::{
    activation,
    position::{self, InstalmentState, PositionState, Refusal},
    qr,
};
use fiorino_proto::positions::v1 as proto;
use jiff::Timestamp;

use super::{
    facts::Owner,
    rows::{NoticeRow, PositionRow},
    stored::StoredTransfer,
};

/// A position; `notices` are its own, in the order of options and instalments.
pub(super) fn position(owner: &Owner, row: &PositionRow, notices: &[NoticeRow], now: Timestamp) -> proto::Position {
    let state = PositionState::of(notices.iter().map(|notice| notice.state));
    let options = (1..).zip(&row.options).map(|(option_no, description)| proto::Option {
        description: description.clone(),
        instalments: (notices.iter())
            .filter(|notice| notice.option_no == option_no)
            .map(|notice| instalment(owner, notice, now))
            .collect(),
    });
    proto::Position {
        position_id: row.id.to_string(),
        institution: owner.code.to_string(),
        client_reference: row.client_reference.clone(),
        service_code: row.service_code.clone(),
        description: row.description.clone(),
        debtor: notices.first().map(|notice| (&notice.debtor).into()),
        state: position_state(state).into(),
        options: options.collect(),
        created_at: row.created_at.to_string(),
    }
}

fn instalment(owner: &Owner, row: &NoticeRow, now: Timestamp) -> proto::Instalment {
    let expired = position::expired(row.due, row.expiry, now);
    let attempt = row.activated_at.filter(|activated_at| activation::in_progress(*activated_at, now));
    proto::Instalment {
        notice_number: row.nav.to_string(),
        iuv: row.nav.iuv().to_string(),
        amount_cents: row.amount.get(),
        due_date: row.due.map(|due| due.to_string()).unwrap_or_default(),
        description: row.description.clone(),
        state: instalment_state(row.state).into(),
        expired: position::refusal(row.state, expired) == Some(Refusal::Expired),
        version: row.version,
        transfers: row.transfers.iter().map(|stored| transfer(owner, row, stored)).collect(),
        attempt_until: attempt.map(|at| activation::attempt_until(at).to_string()).unwrap_or_default(),
        receipt_id: row.receipt_id.clone().unwrap_or_default(),
        qr_payload: qr::payload(&row.nav, &owner.code, row.amount),
        metadata: row.metadata.iter().map(Into::into).collect(),
    }
}

fn transfer(owner: &Owner, row: &NoticeRow, stored: &StoredTransfer) -> proto::Transfer {
    let (beneficiary, beneficiary_name, account) = match &stored.to {
        Some(to) if to.code == owner.code => (owner.code, owner.legal_name.clone(), to.account.clone()),
        Some(to) => (to.code, to.name.clone(), to.account.clone()),
        None => (owner.code, owner.legal_name.clone(), row.account.clone()),
    };
    proto::Transfer {
        id: stored.id.into(),
        amount_cents: stored.cents.get(),
        beneficiary: beneficiary.to_string(),
        beneficiary_name,
        account,
        taxonomy_code: stored.taxonomy.to_string(),
        remittance: stored.remittance.as_ref().unwrap_or(&row.description).clone(),
        metadata: stored.metadata.iter().map(Into::into).collect(),
        stamp: stored.stamp.as_ref().map(Into::into),
    }
}

const fn instalment_state(state: InstalmentState) -> proto::InstalmentState {
    match state {
        InstalmentState::Draft => proto::InstalmentState::Draft,
        InstalmentState::Payable => proto::InstalmentState::Payable,
        InstalmentState::Paid => proto::InstalmentState::Paid,
        InstalmentState::Superseded => proto::InstalmentState::Superseded,
        InstalmentState::Cancelled => proto::InstalmentState::Cancelled,
        InstalmentState::ReportedWithoutReceipt => proto::InstalmentState::ReportedWithoutReceipt,
    }
}

const fn position_state(state: PositionState) -> proto::PositionState {
    match state {
        PositionState::Draft => proto::PositionState::Draft,
        PositionState::Open => proto::PositionState::Open,
        PositionState::PartiallyPaid => proto::PositionState::PartiallyPaid,
        PositionState::Paid => proto::PositionState::Paid,
        PositionState::Cancelled => proto::PositionState::Cancelled,
    }
}
