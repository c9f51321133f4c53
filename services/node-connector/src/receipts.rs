//! Receipts: committed, then judged, then answered (ARCHITECTURE.md 4.4).
//!
//! ```text
//!  paSendRT(V2) -- read --+-- Batcher -- raw message + row, one commit --+-- new, addressee known: OK
//!                         |                                             +-- new, unknown: ask tenant: OK | KO | 503
//!                         |                                             +-- key seen: equal = KO, other content = new version
//!                         +-- unreadable: kept by its hash, 500; no room: 503
//! ```
//!
//! What is in the inbox is applied by the [dispatcher](crate::dispatcher), whatever the node was answered.

pub(crate) mod inbox;
pub(crate) mod insert;
mod owed;
mod unreadable;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use fiorino_domain::case::CaseKind;
use fiorino_kit::{
    backoff::Backoff,
    batch::{BatchError, Batcher},
    clock::Clock,
    fault, store, trace,
};
use fiorino_wire::{FaultCode, ReceiptMessage};
use jiff::Unit;
use tokio::{sync::Notify, time::timeout};
use uuid::Uuid;

use self::{
    inbox::{Inbox, Key, NewReceipt, RawMessage, Row, Stored},
    owed::Owed,
};
use crate::{
    addressee::{Resolver, Verdict},
    database,
    metrics::Metrics,
    projection::{Address, Lookup},
    refused::Refused,
};

/// Inserts in flight.
const LANES: usize = 2;
const BATCH_MAX: usize = 64;
/// Receipts that wait for an insert; more are answered 503 at once.
const QUEUE_MAX: usize = 256;
/// Between attempts to write.
const RETRY: Backoff = Backoff { min: Duration::from_millis(50), max: Duration::from_millis(400), jitter: 25 };
/// Longest write of one batch: whoever waits has given up by then, or tries again.
const WRITE_LIMIT: Duration = Duration::from_millis(1_200);
/// Longest time for writing where tenant has to be asked afterwards.
const WRITE_BEFORE_ASKING: Duration = Duration::from_millis(1_200);
/// What is left for writing what tenant said.
const WRITE_VERDICT: Duration = Duration::from_millis(200);

/// Why a receipt waits.
const UNKNOWN: &str = "the addressee is unknown and cannot be asked for now";

/// Takes receipts in; one per process.
#[derive(Debug)]
pub(crate) struct Receipts {
    resolver: Arc<Resolver>,
    inbox: Inbox,
    inserts: Batcher<NewReceipt, Inserted, sqlx::Error>,
    handover: Arc<Handover>,
    clock: Clock,
    metrics: Metrics,
    /// Time for writing, retries included.
    write_within: Duration,
    /// What unreadable messages may take on disk.
    unreadable_bytes: i64,
}

/// What taking receipts in leaves to the dispatcher.
#[derive(Debug)]
pub(crate) struct Handover {
    /// There is something to apply.
    pub(crate) wake: Notify,
    /// Answers to take back.
    pub(crate) owed: Owed,
}

/// A call as the HTTP front knows it.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// Name of the caller.
    pub(crate) peer: String,
    pub(crate) request_id: String,
    /// Station in the URL.
    pub(crate) path_station: String,
    /// Of the content type.
    pub(crate) charset: Option<String>,
    pub(crate) body: Bytes,
    /// When the answer must be on its way, in monotonic time.
    pub(crate) deadline: Duration,
}

/// What the node is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// OK: it is safe.
    Accepted,
    /// KO: it is safe, and need not come again.
    Refused(Refused),
    /// 503: it must come again.
    Later(&'static str),
}

/// What an insert found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inserted {
    New,
    /// The key was there: only the raw message was added, if its bytes are new.
    Known,
    /// The database is away: nothing is known to be written.
    Away,
}

/// Why a write did not happen.
#[derive(Debug)]
struct NotWritten(&'static str);

// === impl Handover ===

impl Handover {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { wake: Notify::new(), owed: Owed::new(clock) }
    }
}

// === impl Receipts ===

impl Receipts {
    pub(crate) fn new(
        resolver: Arc<Resolver>,
        inbox: Inbox,
        handover: Arc<Handover>,
        clock: Clock,
        metrics: Metrics,
        write_within: Duration,
        unreadable_bytes: i64,
    ) -> Self {
        let tables = inbox.clone();
        let inserts = Batcher::new(LANES, BATCH_MAX, QUEUE_MAX, move |batch| insert(tables.clone(), batch));
        Self { resolver, inbox, inserts, handover, clock, metrics, write_within, unreadable_bytes }
    }

