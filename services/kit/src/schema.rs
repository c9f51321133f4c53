//! The version of a service's schema, and whether a process may work on it.
//!
//! The version of a schema is the number of its latest migration, the version of a program that of the latest migration it brings. Each
//! migration records its number in a table of the service ([`DDL`]), and the least version of the program that works from then on:
//!
//! ```sql
//! insert into schema_version (version, compatible_from) values (12, 9);
//! ```
//!
//! `fiorino-<service> migrate` brings a schema up to date ([`migrate`]). A process changes none: at its start it reads the version, and
//! waits, not ready, while the schema is older than it needs or no longer works with it ([`Gate`]). A schema that is newer and still works
//! with it is served: so two versions of a service share a database during a rollout.

mod migrate;

use std::{fmt, time::Duration};

use opentelemetry::{KeyValue, global, metrics::Gauge};
use sqlx::{PgExecutor, PgPool, error::DatabaseError, migrate::Migrator};
use tokio::time::timeout;

pub use self::migrate::{Error, Options, migrate};
use crate::{admin::Readiness, backoff::Backoff, store};

/// The table, for a migration of the service; the runtime role may read it.
pub const DDL: &str = include_str!("../sql/schema_version.sql");

/// The condition of readiness that [`Gate`] sets.
pub const CONDITION: &str = "schema";

/// Longest wait for an answer: a connection may have fallen silent.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// SQLSTATE of a table that is not there.
const UNDEFINED_TABLE: &str = "42P01";

/// What the table says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// Number of the latest migration.
    pub version: i64,
    /// The least version of the program that works on it.
    pub compatible_from: i64,
}

/// Why a program may not work on a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misfit {
    /// Migrations are missing.
    Older {
        /// The schema's version; `None` = it has none yet.
        found: Option<i64>,
        /// The program's version.
        needed: i64,
    },
    /// A migration left this version of the program behind.
    Newer {
        /// What the table says.
        found: Version,
        /// The program's version.
        own: i64,
    },
}

/// Lets a process work once the schema fits it.
#[derive(Debug, Clone)]
pub struct Gate {
    pool: PgPool,
    own: i64,
    readiness: Readiness,
    waiting: Gauge<u64>,
}

/// The version of the schema; `None` before the first migration that records one.
///
/// # Errors
/// What the database says.
pub async fn version(executor: impl PgExecutor<'_>) -> sqlx::Result<Option<Version>> {
    let read: sqlx::Result<(Option<i64>, Option<i64>)> =
        sqlx::query_as("select max(version), max(compatible_from) from schema_version").fetch_one(executor).await;
    match read {
        Ok((version, compatible_from)) => {
            Ok(version.zip(compatible_from).map(|(version, compatible_from)| Version { version, compatible_from }))
        }
        Err(error)
            if error.as_database_error().and_then(DatabaseError::code).is_some_and(|code| code == UNDEFINED_TABLE) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The version of a program: the number of its latest migration; 0 without any.
pub fn own(migrator: &Migrator) -> i64 {
    migrator.iter().map(|migration| migration.version).max().unwrap_or_default()
}

/// Whether a program of version `own` may work on a schema.
///
/// # Errors
/// Why not.
pub fn fits(found: Option<Version>, own: i64) -> Result<(), Misfit> {
    match found {
        Some(found) if found.compatible_from > own => Err(Misfit::Newer { found, own }),
        Some(found) if found.version >= own => Ok(()),
        found => Err(Misfit::Older { found: found.map(|found| found.version), needed: own }),
    }
}

// === impl Misfit ===

impl Misfit {
    const REASONS: [&str; 2] = ["older", "newer"];

    /// Label of the metric.
    const fn reason(self) -> &'static str {
        match self {
            Self::Older { .. } => Self::REASONS[0],
            Self::Newer { .. } => Self::REASONS[1],
        }
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Older { found: None, needed } => {
                write!(
                    f,
                    "the database has no version of its schema yet, this program needs {needed}; run its command `migrate`"
                )
            }
            Self::Older { found: Some(found), needed } => {
                write!(f, "the schema has version {found}, this program needs {needed}; run its command `migrate`")
            }
            Self::Newer { found, own } => write!(
                f,
                "the schema has version {}, which programs from version {} on work with; this one has version {own}: start a newer one",
                found.version, found.compatible_from
            ),
        }
    }
}

