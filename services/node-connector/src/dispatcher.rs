//! From the inbox to tenant: reads the inbox tables alone, so that what is committed is applied, whatever becomes of the replica
//! that took it in (ARCHITECTURE.md 4.5).
//!
//! ```text
//!  receipt_inbox --(leased shards, <= 256 due rows)--> ApplyReceipts --> applied
//!        ^                                                 |
//!        +-- deferred, alone, 1 s doubling to 10 min <-----+-- refused alone
//! ```
//!
//! Tenant away or hanging: everything waits, nothing is marked. A row that tenant refuses alone, or that alone takes too long, is
//! deferred and blocks nobody.

mod convert;
mod queue;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use fiorino_domain::case::CaseKind;
use fiorino_kit::{backoff::Backoff, clock::Clock, fault, lease::LeaseSet, rpc, telemetry::identifier, trace};
use fiorino_proto::receipts::v1::{ApplyOutcome, ApplyReceiptsRequest, Receipt, receipts_client::ReceiptsClient};
use fiorino_wire::{self as wire, ReadError, ReceiptMessage};
use sqlx::PgPool;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status};
use tracing::{Instrument as _, Span};

use self::queue::{Due, Queue, Waiting};
use crate::{
    addressee::{Resolver, Verdict},
    metrics::Metrics,
    parse::{NoTurn, Parser},
    projection::{Address, Lookup},
    receipts::{
        Handover,
        inbox::{Inbox, SHARDS},
    },
    refused::Refused,
};

/// How long an idle dispatcher waits before it looks again for rows of other replicas.
const POLL: Duration = Duration::from_millis(250);
/// How long tenant may take for a batch.
const BATCH_TIMEOUT: Duration = Duration::from_secs(5);
/// How long tenant may take for one row.
const SINGLE_TIMEOUT: Duration = Duration::from_secs(2);
/// Between rounds while tenant or the database is away.
const AWAY: Backoff = Backoff { min: Duration::from_millis(100), max: Duration::from_secs(1), jitter: 25 };
/// Between looks at rows whose addressee waits to be judged, and at the backlog.
const SWEEP: Duration = Duration::from_secs(2);
/// How long such a look may hold up applying.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long rows are still applied after shutdown began.
const DRAIN: Duration = Duration::from_secs(5);
/// Leases of shards: a dead replica's are taken over within 5 s (ARCHITECTURE.md 4.5).
const LEASE_TTL: Duration = Duration::from_secs(3);

/// Applies what is in the inbox; one per process.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    queue: Queue,
    inbox: Inbox,
    leases: LeaseSet,
    tenant: ReceiptsClient<rpc::Channel>,
    resolver: Arc<Resolver>,
    handover: Arc<Handover>,
    parser: Parser,
    clock: Clock,
    metrics: Metrics,
}