    /// Takes a readable receipt in.
    pub(crate) async fn receive(&self, message: &ReceiptMessage, arrival: Arrival) -> Decision {
        let address = Address::from(&message.header);
        let lookup = self.resolver.lookup(&address);
        let deadline = arrival.deadline;
        let new = self.new_receipt(message, lookup, arrival);
        // Also when the caller hangs up and this is dropped.
        let debt = self.handover.owed.debt(&new.key, new.content_hash);
        let decision = self.decide(&new, &address, deadline).await;
        match decision {
            Decision::Accepted | Decision::Refused(_) => debt.paid(),
            Decision::Later(_) => drop(debt),
        }
        decision
    }

    async fn decide(&self, new: &NewReceipt, address: &Address, deadline: Duration) -> Decision {
        let within = if new.judged { self.write_within } else { self.write_within.min(WRITE_BEFORE_ASKING) };
        let stored = match self.write(deadline, within, || self.store(new)).await {
            Ok(stored) => stored,
            Err(NotWritten(reason)) => return Decision::Later(reason),
        };
        fault::point("receipt-stored");
        match stored {
            Stored::Added(_) if new.judged => self.accepted(),
            Stored::Added(version) => self.judge(new, version, address, deadline).await,
            Stored::Own(row) if row.waiting => self.judge(new, row.version, address, deadline).await,
            Stored::Own(_) => self.accepted(),
            Stored::Equal(row) => {
                self.metrics.repetition();
                self.repeated(new, &row, address, deadline).await
            }
        }
    }

    fn new_receipt(&self, message: &ReceiptMessage, lookup: Lookup, arrival: Arrival) -> NewReceipt {
        let findings = [
            (!message.findings.is_empty(), CaseKind::ReceiptSchema),
            (arrival.path_station != message.header.id_station, CaseKind::ReceiptPathMismatch),
            (lookup == Lookup::NotAssociated, CaseKind::ReceiptNotAssociated),
        ];
        NewReceipt {
            key: Key { id_pa: message.header.id_pa.clone(), receipt_id: message.receipt.receipt_id.clone() },
            content_hash: message.business_hash,
            judged: lookup != Lookup::Unknown,
            findings: findings.into_iter().filter_map(|(found, kind)| found.then_some(kind)).collect(),
            traceparent: trace::current_traceparent(),
            message: self.raw(arrival),
        }
    }

    fn raw(&self, arrival: Arrival) -> RawMessage {
        let now = self.clock.now();
        RawMessage {
            id: Uuid::now_v7(),
            // PostgreSQL keeps microseconds, and rows find their message by this.
            received_at: now.round(Unit::Microsecond).unwrap_or(now),
            peer: arrival.peer,
            request_id: arrival.request_id,
            path_station: arrival.path_station,
            charset: arrival.charset,
            body: arrival.body,
        }
    }

