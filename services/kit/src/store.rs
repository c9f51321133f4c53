//! PostgreSQL: a pool per class of work, transactions, names of broken constraints.

mod stale;

use std::time::Duration;

use futures::future::BoxFuture;
use opentelemetry::{KeyValue, global, metrics::AsyncInstrument};
use sqlx::{
    Connection as _, PgConnection, PgPool, Postgres, Transaction, error::DatabaseError, postgres::PgPoolOptions,
};

pub use self::stale::{Failure, note, read};
use crate::options::DatabaseOptions;

const CONNECTION_LIFETIME: Duration = Duration::from_mins(30);
const CONNECTION_IDLE: Duration = Duration::from_mins(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
const STATEMENTS_PREPARED: usize = 256;

/// After this long the server ends a transaction in which nothing happens: a replica that hangs holds no locks.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(10);

/// Limits of one pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Class {
    /// Shown in `pg_stat_activity` and in metrics: `verify`, `receipts`, `batch`, `config`.
    pub name: &'static str,
    /// Largest number of connections.
    pub max: u32,
    /// Longest wait for a free connection.
    pub acquire_timeout: Duration,
    /// Longest run of one statement.
    pub statement_timeout: Duration,
    /// When its statements are planned.
    pub plans: Plans,
}

/// When PostgreSQL plans the statements of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plans {
    /// Anew for each call where the server believes that the values make a difference.
    ForValues,
    /// Once on each connection, whatever the values: where every statement looks rows up by key, and has no other good plan. The server
    /// believes that few rows are cheaper, and would plan each small batch anew, which takes several times as long as reading it. Pages
    /// count as nearly equally near, so that a table that was small when it was planned is not read whole when it has grown.
    Once,
}

/// A pool for one class of work with the timeouts of the options. Connects when first used, so that a database that is away does
/// not keep a process from starting.
///
/// # Errors
/// Only when the URL cannot be parsed.
pub fn connect(options: &DatabaseOptions, class: &'static str, max: u32) -> sqlx::Result<PgPool> {
    connect_class(
        options,
        Class {
            name: class,
            max,
            acquire_timeout: options.acquire_timeout(),
            statement_timeout: options.statement_timeout(),
            plans: Plans::ForValues,
        },
    )
}

/// A pool with timeouts of its own.
///
/// # Errors
/// Only when the URL cannot be parsed.
pub fn connect_class(options: &DatabaseOptions, class: Class) -> sqlx::Result<PgPool> {
    connect_guarded(options, class, |_| Box::pin(std::future::ready(Ok(()))))
}

/// The same, whose new connections are looked at before they are used: those that `guard` refuses are closed, and whoever waits for one is
/// told in time that the database is away.
///
/// # Errors
/// Only when the URL cannot be parsed.
pub fn connect_guarded(
    options: &DatabaseOptions,
    class: Class,
    guard: impl for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, sqlx::Result<()>> + Send + Sync + 'static,
) -> sqlx::Result<PgPool> {
    let connection = options
        .database_url
        .connect_options()?
        .application_name(class.name)
        .statement_cache_capacity(STATEMENTS_PREPARED)
        .options([
            ("statement_timeout", class.statement_timeout.as_millis().to_string()),
            ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION.as_millis().to_string()),
        ])
        .options(class.plans.settings().iter().copied());
    let pool = PgPoolOptions::new()
        .max_connections(class.max)
        .acquire_timeout(class.acquire_timeout)
        // A round trip per statement for what `max_lifetime` and an error give as well.
        .test_before_acquire(false)
        .max_lifetime(CONNECTION_LIFETIME)
        .idle_timeout(CONNECTION_IDLE)
        .before_acquire(|_, connection| {
            let usable = stale::is_usable(connection.age);
            Box::pin(async move { Ok(usable) })
        })
        .after_connect(move |connection, _| guard(connection))
        .after_release(|connection, _| Box::pin(answers(connection)))
        .connect_lazy_with(connection);
    observe(&pool, class);
    Ok(pool)
}

