//! Databases by the hundred: a template per schema, a clone per test.

use std::str::FromStr as _;
use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};

/// Serialises the making of templates over all processes: any constant does.
const TEMPLATE_LOCK: i64 = 0x00f1_0f1a;
const DROP_DEADLINE: Duration = Duration::from_secs(20);

/// A database of one test; dropped with it.
#[derive(Debug)]
pub struct TestDatabase {
    /// Where a process connects, as superuser.
    pub url: String,
    /// A small pool on it.
    pub pool: PgPool,
    name: String,
    server: PgConnectOptions,
}

// === impl TestDatabase ===

impl TestDatabase {
    pub(crate) async fn create<E: Into<anyhow::Error>>(
        server_url: &str,
        template_key: &str,
        migrate: impl AsyncFnOnce(PgPool) -> Result<(), E>,
    ) -> Result<Self> {
        let server = PgConnectOptions::from_str(server_url).context("failed to read FIORINO_TEST_DATABASE_URL")?;
        let mut connection = PgConnection::connect_with(&server).await.context("failed to reach PostgreSQL")?;
        let template = format!("template_{template_key}");
        ensure_template(&mut connection, &server, &template, migrate).await?;
        let name = format!("t_{}", uuid::Uuid::new_v4().simple());
        execute(&mut connection, format!("create database \"{name}\" template \"{template}\"")).await?;
        connection.close().await?;
        let options = server.clone().database(&name);
        let pool =
            PgPoolOptions::new().max_connections(8).acquire_timeout(Duration::from_secs(30)).connect_lazy_with(options);
        Ok(Self { url: with_database(server_url, &name), pool, name, server })
    }

    /// Another database as this one is now: what a backup would hold. Whoever is connected to this one is disconnected.
    ///
    /// # Errors
    /// What the server says.
    pub async fn copy(&self) -> Result<Self> {
        let name = format!("t_{}", uuid::Uuid::new_v4().simple());
        let mut connection = PgConnection::connect_with(&self.server).await.context("failed to reach PostgreSQL")?;
        execute(&mut connection, format!("alter database \"{}\" with allow_connections false", self.name)).await?;
        sqlx::query("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1")
            .bind(&self.name)
            .execute(&mut connection)
            .await?;
        let copied = execute(&mut connection, format!("create database \"{name}\" template \"{}\"", self.name)).await;
        execute(&mut connection, format!("alter database \"{}\" with allow_connections true", self.name)).await?;
        copied?;
        connection.close().await?;
        let pool = PgPoolOptions::new()
            .max_connections(8)
            .acquire_timeout(Duration::from_secs(30))
            .connect_lazy_with(self.server.clone().database(&name));
        let (server, _) = self.url.rsplit_once(&self.name).context("the database's URL names it")?;
        Ok(Self { url: format!("{server}{name}"), pool, name, server: self.server.clone() })
    }

    /// The database's name on the server.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        // A runtime of its own: the test's is busy running this very drop, or gone.
        let dropper = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                tokio::time::timeout(DROP_DEADLINE, async {
                    let mut connection = PgConnection::connect_with(&server).await?;
                    execute(&mut connection, format!("drop database if exists \"{name}\" with (force)")).await?;
                    anyhow::Ok(connection.close().await?)
                })
                .await?
            })
        });
        if let Ok(Err(error)) = dropper.join() {
            tell(&format!("failed to drop the database {}: {error:#}", self.name));
        }
    }
}

/// A template's key that changes with the migrations.
pub fn template_key(service: &str, migrator: &Migrator) -> String {
    // FNV-1a over the checksums, which are SHA-384 themselves: enough to tell templates of one server apart.
    let hash = migrator
        .iter()
        .flat_map(|migration| migration.checksum.iter())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{service}_{hash:016x}")
}

/// Makes the template unless it exists, under a lock of the server: also over processes it is made once.
async fn ensure_template<E: Into<anyhow::Error>>(
    connection: &mut PgConnection,
    server: &PgConnectOptions,
    template: &str,
    migrate: impl AsyncFnOnce(PgPool) -> Result<(), E>,
) -> Result<()> {
    if exists(connection, template).await? {
        return Ok(());
    }
    // Released with the connection too, should the test die here.
    sqlx::query("select pg_advisory_lock($1)").bind(TEMPLATE_LOCK).execute(&mut *connection).await?;
    let made = if exists(connection, template).await? {
        Ok(())
    } else {
        make_template(connection, server, template, migrate).await
    };
    sqlx::query("select pg_advisory_unlock($1)").bind(TEMPLATE_LOCK).execute(&mut *connection).await?;
    made.with_context(|| format!("failed to make {template}"))
}

/// Works on another name and renames at the end: a half-made template is never cloned.
async fn make_template<E: Into<anyhow::Error>>(
    connection: &mut PgConnection,
    server: &PgConnectOptions,
    template: &str,
    migrate: impl AsyncFnOnce(PgPool) -> Result<(), E>,
) -> Result<()> {
    let draft = "template_draft";
    execute(connection, format!("drop database if exists {draft} with (force)")).await?;
    execute(connection, format!("create database {draft}")).await?;
    let pool = PgPoolOptions::new().max_connections(2).connect_with(server.clone().database(draft)).await?;
    let migrated = migrate(pool.clone()).await.map_err(Into::into);
    pool.close().await;
    migrated.context("failed to migrate")?;
    // A template that nobody can connect to can always be cloned.
    execute(connection, format!("alter database {draft} with allow_connections false")).await?;
    execute(connection, format!("alter database {draft} rename to \"{template}\"")).await
}

async fn exists(connection: &mut PgConnection, database: &str) -> Result<bool> {
    let found = sqlx::query_scalar("select exists (select from pg_database where datname = $1)").bind(database);
    Ok(found.fetch_one(connection).await?)
}

/// Statements about databases take no parameters; every name here is made by this module or is a template's key.
async fn execute(connection: &mut PgConnection, statement: String) -> Result<()> {
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(connection).await?;
    Ok(())
}

fn with_database(server_url: &str, name: &str) -> String {
    let (base, query) = server_url.split_once('?').map_or((server_url, None), |(base, query)| (base, Some(query)));
    let server = base.rsplit_once('/').map_or(base, |(server, _)| server);
    query.map_or_else(|| format!("{server}/{name}"), |query| format!("{server}/{name}?{query}"))
}

#[expect(clippy::print_stderr, reason = "a test has no other voice in a destructor")]
fn tell(text: &str) {
    eprintln!("{text}");
}
