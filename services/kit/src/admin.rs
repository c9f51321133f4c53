//! Probes and metrics on a port of their own (ARCHITECTURE.md 5.4).
//!
//! | path | answers |
//! |---|---|
//! | `/livez` | 200 while the event loop turns |
//! | `/readyz` | 200 when every condition of [`Readiness`] holds, else 503 and their names |
//! | `/metrics` | Prometheus text |

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{clock::Clock, options::AdminOptions, telemetry::Telemetry};

const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(500);
const HEARTBEAT_MAX_AGE: Duration = Duration::from_secs(5);

/// What must be true before traffic may come; cheap to clone. Never the state of another part, the database or Kafka: one blip must not
/// take every replica away.
#[derive(Debug, Clone)]
pub struct Readiness {
    conditions: Arc<Mutex<BTreeMap<&'static str, Condition>>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    Holds,
    /// Does not hold; and why, where that is known.
    Missing(Option<String>),
}

/// When the event loop last turned, in milliseconds of [`Clock::monotonic`].
#[derive(Debug, Clone)]
struct Heartbeat {
    clock: Clock,
    beat_ms: Arc<AtomicU64>,
}

#[derive(Debug, Clone)]
struct Admin {
    telemetry: Telemetry,
    readiness: Readiness,
    heartbeat: Heartbeat,
}

/// Serves probes and metrics until `token` is cancelled.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve(
    options: AdminOptions,
    telemetry: Telemetry,
    readiness: Readiness,
    token: CancellationToken,
) -> io::Result<()> {
    serve_on(TcpListener::bind(options.admin_listen).await?, telemetry, readiness, token).await
}

/// Like [`serve`], on a listener that is bound already.
///
/// # Errors
/// When the listener breaks.
pub async fn serve_on(
    listener: TcpListener,
    telemetry: Telemetry,
    readiness: Readiness,
    token: CancellationToken,
) -> io::Result<()> {
    let heartbeat = Heartbeat::new(Clock::system());
    let beating = tokio::spawn(heartbeat.clone().run(token.clone()));
    let router = Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Admin { telemetry, readiness, heartbeat });
    tracing::info!(address = %listener.local_addr()?, "serving probes and metrics");
    let served = axum::serve(listener, router).with_graceful_shutdown(token.cancelled_owned()).await;
    beating.abort();
    served
}

async fn live(State(admin): State<Admin>) -> impl IntoResponse {
    if admin.heartbeat.age() <= HEARTBEAT_MAX_AGE {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the event loop hangs\n")
    }
}

async fn ready(State(admin): State<Admin>) -> impl IntoResponse {
    match admin.readiness.waiting() {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(waiting) => (StatusCode::SERVICE_UNAVAILABLE, format!("{waiting}\n")),
    }
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    match admin.telemetry.metrics_text() {
        Ok(text) => (StatusCode::OK, [("content-type", "text/plain; version=0.0.4")], text),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "failed to answer a scrape");
            (StatusCode::INTERNAL_SERVER_ERROR, [("content-type", "text/plain")], format!("{error}\n"))
        }
    }
}

// === impl Readiness ===

impl Readiness {
    /// Conditions that all begin false, e.g. `["configuration", "listener"]`.
    pub fn new(conditions: &[&'static str]) -> Self {
        let conditions = conditions.iter().map(|condition| (*condition, Condition::Missing(None))).collect();
        Self { conditions: Arc::new(Mutex::new(conditions)) }
    }

    /// Says whether a condition holds; one that was not declared is added.
    pub fn set(&self, condition: &'static str, holds: bool) {
        self.turn(condition, if holds { Condition::Holds } else { Condition::Missing(None) });
    }

    /// Says that a condition does not hold, and why: `/readyz` tells it.
    pub fn wait_for(&self, condition: &'static str, why: String) {
        self.turn(condition, Condition::Missing(Some(why)));
    }

    /// What does not hold yet.
    pub fn missing(&self) -> Vec<&'static str> {
        let conditions = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = conditions.iter().filter(|(_, state)| **state != Condition::Holds);
        missing.map(|(condition, _)| *condition).collect()
    }

    /// The same as a sentence, with the reasons; `None` = everything holds.
    pub fn waiting(&self) -> Option<String> {
        let conditions = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = conditions.iter().filter_map(|(condition, state)| match state {
            Condition::Holds => None,
            Condition::Missing(None) => Some((*condition).to_owned()),
            Condition::Missing(Some(why)) => Some(format!("{condition} ({why})")),
        });
        let missing: Vec<_> = missing.collect();
        (!missing.is_empty()).then(|| format!("waiting for {}", missing.join(", ")))
    }

    fn turn(&self, condition: &'static str, state: Condition) {
        let holds = state == Condition::Holds;
        let before = self.conditions.lock().unwrap_or_else(PoisonError::into_inner).insert(condition, state);
        if before.is_none_or(|before| (before == Condition::Holds) != holds) {
            tracing::info!(condition, holds, "readiness changed");
        }
    }
}

// === impl Heartbeat ===

impl Heartbeat {
    fn new(clock: Clock) -> Self {
        let heartbeat = Self { clock, beat_ms: Arc::default() };
        heartbeat.beat();
        heartbeat
    }

    async fn run(self, token: CancellationToken) {
        while token.run_until_cancelled(tokio::time::sleep(HEARTBEAT_INTERVAL)).await.is_some() {
            self.beat();
        }
    }

    fn beat(&self) {
        self.beat_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    fn age(&self) -> Duration {
        Duration::from_millis(self.now_ms().saturating_sub(self.beat_ms.load(Ordering::Relaxed)))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.clock.monotonic().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_that_every_condition_holds() {
        let readiness = Readiness::new(&["configuration", "listener"]);
        assert_eq!(readiness.missing(), ["configuration", "listener"]);
        readiness.set("configuration", true);
        assert_eq!(readiness.missing(), ["listener"]);
        readiness.clone().set("listener", true);
        assert!(readiness.missing().is_empty());
        readiness.set("configuration", false);
        assert_eq!(readiness.missing(), ["configuration"]);
        readiness.wait_for("schema", "version 6, needs 7".to_owned());
        assert_eq!(readiness.missing(), ["configuration", "schema"]);
        assert_eq!(readiness.waiting().unwrap(), "waiting for configuration, schema (version 6, needs 7)");
        readiness.set("configuration", true);
        readiness.set("schema", true);
        assert_eq!(readiness.waiting(), None);
    }

    #[test]
    fn a_heartbeat_ages_until_it_beats() {
        let (clock, hand) = Clock::manual(jiff::Timestamp::UNIX_EPOCH);
        let heartbeat = Heartbeat::new(clock);
        hand.advance(Duration::from_secs(6));
        assert!(heartbeat.age() > HEARTBEAT_MAX_AGE);
        heartbeat.beat();
        assert_eq!(heartbeat.age(), Duration::ZERO);
    }
}