/// Nothing can be done now: try again later.
#[derive(Debug, thiserror::Error)]
enum Away {
    #[error("tenant is away: {}", .0.code())]
    Tenant(Status),
    #[error("the inbox is away")]
    Inbox(#[from] sqlx::Error),
}

/// Why a raw message of the inbox was not read.
#[derive(Debug, thiserror::Error)]
enum Unread {
    #[error(transparent)]
    NoTurn(#[from] NoTurn),
    #[error(transparent)]
    Unreadable(#[from] ReadError),
}

/// The leases of the inbox's shards.
pub(crate) fn leases(pool: PgPool, holder: &str) -> LeaseSet {
    LeaseSet::new(pool, holder, (0..SHARDS).map(|shard| format!("receipts/{shard:02}")).collect(), LEASE_TTL)
}

// === impl Dispatcher ===

impl Dispatcher {
    pub(crate) fn new(
        pool: PgPool,
        leases: LeaseSet,
        tenant: rpc::Channel,
        resolver: Arc<Resolver>,
        handover: Arc<Handover>,
        clock: Clock,
        metrics: Metrics,
    ) -> Self {
        Self {
            queue: Queue::new(pool.clone()),
            inbox: Inbox::new(pool),
            leases,
            tenant: ReceiptsClient::new(tenant),
            resolver,
            handover,
            parser: Parser::new(wire::Limits::default()),
            clock,
            metrics,
        }
    }

    /// Applies rows until `token` is cancelled, then once more what is due.
    pub(crate) async fn run(self, token: CancellationToken) {
        let mut retry = AWAY.retry();
        let mut sweep_at = self.clock.monotonic();
        while !token.is_cancelled() {
            if self.clock.monotonic() >= sweep_at {
                if timeout(SWEEP_TIMEOUT, self.sweep()).await.is_err() {
                    tracing::warn!("failed to judge waiting receipts in time, trying again");
                }
                sweep_at = self.clock.monotonic() + SWEEP;
            }
            let pause = match self.round().await {
                Ok(0) => {
                    retry.reset();
                    POLL
                }
                Ok(_) => {
                    retry.reset();
                    continue;
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "failed to apply receipts, trying again");
                    retry.next_delay()
                }
            };
            tokio::select! {
                () = token.cancelled() => {}
                () = self.handover.wake.notified(), if pause == POLL => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        let drained = timeout(DRAIN, async { while matches!(self.round().await, Ok(applied) if applied > 0) {} });
        if drained.await.is_err() {
            tracing::warn!("receipts were still due when draining ended: another replica applies them");
        }
    }

    /// Applies what is due in the shards held; tells how many rows were worked on.
    async fn round(&self) -> Result<usize, Away> {
        let shards = self.shards();
        if shards.is_empty() {
            return Ok(0);
        }
        let fresh = self.queue.due(&shards).await?;
        let deferred = self.queue.deferred(&shards).await?;
        let worked = fresh.len() + deferred.len();
        self.apply(fresh).await?;
        self.singly(deferred).await?;
        Ok(worked)
    }

    fn shards(&self) -> Vec<i16> {
        self.leases.held().iter().filter_map(|name| name.rsplit('/').next()?.parse().ok()).collect()
    }

    /// One call for all; singly when it fails and tenant is there.
    async fn apply(&self, rows: Vec<Due>) -> Result<(), Away> {
        if rows.is_empty() {
            return Ok(());
        }
        match self.send(&rows, BATCH_TIMEOUT).await {
            Ok(outcomes) => self.settle(&rows, &outcomes).await,
            Err(status) if status.code() == Code::Unavailable => Err(Away::Tenant(status)),
            Err(status) => {
                tracing::warn!(code = ?status.code(), receipts = rows.len(), "tenant refused a batch, trying each receipt");
                self.singly(rows).await
            }
        }
    }

    /// Row by row: what fails alone is deferred, unless tenant is away.
    ///
    /// A row that takes too long is held until another one shows that tenant answers, and tried once more: only then it is the
    /// row's fault. One that was deferred before needs no such witness, else it would hold up every round.
    async fn singly(&self, rows: Vec<Due>) -> Result<(), Away> {
        let mut slow: Option<(Due, Status)> = None;
        for row in rows {
            let rows = [row];
            let status = match self.send(&rows, SINGLE_TIMEOUT).await {
                Ok(outcomes) => {
                    self.settle(&rows, &outcomes).await?;
                    if let Some((row, _)) = slow.take() {
                        self.again(row).await?;
                    }
                    continue;
                }
                Err(status) => status,
            };
            let [row] = rows;
            match status.code() {
                Code::DeadlineExceeded if slow.is_some() => return Err(Away::Tenant(status)),
                Code::DeadlineExceeded if row.attempts == 0 => slow = Some((row, status)),
                Code::DeadlineExceeded => self.defer_by(&row, &status).await?,
                _ if rpc::is_away(&status) => return Err(Away::Tenant(status)),
                _ => self.defer_by(&row, &status).await?,
            }
        }
        slow.map_or(Ok(()), |(_, status)| Err(Away::Tenant(status)))
    }

    /// Marks rows by what tenant said of them.
    async fn settle(&self, rows: &[Due], outcomes: &[ApplyOutcome]) -> Result<(), Away> {
        fault::point("receipts-answered");
        let (mut applied, mut kept) = (Vec::new(), Vec::new());
        for (row, outcome) in rows.iter().zip(outcomes) {
            match name(*outcome) {
                Some(name) => {
                    applied.push(row);
                    self.metrics.applied(name, 1);
                }
                None => kept.push(row),
            }
        }
        self.queue.applied(&applied).await?;
        for row in kept {
            self.defer(row, "tenant could not apply it").await?;
        }
        Ok(())
    }

    /// A row that took too long, now that tenant answers.
    async fn again(&self, row: Due) -> Result<(), Away> {
        let rows = [row];
        match self.send(&rows, SINGLE_TIMEOUT).await {
            Ok(outcomes) => self.settle(&rows, &outcomes).await,
            Err(status) if rpc::is_away(&status) && status.code() != Code::DeadlineExceeded => {
                Err(Away::Tenant(status))
            }
            Err(status) => Ok(self.defer_by(&rows[0], &status).await?),
        }
    }

    async fn defer_by(&self, row: &Due, status: &Status) -> sqlx::Result<()> {
        self.defer(row, &format!("{:?}: {}", status.code(), status.message())).await
    }

    async fn defer(&self, row: &Due, reason: &str) -> sqlx::Result<()> {
        tracing::error!(
            institution = identifier(&row.id_pa),
            receipt_id = identifier(&row.receipt_id),
            version = row.version,
            attempts = row.attempts + 1,
            reason,
            "a receipt could not be applied, trying again later"
        );
        self.queue.defer(row, reason).await
    }

    /// Calls tenant. Each receipt has a span of its own, which continues the trace of the node's call.
    async fn send(&self, rows: &[Due], limit: Duration) -> Result<Vec<ApplyOutcome>, Status> {
        let spans: Vec<Span> = rows.iter().map(row_span).collect();
        let size = i64::try_from(rows.len()).unwrap_or(i64::MAX);
        // A receipt alone: the call itself belongs to the node's trace.
        let call_span = trace::shared(&spans, |first| {
            if size == 1 {
                return first.clone();
            }
            tracing::info_span!(parent: first, "apply receipts", batch.size = size)
        });
        let mut receipts: Vec<Receipt> = Vec::with_capacity(rows.len());
        for (row, span) in rows.iter().zip(&spans) {
            let message = self.read(&row.body, row.charset.as_deref()).await;
            let message = message.map_err(|error| Status::invalid_argument(error.to_string()))?;
            receipts.push(convert::receipt(row, message, trace::traceparent(span)));
        }
        let mut request = Request::new(ApplyReceiptsRequest { receipts });
        request.set_timeout(limit);
        let call = async { timeout(limit, self.tenant.clone().apply_receipts(request)).await };
        let response = call
            .instrument(call_span)
            .await
            .unwrap_or_else(|_| Err(Status::deadline_exceeded("tenant did not answer in time")))?
            .into_inner();
        if response.outcomes.len() == rows.len() {
            Ok(response.outcomes().collect())
        } else {
            Err(Status::internal(format!("{} outcomes for {} receipts", response.outcomes.len(), rows.len())))
        }
    }

    /// The raw message of a row. Bodies are read one after the other: a long one has its turn at once.
    async fn read(&self, body: &Bytes, charset: Option<&str>) -> Result<ReceiptMessage, Unread> {
        let read = self.parser.parse(body, charset, SINGLE_TIMEOUT).await?;
        Ok(convert::receipt_in(read)?)
    }

    /// Judges what waits, without the node: it comes again only after an hour. Tells the backlog.
    async fn sweep(&self) {
        if let Err(error) = self.judge_waiting().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "failed to judge waiting receipts, trying again");
        }
        if let Err(error) = self.handover.owed.take_back(&self.inbox).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "failed to take answers back, trying again");
        }
        match self.queue.backlog().await {
            Ok(backlog) => self.metrics.backlog(backlog),
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "failed to measure the inbox"),
        }
    }

    async fn judge_waiting(&self) -> sqlx::Result<()> {
        for row in self.queue.waiting(&self.shards()).await? {
            let Ok(message) = self.read(&row.body, row.charset.as_deref()).await else { continue };
            if !self.judge(&row, &Address::from(&message.header)).await? {
                break;
            }
        }
        Ok(())
    }

    /// `false`: tenant is away, the others need not be tried.
    async fn judge(&self, row: &Waiting, address: &Address) -> sqlx::Result<bool> {
        let verdict = match self.resolver.lookup(address) {
            Lookup::Associated => Verdict::Ours { associated: true },
            Lookup::NotAssociated => Verdict::Ours { associated: false },
            Lookup::Unknown => self.resolver.ask_for_receipt(address, SINGLE_TIMEOUT).await,
        };
        match verdict {
            Verdict::Ours { associated } => {
                let finding = (!associated).then_some(CaseKind::ReceiptNotAssociated);
                self.inbox.accept(&row.key(), row.version, finding, false).await?;
            }
            Verdict::NeverOurs(stranger) => {
                self.inbox.refuse(&row.key(), row.version, Refused::stranger(stranger).code, false).await?;
            }
            // Others may be known by now.
            Verdict::NotYetKnown => {}
            Verdict::Away => return Ok(false),
        }
        Ok(true)
    }
}

/// The span of one receipt: a child of the node's call.
fn row_span(row: &Due) -> Span {
    let span = tracing::info_span!(
        parent: None,
        "apply receipt",
        institution = identifier(&row.id_pa),
        receipt_id = identifier(&row.receipt_id),
        version = row.version
    );
    if let Some(traceparent) = &row.traceparent {
        trace::set_parent(&span, traceparent);
    }
    span
}

/// For the metric; `None`: tenant did not apply it.
const fn name(outcome: ApplyOutcome) -> Option<&'static str> {
    match outcome {
        ApplyOutcome::Unspecified => None,
        ApplyOutcome::Applied => Some("applied"),
        ApplyOutcome::Repeated => Some("repeated"),
        ApplyOutcome::Case => Some("case"),
        ApplyOutcome::Beneficiary => Some("beneficiary"),
    }
}