impl std::error::Error for Misfit {}

// === impl Gate ===

impl Gate {
    /// For a program that brings these migrations, on a pool that connects as the runtime role.
    pub fn new(pool: PgPool, migrator: &Migrator, readiness: Readiness) -> Self {
        let waiting = global::meter("fiorino")
            .u64_gauge("fiorino.schema.waiting")
            .with_description("1 while a process waits for its schema: it is older than needed, or too new")
            .build();
        let gate = Self { pool, own: own(migrator), readiness, waiting };
        gate.count(None);
        gate
    }

    /// Waits until the schema fits, also for a database that is away; readiness and log say why.
    ///
    /// # Errors
    /// What waiting does not mend: the database refuses the login or the statement.
    pub async fn open(&self) -> sqlx::Result<()> {
        let mut retry = Backoff::BACKGROUND.retry();
        loop {
            match self.read().await.map(|found| fits(found, self.own)) {
                Ok(Ok(())) => break,
                Ok(Err(misfit)) => {
                    tracing::warn!(reason = %misfit, "the schema does not fit, waiting");
                    self.count(Some(misfit));
                    self.readiness.wait_for(CONDITION, misfit.to_string());
                }
                Err(error) if store::transient(&error) => away(&error),
                Err(error) => return Err(error),
            }
            retry.wait().await;
        }
        self.count(None);
        self.readiness.set(CONDITION, true);
        Ok(())
    }

    /// The same, but a database that does not answer is waited for no longer than `patience`: then `false`, and the process may start
    /// without. Whoever goes on calls [`Gate::open`] beside its work.
    ///
    /// # Errors
    /// As [`Gate::open`].
    pub async fn open_unless_away(&self, patience: Duration) -> sqlx::Result<bool> {
        let mut retry = Backoff::BACKGROUND.retry();
        let answers = async {
            while let Err(error) = self.read().await
                && store::transient(&error)
            {
                away(&error);
                retry.wait().await;
            }
        };
        if timeout(patience, answers).await.is_err() {
            self.readiness.set(CONDITION, true);
            return Ok(false);
        }
        self.open().await.map(|()| true)
    }

    async fn read(&self) -> sqlx::Result<Option<Version>> {
        timeout(ANSWER_TIMEOUT, version(&self.pool)).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }

    fn count(&self, misfit: Option<Misfit>) {
        for reason in Misfit::REASONS {
            let waits = misfit.is_some_and(|misfit| misfit.reason() == reason);
            self.waiting.record(u64::from(waits), &[KeyValue::new("reason", reason)]);
        }
    }
}

fn away(error: &sqlx::Error) {
    tracing::warn!(error = error as &dyn std::error::Error, "database is away, waiting");
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::none(None, "no version of its schema yet, this program needs 7; run its command `migrate`")]
    #[case::older(Some((6, 1)), "version 6, this program needs 7; run its command `migrate`")]
    #[case::left_behind(Some((9, 8)), "version 9, which programs from version 8 on work with; this one has version 7: start a newer one")]
    fn what_does_not_fit_says_why(#[case] found: Option<(i64, i64)>, #[case] says: &str) {
        let misfit = fits(found.map(|(version, compatible_from)| Version { version, compatible_from }), 7).unwrap_err();
        assert!(misfit.to_string().contains(says), "{misfit}");
    }

    #[rstest]
    #[case::its_own((7, 1))]
    #[case::its_own_and_no_older((7, 7))]
    #[case::newer((9, 7))]
    fn its_own_schema_and_a_newer_compatible_one_fit(#[case] (version, compatible_from): (i64, i64)) {
        assert_eq!(fits(Some(Version { version, compatible_from }), 7), Ok(()));
    }
}
