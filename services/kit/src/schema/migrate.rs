//! The command `migrate`: brings a schema up to date while the service works on it.
//!
//! A statement that changes a table waits for everybody who uses it, and whoever comes later waits behind it: a migration that waited for a
//! dump would hold up every receipt as long as the dump runs. It therefore waits in slices that are shorter than any statement of a
//! service may take, gives up its place and tries again. A migration is one transaction: what was not applied left nothing behind.

use std::time::Duration;

use clap::Parser;
use sqlx::{
    PgPool,
    error::DatabaseError,
    migrate::{MigrateError, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{Misfit, Version, fits, own, version};
use crate::{
    options::{DatabaseUrl, DatabaseUrlError, TelemetryOptions},
    store,
};

/// Longest wait for a lock. Shorter than the statement timeout of any call that somebody waits for (verify: 500 ms), so that none of those
/// behind a migration is given up.
const LOCK_TIMEOUT: Duration = Duration::from_millis(300);

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Between two tries: whoever waited behind the migration goes first.
const PAUSE: Duration = Duration::from_secs(1);

/// SQLSTATE of a lock that was not to be had in time.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// Brings the schema of the service's database up to date, and ends
#[derive(Debug, Clone, Parser)]
pub struct Options {
    /// Connection URL of the role that owns the schema; default: that of the runtime role
    #[arg(long, env = "FIORINO_DATABASE_MIGRATION_URL", value_name = "URL", required_unless_present = "database_url")]
    pub database_migration_url: Option<DatabaseUrl>,
    /// Connection URL of the runtime role
    #[arg(long, env = "FIORINO_DATABASE_URL", value_name = "URL")]
    pub database_url: Option<DatabaseUrl>,
    /// How often a lock that others hold, or a database that is away, is tried again, about once a second
    #[arg(long, env = "FIORINO_MIGRATION_TRIES", default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub tries: u32,
    /// Traces and logs
    #[command(flatten)]
    pub telemetry: TelemetryOptions,
}

/// Why a schema is not up to date; what was not applied left nothing behind.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Others held a table all the time.
    #[error(
        "failed to lock a table {tries} times: others use it all the time; look in pg_stat_activity for the oldest transaction \
         (a dump, a vacuum), and run this again"
    )]
    Locked {
        /// How often it was tried.
        tries: u32,
        /// What the database said last.
        source: sqlx::Error,
    },
    /// A migration does not apply, or differs from what was applied under its number; or the database is away.
    #[error("failed to migrate")]
    Database(#[from] sqlx::Error),
    /// The schema is newer, and this program does not work with it.
    #[error(transparent)]
    Newer(Misfit),
    /// The latest migration does not end with its row of `schema_version`.
    #[error("the latest migration, {own}, records no version of the schema")]
    Unrecorded {
        /// Its number.
        own: i64,
    },
}

// === impl Options ===

impl Options {
    /// Options with every default, for tests and tools.
    ///
    /// # Errors
    /// [`DatabaseUrlError`] when `url` is not a PostgreSQL URL.
    pub fn for_url(url: &str) -> Result<Self, DatabaseUrlError> {
        Ok(Self {
            database_migration_url: Some(url.parse()?),
            database_url: None,
            tries: 120,
            telemetry: TelemetryOptions::quiet(),
        })
    }
}

/// Applies what is missing, each migration in a transaction of its own. Several may do it at once. On a schema that is newer, nothing is
/// done.
///
/// # Errors
/// [`Error`]; what was applied before stays.
pub async fn migrate(options: &Options, migrator: &Migrator) -> Result<Version, Error> {
    let url = options.database_migration_url.as_ref().or(options.database_url.as_ref());
    let url = url.ok_or_else(|| sqlx::Error::Configuration("no URL of a database".into()))?;
    let connection = url
        .connect_options()?
        .application_name("migrate")
        .options([("lock_timeout", LOCK_TIMEOUT.as_millis().to_string())]);
    let mut tries = 0;
    loop {
        let error = match once(&connection, migrator).await {
            Err(Error::Database(error)) if is_locked(&error) || store::transient(cause(&error)) => error,
            ended => return ended,
        };
        tries += 1;
        if tries >= options.tries {
            return Err(if is_locked(&error) {
                Error::Locked { tries, source: error }
            } else {
                Error::Database(error)
            });
        }
        tracing::info!(error = &error as &dyn std::error::Error, tries, "not to be had, trying again");
        tokio::time::sleep(PAUSE).await;
    }
}

/// On one connection of its own: when it ends, sqlx's lock against other migrators ends too.
async fn once(options: &PgConnectOptions, migrator: &Migrator) -> Result<Version, Error> {
    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(CONNECT_TIMEOUT);
    let connection = pool.connect_with(options.clone()).await?;
    let migrated = apply(&connection, migrator).await;
    connection.close().await;
    migrated
}

async fn apply(connection: &PgPool, migrator: &Migrator) -> Result<Version, Error> {
    let own = own(migrator);
    if let Some(found) = version(connection).await?
        && found.version > own
    {
        return fits(Some(found), own).map(|()| found).map_err(Error::Newer);
    }
    migrator.run(connection).await.map_err(sqlx::Error::from)?;
    version(connection).await?.filter(|found| found.version == own).ok_or(Error::Unrecorded { own })
}

fn is_locked(error: &sqlx::Error) -> bool {
    let code = cause(error).as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|code| code == LOCK_NOT_AVAILABLE)
}

/// What the migrator wrapped.
fn cause(error: &sqlx::Error) -> &sqlx::Error {
    match error {
        sqlx::Error::Migrate(wrapped) => match wrapped.as_ref() {
            MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _) => cause,
            _ => error,
        },
        error => error,
    }
}
