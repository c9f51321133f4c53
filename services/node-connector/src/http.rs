//! What the node calls: `POST /node/v1/{stationId}`, SOAP 1.1.
//!
//! ```text
//!  listener (mTLS | loopback) -- X-Request-Id -- content type -- body -- read --+-- verify, get, demand: bulkhead "notices"
//!                                                                              +-- receipts:            bulkhead "receipts"
//! ```
//! Whatever the URL or the method, a body is read within the same limits: a receipt is taken by every door, what may be one is kept, and only
//! what is neither is told that there is nothing.
//!
//! Long bodies are bounded in memory (`body`) and read beside the runtime's workers (`parse`).
//!
//! Business errors are KO in HTTP 200; what cannot be answered so is a SOAP fault that names rule and remedy.

mod answer;
mod body;
pub mod client_auth;
pub(crate) mod head;
pub mod listener;
pub(crate) mod request_id;
pub mod tls;

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    response::Response,
    routing::any,
};
use bytes::Bytes;
use fiorino_kit::{clock::Clock, telemetry::identifier, trace};
use fiorino_wire::{
    self as wire, DemandRequest, Fault, FaultCode, GetPaymentRequest, ReadError, ReceiptMessage, Request, VerifyRequest,
};
use http::{HeaderMap, Method, StatusCode, Uri, Version};
use tokio::sync::Semaphore;
use tracing::Span;

use self::{answer::Answer, body::Reader, listener::Caller, request_id::RequestId};
use crate::{
    metrics::Metrics,
    notices::{self, Notices},
    parse::{NoTurn, Parser},
    path,
    receipts::{Arrival, Decision, Receipts},
    refused::Refused,
};

/// Characters of a caller's text that are kept.
const TEXT_MAX: usize = 255;

/// How much of each class is in work at once, and how long it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Calls of verify, get and demand in work; more are answered `PAA_SYSTEM_ERROR` at once.
    pub notices: usize,
    /// Receipts in work; more are answered 503 at once.
    pub receipts: usize,
    /// For a whole answer, from the end of the request's body.
    pub answer_within: Duration,
    /// For writing to the inbox, retries included.
    pub write_within: Duration,
    /// For the request's body to arrive.
    pub body_within: Duration,
    /// What messages that cannot be read may take on disk, in bytes; beyond it a new one is answered 503 and not kept.
    pub unreadable_bytes: i64,
}

/// Everything that a call needs.
#[derive(Debug)]
pub(crate) struct Front {
    notices: Arc<Notices>,
    receipts: Arc<Receipts>,
    reader: Reader,
    parser: Parser,
    /// A class that is full or slow takes nothing from the other.
    notice_slots: Semaphore,
    receipt_slots: Semaphore,
    limits: Limits,
    clock: Clock,
    metrics: Metrics,
}

/// By which door a call comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    /// A station's URL, by POST.
    Station,
    /// A station's URL, by another method.
    Method,
    /// Any other path.
    Elsewhere,
}

/// A call without its body.
struct Call {
    path_station: String,
    caller: Caller,
    request_id: RequestId,
    charset: Option<String>,
    deadline: Duration,
}

// === impl Limits ===

impl Default for Limits {
    /// The node's KPI is 2 s (ARCHITECTURE.md 5.3).
    fn default() -> Self {
        Self {
            notices: 512,
            receipts: 256,
            answer_within: Duration::from_millis(1_800),
            write_within: Duration::from_millis(1_500),
            body_within: Duration::from_secs(10),
            unreadable_bytes: 256 * 1024 * 1024,
        }
    }
}

/// The routes, with their layers.
pub(crate) fn router(front: Arc<Front>) -> Router {
    Router::new()
        .route("/node/v1/{station_id}", any(call))
        .route("/node/v1/{station_id}/", any(call))
        .fallback(call)
        .with_state(front)
        .layer(axum::middleware::from_fn(request_id::layer))
        .layer(trace::http_layer("node"))
}

