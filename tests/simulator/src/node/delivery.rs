//! Receipts on their way to the stations: at least once. Timeout, malformed answer, no connection: again later, up to 48
//! times. A valid KO is final.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Serialize;
use tokio::{sync::Notify, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    clock,
    judge::{Operation, StationFault, Verdict},
    node::{Node, oddity::Way},
    station::Unreachable,
};

/// Calls in flight at once.
const CONCURRENCY: usize = 32;

/// How far a receipt has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum State {
    /// Waits for its next attempt.
    Pending,
    /// In flight.
    Sending,
    /// Acknowledged.
    Notified,
    /// Refused by a valid KO: never sent again.
    Refused {
        /// The station's fault.
        fault: StationFault,
    },
    /// No attempt left.
    Exhausted,
}

/// One receipt to one addressee.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// Number of this delivery.
    pub id: usize,
    /// Payment token.
    pub receipt_id: String,
    /// `idPA`
    pub addressee: String,
    /// Where it goes.
    pub station_id: String,
    /// Which primitive.
    pub operation: Operation,
    /// How far it is.
    #[serde(flatten)]
    pub state: State,
    /// Attempts so far.
    pub attempts: u32,
    /// Why the last attempt failed.
    pub last_problem: Option<String>,
    /// W3C trace id of the last attempt.
    pub trace_id: Option<String>,
    /// Milliseconds that the last attempt took.
    pub elapsed_ms: Option<u64>,
    #[serde(skip)]
    request: String,
    #[serde(skip)]
    way: Way,
    /// In monotonic time.
    #[serde(skip)]
    due: Duration,
}

/// All receipts.
#[derive(Debug)]
pub struct Deliveries {
    list: Mutex<Vec<Delivery>>,
    changed: Notify,
    retry: Duration,
    attempts_max: u32,
}

// === impl Deliveries ===

impl Deliveries {
    /// No receipts yet.
    pub fn new(retry: Duration, attempts_max: u32) -> Self {
        Self { list: Mutex::default(), changed: Notify::new(), retry, attempts_max }
    }

    /// Everything so far.
    pub fn list(&self) -> Vec<Delivery> {
        self.lock().clone()
    }

    /// Sends a receipt again now, whatever its state: the node's operators do that by hand. False if there is none.
    pub fn resend(&self, id: usize) -> bool {
        let found = self.lock().get_mut(id).map(|delivery| {
            delivery.state = State::Pending;
            delivery.due = clock::monotonic();
        });
        self.changed.notify_one();
        found.is_some()
    }

    pub(super) fn enqueue(
        &self,
        receipt_id: &str,
        addressee: &str,
        station_id: &str,
        operation: Operation,
        request: String,
        way: Way,
    ) {
        let mut list = self.lock();
        let delivery = Delivery {
            id: list.len(),
            receipt_id: receipt_id.to_owned(),
            addressee: addressee.to_owned(),
            station_id: station_id.to_owned(),
            operation,
            state: State::Pending,
            attempts: 0,
            last_problem: None,
            trace_id: None,
            elapsed_ms: None,
            request,
            way,
            due: clock::monotonic(),
        };
        list.push(delivery);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Delivery>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what is due, up to `room`, and tells how long it is until the next one.
    fn take_due(&self, room: usize) -> (Vec<Delivery>, Option<Duration>) {
        let now = clock::monotonic();
        let mut list = self.lock();
        let due: Vec<_> = list
            .iter_mut()
            .filter(|d| d.state == State::Pending && d.due <= now)
            .take(room)
            .map(|d| {
                d.state = State::Sending;
                d.attempts += 1;
                d.clone()
            })
            .collect();
        let next = list.iter().filter(|d| d.state == State::Pending).map(|d| d.due).min();
        (due, next.map(|next| next.saturating_sub(now)))
    }

    fn settle(&self, id: usize, state: State, problem: Option<String>, call: Option<(String, u64)>) {
        let mut list = self.lock();
        let Some(delivery) = list.get_mut(id) else { return };
        delivery.state = match state {
            State::Pending if delivery.attempts >= self.attempts_max => State::Exhausted,
            other => other,
        };
        delivery.due = clock::monotonic() + self.retry;
        delivery.last_problem = problem;
        (delivery.trace_id, delivery.elapsed_ms) = call.unzip();
    }
}

/// Delivers until `token` is cancelled.
pub async fn run(node: Arc<Node>, token: CancellationToken) {
    let mut calls = JoinSet::new();
    loop {
        let (due, next) = node.deliveries.take_due(CONCURRENCY.saturating_sub(calls.len()));
        for delivery in due {
            let node = Arc::clone(&node);
            calls.spawn(async move { deliver(&node, delivery).await });
        }
        let full = calls.len() >= CONCURRENCY;
        let pause = next.unwrap_or(Duration::from_hours(1));
        tokio::select! {
            () = token.cancelled() => return,
            Some(_) = calls.join_next() => {}
            () = node.deliveries.changed.notified() => {}
            () = tokio::time::sleep(pause), if !full => {}
        }
    }
}

async fn deliver(node: &Node, delivery: Delivery) {
    // Looked up at each attempt: a station that moved gets what is on its way.
    let station = node.registry.lock().stations.get(&delivery.station_id).cloned();
    let Some(station) = station else {
        let problem = Some("PPT_STAZIONE_INT_PA_SCONOSCIUTA".to_owned());
        node.deliveries.settle(delivery.id, State::Pending, problem, None);
        return;
    };
    let call = node.client.call_by(&station, delivery.operation, delivery.request, &delivery.way).await;
    let (state, problem) = match call.result {
        Ok(Verdict::Ok(_)) => (State::Notified, None),
        Ok(Verdict::Ko(fault)) => (State::Refused { fault }, None),
        Ok(Verdict::Refused(violations)) => {
            let problem = violations.first().map(|v| format!("{} {}: {}", v.rule, v.path, v.message));
            // A 5xx is how a station says "not stored, send again": no rule of the contract is broken by it.
            if !violations.iter().all(|v| v.rule == "http-status") {
                node.record(&violations);
            }
            (State::Pending, problem)
        }
        Err(Unreachable::Connection) => (State::Pending, Some("PPT_STAZIONE_INT_PA_IRRAGGIUNGIBILE".to_owned())),
        Err(Unreachable::Timeout) => (State::Pending, Some("PPT_STAZIONE_INT_PA_TIMEOUT".to_owned())),
    };
    node.deliveries.settle(delivery.id, state, problem, Some((call.trace_id, call.elapsed_ms)));
}
