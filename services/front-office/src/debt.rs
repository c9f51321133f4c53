//! What tenant says of a notice now: asked each time, kept nowhere.

use std::time::Duration;

use fiorino_domain::{date::LegalDate, money::Cents};
use fiorino_kit::rpc;
use fiorino_proto::notices::v1::{NoticeState, ShowNoticeRequest, ShownNotice, display_client::DisplayClient};
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tonic::Status;

use crate::asked::Asked;

/// Both attempts: the answer is written within 2 s.
const BUDGET: Duration = Duration::from_millis(1_800);
/// Questions in work at once: more are told to come again, so that a crowd waits nowhere.
const IN_WORK_MAX: usize = 64;

/// A notice as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Debt {
    pub(crate) institution: String,
    /// Empty = none.
    pub(crate) office: String,
    pub(crate) description: String,
    pub(crate) amount: Cents,
    pub(crate) due: Option<LegalDate>,
    pub(crate) state: State,
    /// Until when an attempt to pay that somebody began may be in progress.
    pub(crate) attempt_until: Option<Timestamp>,
}

/// Whether it can be paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Payable,
    Paid,
    Cancelled,
    /// Paid by another option of the same debt.
    Superseded,
    Expired,
    /// The institution cannot take payments of it at present.
    Unavailable,
}

/// Nobody can say at present: tenant is away, or too many ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Away;

/// Asks tenant.
#[derive(Debug)]
pub(crate) struct Debts {
    client: DisplayClient<rpc::Channel>,
    in_work: Semaphore,
}

// === impl Debts ===

impl Debts {
    pub(crate) fn new(tenant: rpc::Channel) -> Self {
        Self { client: DisplayClient::new(tenant), in_work: Semaphore::new(IN_WORK_MAX) }
    }

    /// The notice, or `None`: there is no such notice of this institution.
    ///
    /// # Errors
    /// [`Away`].
    pub(crate) async fn find(&self, asked: &Asked) -> Result<Option<Debt>, Away> {
        let Ok(_slot) = self.in_work.try_acquire() else {
            tracing::warn!("too many notices are asked for at once");
            return Err(Away);
        };
        match self.ask(asked).await {
            Ok(None) => Ok(None),
            Ok(Some(notice)) => {
                let debt = Debt::read(notice);
                if debt.is_none() {
                    tracing::error!("tenant told a notice that this version cannot read: update the front-office");
                }
                debt.map(Some).ok_or(Away)
            }
            Err(status) => {
                tracing::warn!(code = ?status.code(), message = status.message(), "tenant did not answer");
                Err(Away)
            }
        }
    }

    async fn ask(&self, asked: &Asked) -> Result<Option<ShownNotice>, Status> {
        let message =
            ShowNoticeRequest { institution: asked.institution.to_string(), notice_number: asked.number.to_string() };
        let attempt = |request| {
            let mut client = self.client.clone();
            async move { client.show_notice(request).await }
        };
        rpc::call_twice(BUDGET, &message, attempt).await.map(|response| response.notice)
    }
}

// === impl Debt ===

impl Debt {
    /// `None`: something in it is from a newer tenant, or wrong.
    fn read(notice: ShownNotice) -> Option<Self> {
        let state = match notice.state() {
            NoticeState::Payable => State::Payable,
            NoticeState::Paid => State::Paid,
            NoticeState::Cancelled => State::Cancelled,
            NoticeState::Superseded => State::Superseded,
            NoticeState::Expired => State::Expired,
            NoticeState::Unavailable => State::Unavailable,
            NoticeState::Unspecified => return None,
        };
        let due = Some(notice.due_date.as_str()).filter(|due| !due.is_empty());
        let attempt = Some(notice.attempt_until.as_str()).filter(|until| !until.is_empty());
        Some(Self {
            amount: Cents::new(notice.amount_cents).ok()?,
            due: due.map(LegalDate::parse).transpose().ok()?,
            attempt_until: attempt.map(str::parse).transpose().ok()?,
            state,
            institution: notice.institution_name,
            office: notice.office_name,
            description: notice.description,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told() -> ShownNotice {
        ShownNotice {
            institution_name: "Comune di Roccafiorina".into(),
            description: "TARI 2026".into(),
            amount_cents: 12_000,
            state: NoticeState::Payable.into(),
            ..ShownNotice::default()
        }
    }

    #[test]
    fn what_is_absent_is_none() {
        let debt = Debt::read(told()).unwrap();
        assert_eq!((debt.due, debt.attempt_until, debt.state), (None, None, State::Payable));
    }

    #[rstest::rstest]
    #[case(ShownNotice { state: 99, ..told() })]
    #[case(ShownNotice { state: 0, ..told() })]
    #[case(ShownNotice { amount_cents: -1, ..told() })]
    #[case(ShownNotice { due_date: "domani".into(), ..told() })]
    #[case(ShownNotice { attempt_until: "10:42".into(), ..told() })]
    fn what_cannot_be_read_is_not_shown(#[case] notice: ShownNotice) {
        assert_eq!(Debt::read(notice), None);
    }
}
