//! Notices as the node asks for them: is it payable, and with what?
//!
//! Verify is one read for a batch, without lock and without trace. An activation holds the rows, reads the same, and commits its
//! record before it is answered, so that a cancellation either came before or sees it.

mod activate;
mod aftermath;
mod display;
mod judge;
mod read;

use fiorino_kit::{clock::Clock, fault, rpc, store};
use fiorino_proto::notices::v1::{
    ActivateManyRequest, ActivateManyResponse, NoticeRef, Refusal, VerifyManyRequest, VerifyManyResponse, VerifyReply,
    activate_reply, notices_server, verify_reply::Reply,
};
use jiff::Timestamp;
use opentelemetry::{KeyValue, metrics::Counter};
use sqlx::PgPool;
use tonic::{Request, Response, Status};

pub use self::display::Display;
use self::{
    activate::Answer,
    aftermath::{Aftermath, Note},
    judge::judge,
    read::{Found, Wanted},
};
use crate::{Error, Result, cases};

/// Notices of one call.
const NOTICES_MAX: usize = 64;

/// The service `fiorino.notices.v1.Notices`.
#[derive(Debug)]
pub struct Notices {
    pool: PgPool,
    environment: String,
    clock: Clock,
    aftermath: Aftermath,
    answers: Counter<u64>,
}

/// The statement of `VerifyMany`, for whoever wants to see its plan.
pub const VERIFY_STATEMENT: &str = read::SUMMARY;

/// The statement of `ActivateMany`, likewise.
pub const ACTIVATE_STATEMENT: &str = read::ALL;

/// The statement by which `ActivateMany` holds its notices, likewise.
pub const HOLD_STATEMENT: &str = read::HOLD;

/// The statement of `ShowNotice`, likewise.
pub const DISPLAY_STATEMENT: &str = read::DISPLAY;

// === impl Notices ===

impl Notices {
    /// The service on a pool of its own class of work; `environment` as in the rows. Must be made inside a runtime.
    pub fn new(pool: PgPool, environment: String, clock: Clock) -> Self {
        let answers = opentelemetry::global::meter("fiorino.tenant")
            .u64_counter("fiorino.tenant.notices.answers")
            .with_description("Notices that were verified or activated, by operation and answer")
            .build();
        let aftermath = Aftermath::start(pool.clone(), clock.clone());
        Self { pool, environment, clock, aftermath, answers }
    }

    async fn verify(&self, notices: &[NoticeRef]) -> Result<Vec<VerifyReply>> {
        within(notices.len(), "notices")?;
        let now = self.clock.now();
        let found = store::read(|| async {
            let mut connection = self.pool.acquire().await?;
            read::read(&mut connection, &self.environment, notices.iter(), Wanted::Summary, self.clock.today()).await
        })
        .await?;
        let reply = |found: &Found| match judge(found, now) {
            Ok(payable) => Reply::Payable(payable.summary()),
            Err(refusal) => {
                self.note_refusal(found, refusal, now);
                Reply::Refusal(refusal.into())
            }
        };
        let replies: Vec<_> = found.iter().map(|found| VerifyReply { reply: Some(reply(found)) }).collect();
        self.note_connected(&found);
        for reply in &replies {
            self.count("verify", matches!(reply.reply, Some(Reply::Payable(_))), refusal_of_verify(reply));
        }
        Ok(replies)
    }

    async fn activate(&self, request: ActivateManyRequest, actor: &str) -> Result<ActivateManyResponse> {
        within(request.activations.len(), "activations")?;
        let now = self.clock.now();
        let notices: Vec<_> = request.activations.iter().map(activate::named).collect();
        let mut tx = store::begin(&self.pool).await?;
        read::hold(&mut tx, &self.environment, notices.iter()).await?;
        let found = read::read(&mut tx, &self.environment, notices.iter(), Wanted::All, self.clock.today()).await?;
        let answers: Vec<_> =
            request.activations.iter().zip(&found).map(|(asked, found)| activate::answer(asked, found, now)).collect();
        let records: Vec<_> = answers.iter().filter_map(|answer| answer.record.as_ref()).collect();
        activate::record(&mut tx, &records, now, actor).await?;
        let without_account =
            answers.iter().zip(&found).filter(|(answer, _)| answer.refusal() == Some(Refusal::NoAccount));
        let found_cases: Vec<_> = without_account.filter_map(|(_, found)| activate::no_account(found, now)).collect();
        cases::open(&mut tx, &found_cases).await?;
        tx.commit().await?;
        fault::point("activations-committed");
        self.note_connected(&found);
        for answer in &answers {
            self.count("activate", answer.record.is_some(), answer.refusal());
        }
        Ok(ActivateManyResponse { replies: answers.into_iter().map(|answer| answer.reply).collect() })
    }

    fn note_refusal(&self, found: &Found, refusal: Refusal, now: Timestamp) {
        if refusal == Refusal::NoAccount
            && let Some(case) = activate::no_account(found, now)
        {
            self.aftermath.note(Note::NoAccount(Box::new(case)));
        }
    }

    fn note_connected(&self, found: &[Found]) {
        for institution in
            found.iter().filter_map(|found| found.institution.as_ref()).filter(|known| !known.node_connected)
        {
            self.aftermath.note(Note::Connected(institution.id));
        }
    }

    fn count(&self, operation: &'static str, payable: bool, refusal: Option<Refusal>) {
        let answer = if payable { "payable" } else { refusal.unwrap_or(Refusal::Unspecified).as_str_name() };
        self.answers.add(1, &[KeyValue::new("operation", operation), KeyValue::new("answer", answer)]);
    }
}

#[tonic::async_trait]
impl notices_server::Notices for Notices {
    async fn verify_many(&self, request: Request<VerifyManyRequest>) -> Result<Response<VerifyManyResponse>, Status> {
        let replies = self.verify(&request.get_ref().notices).await?;
        Ok(Response::new(VerifyManyResponse { replies }))
    }

    async fn activate_many(
        &self,
        request: Request<ActivateManyRequest>,
    ) -> Result<Response<ActivateManyResponse>, Status> {
        let actor = rpc::actor(&request);
        Ok(Response::new(self.activate(request.into_inner(), &actor).await?))
    }
}

fn within(count: usize, field: &str) -> Result<()> {
    if count <= NOTICES_MAX {
        return Ok(());
    }
    Err(Error::invalid(field, format!("has {count} entries, at most {NOTICES_MAX} are allowed; send several requests")))
}

fn refusal_of_verify(reply: &VerifyReply) -> Option<Refusal> {
    match reply.reply {
        Some(Reply::Refusal(refusal)) => Refusal::try_from(refusal).ok(),
        Some(Reply::Payable(_)) | None => None,
    }
}

// === impl Answer ===

impl Answer {
    fn refusal(&self) -> Option<Refusal> {
        match self.reply.reply {
            Some(activate_reply::Reply::Refusal(refusal)) => Refusal::try_from(refusal).ok(),
            Some(activate_reply::Reply::Activated(_)) | None => None,
        }
    }
}
