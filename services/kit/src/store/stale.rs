//! Statements that were prepared before the schema changed under them.
//!
//! A connection keeps its prepared statements. When a migration changes the type of a column that one of them answers with, PostgreSQL
//! refuses it from then on (SQLSTATE 0A000, "cached plan must not change result type"), and the driver would offer it again for as long as
//! the connection lives. One such refusal therefore ends every connection of this process that was open by then: the pools give out
//! none of them any more.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use sqlx::postgres::PgDatabaseError;

use crate::clock::Clock;

/// SQLSTATE of what PostgreSQL does not support, and where in it a stale plan is refused: the text is translated.
const NOT_SUPPORTED: &str = "0A000";
const REVALIDATION: &str = "RevalidateCachedQuery";

/// When the last refusal was noted: microseconds since the start of the process; 0 = never.
static NOTED: AtomicU64 = AtomicU64::new(0);

/// An error that may be one of the database.
pub trait Failure {
    /// What the database, or the way to it, said.
    fn database(&self) -> Option<&sqlx::Error>;
}

/// Does what only reads, and once more when a prepared statement had outlived a change of the schema: then on another connection.
///
/// # Errors
/// Those of `work`.
pub async fn read<T, E, Work>(work: impl Fn() -> Work) -> Result<T, E>
where
    E: Failure,
    Work: Future<Output = Result<T, E>>,
{
    match work().await {
        Err(error) if error.database().is_some_and(note) => work().await,
        done => done,
    }
}

/// Whether a prepared statement outlived a change of the schema. If so, no pool of the process gives out a connection any more that was
/// open by now.
pub fn note(error: &sqlx::Error) -> bool {
    let stale = error.as_database_error().is_some_and(|error| {
        error.code().is_some_and(|code| code == NOT_SUPPORTED)
            && error.try_downcast_ref::<PgDatabaseError>().and_then(PgDatabaseError::routine) == Some(REVALIDATION)
    });
    if stale && NOTED.fetch_max(now(), Ordering::Relaxed) == 0 {
        tracing::warn!("the schema changed under prepared statements, connections are made anew");
    }
    stale
}

/// Whether a connection of this age was opened after the last refusal.
pub(super) fn is_usable(age: Duration) -> bool {
    match NOTED.load(Ordering::Relaxed) {
        0 => true,
        noted => now().saturating_sub(micros(age)) > noted,
    }
}

fn now() -> u64 {
    micros(Clock::system().monotonic()).max(1)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

// === impl Failure ===

impl Failure for sqlx::Error {
    fn database(&self) -> Option<&sqlx::Error> {
        Some(self)
    }
}
