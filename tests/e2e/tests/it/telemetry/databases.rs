//! Databases that refuse.

use anyhow::Result;
use sqlx::{Connection as _, PgConnection};

use super::Town;

/// From now on a service's table takes no row that breaks `check`.
pub(super) async fn refuse(town: &Town, service: &str, table: &str, check: &str) -> Result<()> {
    let mut database = PgConnection::connect(&town.world.addresses().database_urls[service]).await?;
    let statement = format!("alter table {table} add constraint canary check {check} not valid");
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut database).await?;
    Ok(())
}

/// No account has a number any more.
pub(super) async fn withdraw_accounts(town: &Town) -> Result<()> {
    let mut database = PgConnection::connect(&town.world.addresses().database_urls["tenant"]).await?;
    sqlx::query("update account_number set withdrawn = true").execute(&mut database).await?;
    Ok(())
}

/// The node-connector stores no receipt that comes by the path that is returned.
pub(super) async fn refuse_receipts(town: &Town) -> Result<String> {
    refuse(town, "node-connector", "receipt_message", "(position('inbox' in path_station) = 0)").await?;
    Ok(format!("{}-inbox", town.names.station))
}