async fn call(
    State(front): State<Arc<Front>>,
    station: Result<Path<String>, PathRejection>,
    Extension(caller): Extension<Caller>,
    Extension(request_id): Extension<RequestId>,
    request: (Method, Uri, Version, HeaderMap),
    body: Body,
) -> Response {
    let (method, uri, version, headers) = request;
    let (door, path_station) = match station {
        Ok(Path(station)) if method == Method::POST => (Door::Station, station),
        Ok(Path(station)) => (Door::Method, station),
        Err(_) => (Door::Elsewhere, path::decoded(uri.path())),
    };
    let started = front.clock.monotonic();
    let span = Span::current();
    let answer = front.answer((door, &path_station), caller, &request_id, (version, &headers), body).await;
    let took = front.clock.monotonic().saturating_sub(started);
    front.metrics.request(answer.op, answer.outcome.name(), answer.fault, took);
    let told = [("op", answer.op), ("outcome", answer.outcome.name()), ("fault", answer.fault)];
    trace::rename(&span, answer.op, &told);
    tracing::info!(
        op = answer.op,
        outcome = answer.outcome.name(),
        fault = answer.fault,
        institution = identifier(&answer.institution),
        path_station = identifier(&path_station),
        request_id = identifier(request_id.as_str()),
        took_ms = took.as_millis(),
        "answered the node"
    );
    answer.into_response()
}

// === impl Front ===

impl Front {
    pub(crate) fn new(
        notices: Arc<Notices>,
        receipts: Arc<Receipts>,
        limits: Limits,
        clock: Clock,
        metrics: Metrics,
    ) -> Self {
        Self {
            notices,
            receipts,
            reader: Reader::new(wire::Limits::default(), limits.body_within),
            parser: Parser::new(wire::Limits::default()),
            notice_slots: Semaphore::new(limits.notices),
            receipt_slots: Semaphore::new(limits.receipts),
            limits,
            clock,
            metrics,
        }
    }

    async fn answer(
        &self,
        (door, path_station): (Door, &str),
        caller: Caller,
        request_id: &RequestId,
        (version, headers): (Version, &HeaderMap),
        body: Body,
    ) -> Answer {
        let (charset, refused) = match head::check(version, headers) {
            Ok(charset) => (charset, None),
            Err(refused) if refused.status == StatusCode::UNSUPPORTED_MEDIA_TYPE => (None, Some(refused)),
            Err(head::Refused { status, reason, rule }) => {
                self.metrics.not_taken("ambiguous");
                return Answer::client_fault(status, reason, rule);
            }
        };
        let whole = match self.reader.read(body, charset.as_deref()).await {
            Ok(whole) => whole,
            Err(error) => return self.not_taken(error),
        };
        let turned_away = match door {
            // Nothing came that could be a receipt.
            Door::Elsewhere if whole.bytes.is_empty() => return Answer::nothing_there(),
            Door::Method if whole.bytes.is_empty() => return Answer::not_by_this_method(),
            Door::Elsewhere if path::station_in(path_station).is_none() => Some(Answer::nothing_there()),
            Door::Method => Some(Answer::not_by_this_method()),
            // By a path that names a station it is served.
            Door::Elsewhere | Door::Station => None,
        };
        caller.progress.busy();
        let call = Call {
            path_station: path_station.to_owned(),
            caller,
            request_id: request_id.clone(),
            charset,
            deadline: self.clock.monotonic() + self.limits.answer_within,
        };
        // Half of the time is for waiting: the rest is for what the message asks.
        let patience = self.limits.answer_within / 2;
        let message = match self.parser.parse(&whole.bytes, call.charset.as_deref(), patience).await {
            Ok(message) => message,
            Err(NoTurn) => return self.not_taken(body::Error::Overloaded),
        };
        let refused = refused.map(|head::Refused { status, reason, rule }| Answer::client_fault(status, reason, rule));
        if let Some(answer) = turned_away.or(refused)
            && !may_be_receipt(&message)
        {
            return answer;
        }
        match message {
            Ok(Request::SendReceipt(message)) => self.receipt(&message, call, whole.bytes.clone()).await,
            Ok(Request::Verify(request)) => self.verify(&request, &call).await,
            Ok(Request::GetPayment(request)) => self.get(&request, &call).await,
            Ok(Request::Demand(request)) => self.demand(&request, &call).await,
            Err(error) => self.unreadable(&error, call, whole.bytes.clone()).await,
        }
    }

    async fn verify(&self, request: &VerifyRequest, call: &Call) -> Answer {
        let operation = wire::Operation::Verify;
        let answered = self.notice(self.notices.verify(request, call.of_notice())).await;
        self.written(operation, &request.header, answered.map(|notice| wire::write_verify(&notice)))
    }

    async fn get(&self, request: &GetPaymentRequest, call: &Call) -> Answer {
        let operation = wire::Operation::GetPayment(request.version);
        let answered = self.notice(self.notices.get(request, call.of_notice())).await;
        let written = answered.map(|payment| wire::write_get_payment(request.version, &payment));
        self.written(operation, &request.header, written)
    }

