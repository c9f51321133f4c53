//! In the end: what the node was answered, what is in the inbox, what was applied and what is reported are the same, each once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fiorino_e2e::town::Town;
use fiorino_proto::{positions::v1::InstalmentState, receipts::v1::ApplyOutcome};
use fiorino_rig::eventually;
use sqlx::{Connection as _, PgConnection};

use crate::ledger::{Key, Sent};
use crate::stage::Stage;

/// For what is under way to arrive, once nothing is broken any more: deferred rows are tried again within this time.
const ARRIVAL: Duration = Duration::from_mins(1);

/// Rows by institution and what is its own there, with what is worth knowing of each.
pub type Rows = Vec<(Key, String)>;

/// Waits until everything that was answered has arrived, and fails for whatever is missing, too much, twice or somebody else's.
///
/// # Errors
/// The difference.
pub async fn equal(stage: &Stage) -> Result<()> {
    eventually(ARRIVAL, async || {
        let (sent, applied) = kept(stage).await?;
        paid_once(stage, &sent, &applied).await
    })
    .await?;
    let complaints = stage.ledger.complaints();
    ensure!(complaints.is_empty(), "{} broken promises:\n{}", complaints.len(), complaints.join("\n"));
    Ok(())
}

/// Besides the notices of before, each debt that was made is there once, with its institution.
///
/// # Errors
/// The difference.
pub async fn debts(stage: &Stage, before: &[Key], made: &BTreeMap<String, usize>) -> Result<()> {
    let there = notices(stage).await?;
    let (found, mut expected) = (by_institution(&there), by_institution(before));
    for (institution, count) in made {
        *expected.entry(institution).or_default() += count;
    }
    ensure!(found == expected, "notices are {found:?} for debts {expected:?}");
    Ok(())
}

/// Every notice of the stage's institutions.
///
/// # Errors
/// When tenant's database cannot be looked into.
pub async fn notices(stage: &Stage) -> Result<Vec<Key>> {
    let notices = "select fiscal_code, nav, '' from notice join institution using (institution_id)
                   where fiscal_code = any($1)";
    Ok(rows(stage, "tenant", notices).await?.into_iter().map(|(key, _)| key).collect())
}

fn by_institution(notices: &[Key]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for (institution, _) in notices {
        *counts.entry(institution.as_str()).or_default() += 1;
    }
    counts
}

/// How often configuration was changed.
///
/// # Errors
/// When tenant's database cannot be looked into.
pub async fn config_seq(town: &Town) -> Result<i64> {
    let mut tenant = connect(town, "tenant").await?;
    Ok(sqlx::query_scalar("select config_seq from config_head").fetch_one(&mut tenant).await?)
}

/// Every receipt that the stage's institutions were sent is answered, in the inbox, applied and reported, each once; and with each that was
/// applied, its outcome.
///
/// # Errors
/// The difference.
pub async fn kept(stage: &Stage) -> Result<(BTreeMap<Key, Sent>, Rows)> {
    let own = |key: &Key| stage.nodes.iter().any(|node| node.institution().names.fiscal_code == key.0);
    let sent: BTreeMap<_, _> = stage.ledger.sent().into_iter().filter(|(key, _)| own(key)).collect();
    let waiting: Vec<_> = sent.iter().filter(|(_, sent)| !sent.is_answered()).map(|(key, _)| key).collect();
    ensure!(waiting.is_empty(), "{} of {} receipts were not answered: {waiting:?}", waiting.len(), sent.len());

    let inbox = "select id_pa, receipt_id, state from receipt_inbox where id_pa = any($1)";
    let inbox = rows(stage, "node-connector", inbox).await?;
    each_once("the inbox", &sent, &inbox)?;
    let waiting: Vec<_> = inbox.iter().filter(|(_, state)| state != "applied").collect();
    ensure!(waiting.is_empty(), "not marked as applied in the inbox: {waiting:?}");

    let applied = "select fiscal_code, receipt_id, outcome::text from receipt join institution using (institution_id)
                   where fiscal_code = any($1)";
    let applied = rows(stage, "tenant", applied).await?;
    each_once("tenant", &sent, &applied)?;

    let reported = "select institution, receipt_id, concat_ws(' ', issuer, notice_number, amount_cents) from payment
                    where institution = any($1)";
    let reported = rows(stage, "reporting", reported).await?;
    each_once("reporting", &sent, &reported)?;
    for (key, told) in &reported {
        let Sent { issuer, notice_number, cents, .. } = &sent[key];
        ensure!(*told == format!("{issuer} {notice_number} {cents}"), "{key:?} is reported as {told}");
    }
    let mut tenant = connect(&stage.town, "tenant").await?;
    let left: i64 = sqlx::query_scalar("select count(*) from outbox").fetch_one(&mut tenant).await?;
    ensure!(left == 0, "{left} events wait in the outbox");
    Ok((sent, applied))
}