// === impl Plans ===

impl Plans {
    const fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::ForValues => &[],
            Self::Once => &[("plan_cache_mode", "force_generic_plan"), ("random_page_cost", "1.1")],
        }
    }
}

/// Whether a connection that is given back still answers.
///
/// sqlx asks the same afterwards, but for as long as it takes: on a connection that fell silent (the database failed over to another
/// address, packets are dropped) a call that was given up would keep its slot of the pool until TCP gives up, a quarter of an hour.
async fn answers(connection: &mut PgConnection) -> sqlx::Result<bool> {
    let answered = tokio::time::timeout(ANSWER_TIMEOUT, connection.ping()).await;
    answered.map_err(|_| sqlx::Error::PoolTimedOut)?.map(|()| true)
}

/// Gauges of a pool: connections in use, idle, and at most.
fn observe(pool: &PgPool, class: Class) {
    let meter = global::meter("fiorino");
    let (counted, label) = (pool.clone(), KeyValue::new("db.client.connection.pool.name", class.name));
    let observe = move |observer: &dyn AsyncInstrument<u64>| {
        let idle = u64::try_from(counted.num_idle()).unwrap_or_default();
        let states = [("idle", idle), ("used", u64::from(counted.size()).saturating_sub(idle))];
        for (state, count) in states {
            observer.observe(count, &[label.clone(), KeyValue::new("db.client.connection.state", state)]);
        }
    };
    // The meter keeps the callback, and with it the pool, as long as the process lives.
    meter
        .u64_observable_gauge("db.client.connection.count")
        .with_description("Connections, by pool and state")
        .with_callback(observe)
        .build();
    let label = KeyValue::new("db.client.connection.pool.name", class.name);
    let most = meter.u64_gauge("db.client.connection.max").with_description("Most connections of a pool").build();
    most.record(u64::from(class.max), &[label]);
}

/// A transaction under the pool's acquire and statement timeouts; rolled back when dropped.
///
/// # Errors
/// What the pool says: no connection in time, or the database is away.
#[expect(clippy::disallowed_methods, reason = "the one place that begins transactions")]
pub async fn begin(pool: &PgPool) -> sqlx::Result<Transaction<'static, Postgres>> {
    pool.begin().await
}

/// The name of the constraint that the statement broke.
pub fn constraint(error: &sqlx::Error) -> Option<&str> {
    error.as_database_error().and_then(|error| error.constraint())
}

/// SQLSTATE codes and classes after which trying again can help: connections, transactions that got in each other's way, no room,
/// shutting down; a server that only reads, as the old primary after a failover; a transaction that was idle for too long.
const TRANSIENT: [&str; 6] = ["08", "25006", "25P03", "40", "53", "57"];

/// Those that hit whoever asks: connections, no room, shutting down, a server that only reads.
const AWAY: [&str; 4] = ["08", "25006", "53", "57P"];

/// Whether trying again can help: the database or a connection is away, busy or shutting down, transactions got in each other's way, or
/// a prepared statement outlived a change of the schema ([`note`]).
pub fn transient(error: &sqlx::Error) -> bool {
    if note(error) {
        return true;
    }
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => is_one_of(error.as_ref(), &TRANSIENT),
        _ => false,
    }
}

/// Whether the database is away, or has no room for anybody: it is not the fault of what was asked, and anything else fails as well.
pub fn away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => is_one_of(error.as_ref(), &AWAY),
        error => transient(error),
    }
}

fn is_one_of(error: &dyn DatabaseError, codes: &[&str]) -> bool {
    error.code().is_some_and(|code| codes.iter().any(|class| code.starts_with(class)))
}

/// A client span for a statement, named after what it does: `.instrument(store::span("verify notices"))`.
pub fn span(operation: &'static str) -> tracing::Span {
    tracing::info_span!(
        "sql",
        otel.name = operation,
        otel.kind = "client",
        db.system.name = "postgresql",
        db.operation.name = operation
    )
}
