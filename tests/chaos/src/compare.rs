//! In the end: what the node was answered, what is in the inbox, what was applied and what is reported are the same, each once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fiorino_e2e::town::Town;
use fiorino_proto::{positions::v1::InstalmentState, receipts::v1::ApplyOutcome};
use fiorino_rig::eventually;
use sqlx::{Connection as _, PgConnection};

use crate::ledger::Ledger;

/// For what is under way to arrive, once nothing is broken any more: deferred rows are tried again within this time.
const ARRIVAL: Duration = Duration::from_mins(1);

/// Receipts by id, with what is worth knowing of each row.
type Rows = Vec<(String, String)>;

/// Waits until everything that was answered has arrived, and fails for whatever is missing, too much or twice.
///
/// # Errors
/// The difference.
pub async fn equal(town: &Town, ledger: &Ledger) -> Result<()> {
    eventually(ARRIVAL, async || receipts(town, ledger).await).await?;
    let complaints = ledger.complaints();
    ensure!(complaints.is_empty(), "{} broken promises:\n{}", complaints.len(), complaints.join("\n"));
    Ok(())
}

/// Each debt that was made is there once.
///
/// # Errors
/// The difference.
pub async fn debts(town: &Town, made: usize) -> Result<()> {
    let mut tenant = connect(town, "tenant").await?;
    let notices: i64 = sqlx::query_scalar(
        "select count(*) from notice join institution using (institution_id) where fiscal_code = $1",
    )
    .bind(&town.names.fiscal_code)
    .fetch_one(&mut tenant)
    .await?;
    ensure!(usize::try_from(notices)? == made, "{notices} notices for {made} debts");
    Ok(())
}

/// How often configuration was changed.
///
/// # Errors
/// When tenant's database cannot be looked into.
pub async fn config_seq(town: &Town) -> Result<i64> {
    let mut tenant = connect(town, "tenant").await?;
    Ok(sqlx::query_scalar("select config_seq from config_head").fetch_one(&mut tenant).await?)
}

async fn receipts(town: &Town, ledger: &Ledger) -> Result<()> {
    let sent = ledger.sent();
    let all: BTreeSet<&String> = sent.keys().collect();
    let answered = ledger.receipts_answered();
    ensure!(
        answered.iter().collect::<BTreeSet<_>>() == all,
        "{} of {} receipts were answered",
        answered.len(),
        all.len()
    );

    let inbox = rows(town, "node-connector", "select receipt_id, state from receipt_inbox where id_pa = $1").await?;
    each_once("the inbox", &all, &inbox)?;
    let waiting: Vec<_> = inbox.iter().filter(|(_, state)| state != "applied").collect();
    ensure!(waiting.is_empty(), "not marked as applied in the inbox: {waiting:?}");

    let applied = rows(
        town,
        "tenant",
        "select receipt_id, outcome::text from receipt join institution using (institution_id) where fiscal_code = $1",
    )
    .await?;
    each_once("tenant", &all, &applied)?;
    paid_once(town, &sent, &applied).await?;

    let reported =
        rows(town, "reporting", "select receipt_id, notice_number from payment where institution = $1").await?;
    each_once("reporting", &all, &reported)?;
    for (receipt_id, notice_number) in &reported {
        ensure!(sent.get(receipt_id) == Some(notice_number), "{receipt_id} is reported for {notice_number}");
    }
    let left: i64 =
        sqlx::query_scalar("select count(*) from outbox").fetch_one(&mut connect(town, "tenant").await?).await?;
    ensure!(left == 0, "{left} events wait in the outbox");
    Ok(())
}

/// Of the receipts of a notice one pays it; whatever else was paid is a case.
async fn paid_once(town: &Town, sent: &BTreeMap<String, String>, applied: &Rows) -> Result<()> {
    let pays = (ApplyOutcome::Applied as i32).to_string();
    let mut payers = BTreeMap::<&String, Vec<&String>>::new();
    for (receipt_id, outcome) in applied {
        let notice_number = sent.get(receipt_id).context("a receipt that was never sent")?;
        let of_notice = payers.entry(notice_number).or_default();
        of_notice.extend((*outcome == pays).then_some(receipt_id));
    }
    let wrong: Vec<_> = payers.iter().filter(|(_, receipts)| receipts.len() != 1).collect();
    ensure!(wrong.is_empty(), "not paid by one receipt: {wrong:?}");
    let paid = rows(
        town,
        "tenant",
        &format!(
            "select nav, coalesce(receipt_id, '') from notice join institution using (institution_id)
             where fiscal_code = $1 and state = {}",
            InstalmentState::Paid as i32
        ),
    )
    .await?;
    let paid: BTreeMap<_, _> = paid.into_iter().collect();
    for (notice_number, receipts) in &payers {
        ensure!(paid.get(*notice_number) == receipts.first().copied(), "{notice_number} is not paid by {receipts:?}");
    }
    ensure!(paid.len() == payers.len(), "{} notices are paid, {} have receipts", paid.len(), payers.len());
    Ok(())
}

fn each_once(place: &str, expected: &BTreeSet<&String>, found: &Rows) -> Result<()> {
    let ids: BTreeSet<&String> = found.iter().map(|(id, _)| id).collect();
    let missing: Vec<_> = expected.difference(&ids).collect();
    let strange: Vec<_> = ids.difference(expected).collect();
    ensure!(missing.is_empty() && strange.is_empty(), "{place} lacks {missing:?} and has {strange:?} besides");
    ensure!(ids.len() == found.len(), "{place} has {} rows for {} receipts", found.len(), ids.len());
    Ok(())
}

async fn rows(town: &Town, service: &str, query: &str) -> Result<Rows> {
    let mut connection = connect(town, service).await?;
    let query = sqlx::query_as(sqlx::AssertSqlSafe(query)).bind(&town.names.fiscal_code);
    Ok(query.fetch_all(&mut connection).await?)
}

async fn connect(town: &Town, service: &str) -> Result<PgConnection> {
    let url = town.world.addresses().database_urls.get(service).context("no such database")?;
    PgConnection::connect(url).await.with_context(|| format!("failed to look into the database of {service}"))
}