/// Of the receipts of a notice that its issuer gets one pays it, and whatever else was paid is a case; shares pay no notice.
async fn paid_once(stage: &Stage, sent: &BTreeMap<Key, Sent>, applied: &Rows) -> Result<()> {
    let [pays, share] = [ApplyOutcome::Applied, ApplyOutcome::Beneficiary].map(|outcome| (outcome as i32).to_string());
    let mut payers = BTreeMap::<Key, Vec<&String>>::new();
    for (key, outcome) in applied {
        let Sent { issuer, notice_number, .. } = &sent[key];
        if *issuer == key.0 {
            let of_notice = payers.entry((issuer.clone(), notice_number.clone())).or_default();
            of_notice.extend((*outcome == pays).then_some(&key.1));
        } else {
            ensure!(*outcome == share, "{key:?} is a share, and has outcome {outcome}");
        }
    }
    let wrong: Vec<_> = payers.iter().filter(|(_, receipts)| receipts.len() != 1).collect();
    ensure!(wrong.is_empty(), "not paid by one receipt: {wrong:?}");
    let paid = format!(
        "select fiscal_code, nav, coalesce(receipt_id, '') from notice join institution using (institution_id)
         where fiscal_code = any($1) and state = {}",
        InstalmentState::Paid as i32
    );
    let paid: BTreeMap<_, _> = rows(stage, "tenant", &paid).await?.into_iter().collect();
    for (notice, receipts) in &payers {
        ensure!(paid.get(notice) == receipts.first().copied(), "{notice:?} is not paid by {receipts:?}");
    }
    ensure!(paid.len() == payers.len(), "{} notices are paid, {} have receipts", paid.len(), payers.len());
    Ok(())
}

fn each_once(place: &str, sent: &BTreeMap<Key, Sent>, found: &Rows) -> Result<()> {
    let (expected, keys): (BTreeSet<_>, BTreeSet<_>) =
        (sent.keys().collect(), found.iter().map(|(key, _)| key).collect());
    let missing: Vec<_> = expected.difference(&keys).collect();
    let strange: Vec<_> = keys.difference(&expected).collect();
    ensure!(missing.is_empty() && strange.is_empty(), "{place} lacks {missing:?} and has {strange:?} besides");
    ensure!(keys.len() == found.len(), "{place} has {} rows for {} receipts", found.len(), keys.len());
    Ok(())
}

/// Three columns of the rows of the stage's institutions.
async fn rows(stage: &Stage, service: &str, query: &str) -> Result<Rows> {
    let mut connection = connect(&stage.town, service).await?;
    let institutions: Vec<_> = stage.nodes.iter().map(|node| node.institution().names.fiscal_code.clone()).collect();
    let query = sqlx::query_as::<_, (String, String, String)>(sqlx::AssertSqlSafe(query)).bind(institutions);
    let rows = query.fetch_all(&mut connection).await?;
    Ok(rows.into_iter().map(|(institution, own, told)| ((institution, own), told)).collect())
}

async fn connect(town: &Town, service: &str) -> Result<PgConnection> {
    let url = town.world.addresses().database_urls.get(service).context("no such database")?;
    PgConnection::connect(url).await.with_context(|| format!("failed to look into the database of {service}"))
}
