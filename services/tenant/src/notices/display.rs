//! A notice as anybody may see it who knows its number and its institution: never the debtor.

use fiorino_domain::{
    activation::{attempt_until, in_progress},
    position::InstalmentState,
};
use fiorino_kit::{clock::Clock, store};
use fiorino_proto::notices::v1::{
    NoticeRef, NoticeState, Refusal, ShowNoticeRequest, ShowNoticeResponse, ShownNotice, display_server,
};
use jiff::Timestamp;
use sqlx::PgPool;
use tonic::{Request, Response, Status};

use super::{
    judge::judge_by_any_station,
    read::{self, Found},
};
use crate::Result;

/// The service `fiorino.notices.v1.Display`.
#[derive(Debug)]
pub struct Display {
    pool: PgPool,
    environment: String,
    clock: Clock,
}

// === impl Display ===

impl Display {
    /// The service on a pool of its own class of work; `environment` as in the rows.
    pub fn new(pool: PgPool, environment: String, clock: Clock) -> Self {
        Self { pool, environment, clock }
    }

    async fn show(&self, request: ShowNoticeRequest) -> Result<Option<ShownNotice>> {
        let ShowNoticeRequest { institution, notice_number } = request;
        let notice = NoticeRef { institution, notice_number, station_id: String::new() };
        let (found, attempted_at) = store::read(|| async {
            let mut connection = self.pool.acquire().await?;
            read::read_for_display(&mut connection, &self.environment, &notice, self.clock.today()).await
        })
        .await?;
        Ok(shown(&found, attempted_at, self.clock.now()))
    }
}

#[tonic::async_trait]
impl display_server::Display for Display {
    async fn show_notice(&self, request: Request<ShowNoticeRequest>) -> Result<Response<ShowNoticeResponse>, Status> {
        let notice = self.show(request.into_inner()).await?;
        Ok(Response::new(ShowNoticeResponse { notice }))
    }
}

/// `None`: whatever the reason, it is not told.
fn shown(found: &Found, attempted_at: Option<Timestamp>, now: Timestamp) -> Option<ShownNotice> {
    let judged = judge_by_any_station(found, now).map(drop);
    let (institution, notice) = found.institution.as_ref().zip(found.notice.as_ref())?;
    let state = match judged {
        Ok(()) => NoticeState::Payable,
        Err(Refusal::Paid) => NoticeState::Paid,
        Err(Refusal::Cancelled) if notice.state == InstalmentState::Superseded => NoticeState::Superseded,
        Err(Refusal::Cancelled) => NoticeState::Cancelled,
        Err(Refusal::Expired) => NoticeState::Expired,
        Err(Refusal::NoAccount) => NoticeState::Unavailable,
        Err(Refusal::Unknown | Refusal::Institution | Refusal::Station | Refusal::Unspecified) => {
            return None;
        }
    };
    let attempt = attempted_at.filter(|&began| state != NoticeState::Paid && in_progress(began, now));
    Some(ShownNotice {
        institution_name: institution.legal_name.clone(),
        office_name: institution.office_name.clone(),
        description: notice.description.clone(),
        amount_cents: notice.amount.get(),
        due_date: notice.due.map(|due| due.to_string()).unwrap_or_default(),
        state: state.into(),
        attempt_until: attempt.map(|began| attempt_until(began).to_string()).unwrap_or_default(),
    })
}
