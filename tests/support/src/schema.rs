//! A schema that is ahead of the program on it.

use std::borrow::Cow;

use anyhow::Result;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, PgPool, SqlSafeStr as _};

/// Number of the first further migration.
pub const AHEAD: i64 = 9_000;

/// The tables of a service.
///
/// # Errors
/// When the database is away.
pub async fn tables(pool: &PgPool) -> Result<Vec<String>> {
    let tables = "select table_name::text from information_schema.tables
        where table_schema = 'public' and table_type = 'BASE TABLE' and table_name <> '_sqlx_migrations' order by table_name";
    Ok(sqlx::query_scalar(tables).fetch_all(pool).await?)
}

/// The migrations of a service, and one more for each of these tables, which adds a column. The program works on with them.
pub fn ahead(migrator: &Migrator, tables: &[String]) -> Migrator {
    let further = (AHEAD..).zip(tables).map(|(number, table)| {
        let sql = format!(
            "alter table \"{table}\" add column added_later text not null default 'later';
             insert into schema_version (version, compatible_from) values ({number}, 1)"
        );
        let sql = AssertSqlSafe(sql).into_sql_str();
        Migration::new(number, Cow::Owned(format!("{table} later")), MigrationType::Simple, sql, false)
    });
    Migrator { migrations: migrator.iter().cloned().chain(further).collect(), ..Migrator::DEFAULT }
}