    /// Commits the raw message and its row.
    async fn store(&self, new: &NewReceipt) -> Result<Stored, Failed> {
        match self.inserts.call(new.clone()).await {
            Ok(Inserted::New) => Ok(Stored::Added(1)),
            Ok(Inserted::Known) => Ok(self.inbox.compare(new).await?),
            Ok(Inserted::Away) => Err(Failed::Away),
            Err(BatchError::Overloaded) => {
                self.metrics.overload("receipts");
                Err(Failed::Overloaded)
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "failed to insert a receipt");
                Err(Failed::Broken)
            }
        }
    }

    fn accepted(&self) -> Decision {
        self.handover.wake.notify_one();
        Decision::Accepted
    }

    /// A repetition: a duplicate only when the node had its final answer, and that was not a refusal.
    async fn repeated(&self, new: &NewReceipt, row: &Row, address: &Address, deadline: Duration) -> Decision {
        let finding = new.findings.iter().find(|kind| **kind == CaseKind::ReceiptNotAssociated).copied();
        match (row.refusal.is_some(), row.waiting, new.judged) {
            (true, _, true) => self.accept_again(new, deadline).await,
            (true, _, false) => self.judge_again(new, address, deadline).await,
            (false, true, true) => self.accept(&new.key, row.version, finding, deadline).await,
            (false, true, false) => self.judge(new, row.version, address, deadline).await,
            (false, false, _) if row.answered && !self.handover.owed.is_owed(&new.key, new.content_hash) => {
                Decision::Refused(Refused::new(FaultCode::ReceiptDuplicata))
            }
            // Judged while the node was away, or written when it had been told to come again.
            (false, false, _) => self.accept(&new.key, row.version, None, deadline).await,
        }
    }

    /// It was refused, and the addressee is still unknown here: it may have become ours.
    async fn judge_again(&self, new: &NewReceipt, address: &Address, deadline: Duration) -> Decision {
        match self.ask(address, deadline).await {
            Verdict::Ours { .. } => self.accept_again(new, deadline).await,
            Verdict::NeverOurs(stranger) => Decision::Refused(Refused::stranger(stranger)),
            Verdict::NotYetKnown | Verdict::Away => Decision::Later(UNKNOWN),
        }
    }

    /// The addressee is not known here: tenant decides.
    async fn judge(&self, new: &NewReceipt, version: i32, address: &Address, deadline: Duration) -> Decision {
        match self.ask(address, deadline).await {
            Verdict::Ours { associated } => {
                let finding = (!associated).then_some(CaseKind::ReceiptNotAssociated);
                self.accept(&new.key, version, finding, deadline).await
            }
            Verdict::NeverOurs(stranger) => {
                let refused = Refused::stranger(stranger);
                let code = refused.code;
                let refuse = || async { Ok(self.inbox.refuse(&new.key, version, code, true).await?) };
                match self.write(deadline, self.write_within, refuse).await {
                    Ok(()) => {
                        self.handover.wake.notify_one();
                        Decision::Refused(refused)
                    }
                    Err(NotWritten(reason)) => Decision::Later(reason),
                }
            }
            Verdict::NotYetKnown | Verdict::Away => Decision::Later(UNKNOWN),
        }
    }

    async fn ask(&self, address: &Address, deadline: Duration) -> Verdict {
        self.resolver.ask_for_receipt(address, self.left(deadline).saturating_sub(WRITE_VERDICT)).await
    }

    async fn accept(&self, key: &Key, version: i32, finding: Option<CaseKind>, deadline: Duration) -> Decision {
        let accept = || async { Ok(self.inbox.accept(key, version, finding, true).await?) };
        match self.write(deadline, self.write_within, accept).await {
            Ok(()) => self.accepted(),
            Err(NotWritten(reason)) => Decision::Later(reason),
        }
    }

    async fn accept_again(&self, new: &NewReceipt, deadline: Duration) -> Decision {
        let new = NewReceipt { judged: true, ..new.clone() };
        let accept = || async { Ok(self.inbox.accept_again(&new).await?) };
        match self.write(deadline, self.write_within, accept).await {
            Ok(()) => self.accepted(),
            Err(NotWritten(reason)) => Decision::Later(reason),
        }
    }

    fn left(&self, deadline: Duration) -> Duration {
        deadline.saturating_sub(self.clock.monotonic())
    }

    /// Tries until it is written, or `within` or the deadline is over.
    async fn write<T, Written>(
        &self,
        deadline: Duration,
        within: Duration,
        attempt: impl Fn() -> Written,
    ) -> Result<T, NotWritten>
    where
        Written: Future<Output = Result<T, Failed>>,
    {
        let within = self.left(deadline).min(within);
        let tried = timeout(within, async {
            let mut retry = RETRY.retry();
            loop {
                match attempt().await {
                    Ok(written) => return Ok(written),
                    Err(Failed::Away) => retry.wait().await,
                    Err(Failed::Overloaded) => return Err(NotWritten("too many receipts at once")),
                    Err(Failed::Broken) => return Err(NotWritten("the receipt could not be stored")),
                }
            }
        });
        tried.await.unwrap_or_else(|_| {
            tracing::error!("failed to write to the inbox in time: the database is away or too slow");
            Err(NotWritten("the inbox did not answer in time"))
        })
    }
}

/// Why one attempt to write failed.
#[derive(Debug)]
enum Failed {
    /// Trying again can help.
    Away,
    Overloaded,
    /// Trying again cannot help: told in the log.
    Broken,
}

// === impl Failed ===

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        if store::transient(&error) {
            tracing::warn!(error = &error as &dyn std::error::Error, "failed to write to the inbox, trying again");
            return Self::Away;
        }
        tracing::error!(error = &error as &dyn std::error::Error, "failed to write to the inbox");
        Self::Broken
    }
}

/// A batch of inserts. What may be one row's fault is an error: the batch is then tried singly.
async fn insert(inbox: Inbox, batch: Vec<NewReceipt>) -> sqlx::Result<Vec<Inserted>> {
    match database::within(WRITE_LIMIT, inbox.insert(&batch)).await {
        Ok(rows) => Ok(rows.into_iter().map(|new| if new { Inserted::New } else { Inserted::Known }).collect()),
        Err(error) if store::transient(&error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                receipts = batch.len(),
                "failed to insert receipts"
            );
            Ok(batch.iter().map(|_| Inserted::Away).collect())
        }
        Err(error) => Err(error),
    }
}