    /// No service of the national catalogue is offered (pagopa.md 2.8).
    async fn demand(&self, request: &DemandRequest, call: &Call) -> Answer {
        let operation = wire::Operation::Demand;
        let refused = match self.notice(self.notices.check(&request.header, call.of_notice())).await {
            Ok(()) => Refused::because(FaultCode::Semantica, "idServizio is not offered by this institution"),
            Err(refused) => refused,
        };
        self.written(operation, &request.header, Err(refused))
    }

    /// Within the class of notices, or at once.
    async fn notice<T>(&self, work: impl Future<Output = notices::Result<T>>) -> notices::Result<T> {
        let Ok(_slot) = self.notice_slots.try_acquire() else {
            self.metrics.overload("notices");
            return Err(Refused::system_error());
        };
        work.await
    }

    /// The answer as written, unless the writer refuses it: never let an invalid message leave.
    fn written(
        &self,
        operation: wire::Operation,
        header: &wire::Header,
        answer: notices::Result<Result<String, wire::Violation>>,
    ) -> Answer {
        let refused = match answer {
            Ok(Ok(body)) => return Answer::ok(operation, &header.id_pa, body),
            Ok(Err(violation)) => {
                self.metrics.answer_refused(operation.name());
                tracing::error!(op = operation.name(), violation = %violation, institution = identifier(&header.id_pa), "an answer was refused by the writer");
                Refused::system_error()
            }
            Err(refused) => refused,
        };
        Answer::ko(operation, &header.id_pa, refused)
    }

    async fn receipt(&self, message: &ReceiptMessage, call: Call, body: Bytes) -> Answer {
        let operation = wire::Operation::SendReceipt(message.version);
        let Ok(_slot) = self.receipt_slots.try_acquire() else {
            self.metrics.overload("receipts");
            return Answer::later(operation.name(), "too many receipts at once");
        };
        match self.receipts.receive(message, call.arrival(body)).await {
            Decision::Accepted => {
                Answer::ok(operation, &message.header.id_pa, wire::write_receipt_accepted(message.version))
            }
            Decision::Refused(refused) => Answer::ko(operation, &message.header.id_pa, refused),
            Decision::Later(reason) => Answer::later(operation.name(), reason),
        }
    }

    /// Anything that may be a receipt is kept; the rest is answered in its response element where there is one.
    async fn unreadable(&self, error: &ReadError, call: Call, body: Bytes) -> Answer {
        let operation = error.operation();
        if let ReadError::TooLarge { limit, .. } = error {
            return self.not_taken(body::Error::TooLong { limit: *limit, operation });
        }
        if let Some((operation, fault)) = Fault::of(error) {
            return Answer::fault(operation, &fault);
        }
        let Ok(_slot) = self.receipt_slots.try_acquire() else {
            self.metrics.overload("receipts");
            return Answer::later(answer::UNKNOWN, "too many receipts at once");
        };
        match self.receipts.keep_unreadable(call.arrival(body), &error.to_string()).await {
            Ok(()) => Answer::unreadable(operation, error),
            Err(reason) => Answer::later(answer::UNKNOWN, reason),
        }
    }

    /// A body that did not come whole cannot be kept: where it may be a receipt, only an alarm can tell of it.
    fn not_taken(&self, error: body::Error) -> Answer {
        if error == body::Error::Overloaded {
            self.metrics.overload("bodies");
        }
        if let Some(reason) = error.alarm() {
            self.metrics.not_taken(reason);
            tracing::error!(error = &error as &dyn std::error::Error, "a body was not taken that may be a receipt");
        }
        Answer::body_fault(error)
    }
}

/// Whether it is a receipt, or nobody can tell: whatever HTTP says of it, it is not turned away.
fn may_be_receipt(message: &Result<Request, ReadError>) -> bool {
    match message {
        Ok(Request::SendReceipt(_)) => true,
        Ok(Request::Verify(_) | Request::GetPayment(_) | Request::Demand(_)) => false,
        Err(error) => error.operation().is_none_or(wire::Operation::is_receipt),
    }
}

// === impl Call ===

impl Call {
    fn of_notice(&self) -> notices::Call<'_> {
        let path_station = path::station_in(&self.path_station).unwrap_or(&self.path_station);
        notices::Call { path_station, deadline: self.deadline }
    }

    fn arrival(self, body: Bytes) -> Arrival {
        Arrival {
            peer: printable(&self.caller.name),
            request_id: self.request_id.as_str().to_owned(),
            path_station: printable(&self.path_station),
            charset: self.charset,
            body,
            deadline: self.deadline,
        }
    }
}

/// What the inbox keeps of a text that the caller chose freely: PostgreSQL's text has no NUL, and nobody needs the rest.
fn printable(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(TEXT_MAX).collect()
}
