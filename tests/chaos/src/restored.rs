//! Tenant's database goes back in time: a base backup, the archived log, a moment; everything else has lived on (docs/backup.md).
//!
//! What was acknowledged after the moment and stands in tenant's database alone is lost: debts. Receipts are not, no number is given out
//! twice, and nothing that was paid can be paid again.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use fiorino_e2e::town::{Names, PATIENCE};
use fiorino_rig::servers::{Mode, Postgres};
use fiorino_rig::{Process, Spec, eventually, postgres_bin};
use sqlx::PgPool;

use crate::compare;
use crate::debts::Debts;
use crate::institution::Institution;
use crate::node::{Node, Receipt, Told};
use crate::run::{Length, run};
use crate::stage::{Own, Stage};

/// Debts of one call.
const BATCH: usize = 1_000;

/// Between two receipts while the replicas still have the institution: tenant's changes reach them within seconds.
const LOOK: Duration = Duration::from_secs(1);

/// Payments of the institution that came after the backup which are under way when the database goes back.
const UNDER_WAY: usize = 20;

/// An institution that is onboarded after the backup.
fn late(names: &Names) -> Institution {
    let names = Names { iban: "IT66A0306909606100000012345".to_owned(), ..names.neighbour("23") };
    Institution { names, legal_name: "Comune di Montefiorino", cents: 4_210, shown: "42,10\u{a0}€" }
}

/// Backs tenant's database up, makes so many debts, lets people pay while each kind of fault comes once if there is a seed to draw them
/// by, puts the database back, does what docs/backup.md asks a person to do, and compares.
///
/// # Errors
/// A number that came twice, what can be paid again, a receipt that is lost.
pub async fn goes_back(count: usize, seed: Option<u64>, tell: impl Fn(&str)) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let bin = postgres_bin().context("PostgreSQL is not installed")?;
    let open = std::fs::Permissions::from_mode(0o711);
    fs::set_permissions(dir.path(), open)?;
    let mut postgres = Postgres::start(&bin, dir.path().join("postgres"), Mode::Archived).await?;
    let mut onboarded = None;
    let mut stage = Box::pin(Stage::with(Own::default(), |mut options, names| {
        options.database_servers.insert("tenant".to_owned(), postgres.url());
        let institution = onboarded.insert(late(names));
        options.watching(&institution.names.namespace)
    }))
    .await?;
    let onboarded = onboarded.context("the town has no names")?;
    let debts = Debts::of(&stage.town)?;
    let mut given = HashSet::new();

    let before = create(&debts, stage.node.institution(), "before", BATCH, &mut given).await?;
    let backup = postgres.back_up("base").await?;
    create(&debts, stage.node.institution(), "logged", BATCH, &mut given).await?;
    postgres.mark("moment").await?;

    for (node, part) in stage.nodes.iter().zip([2, 4, 4]) {
        create(&debts, node.institution(), "lost", count / part, &mut given).await?;
    }
    if let Some(seed) = seed {
        let report = Box::pin(run(&mut stage, seed, Length::EachKindOnce, &tell)).await?;
        tell(&report.to_string());
        given.extend(compare::notices(&stage).await?);
    }
    let paid = &before[0];
    let payment = stage.node.activate(paid).await.context("it is payable")?;
    stage.node.deliver(&stage.node.receipt(paid, &payment)).await;
    until_paid(&stage.node, paid).await?;
    let (node, receipts) = onboard(&stage, &debts, onboarded, &mut given).await?;
    node.deliver(&receipts[0]).await;

    tell("tenant's database goes back");
    stage.town.world.process("operator")?.kill()?;
    postgres.go_back(&backup, "moment").await?;

    // The receipt of before comes again by itself; until then the notice is not answered as payable.
    stays_paid(&stage.node, paid).await?;
    until_not_yet_known(&node, &receipts[1..]).await?;
    until_refused(&debts, stage.node.institution()).await?;

    stage.town.world.restart("operator").await?;
    restore_check(&stage, dir.path()).await?;

    for receipt in &receipts {
        node.deliver(receipt).await;
    }
    tell("restore-check is done: debts are made again");
    for institution in stage.nodes.iter().map(|node| node.institution()).chain([node.institution()]) {
        // Who keeps the debts asks for those again that were lost.
        create(&debts, institution, "lost", BATCH, &mut given).await?;
        create(&debts, institution, "after", 2 * BATCH, &mut given).await?;
    }
    until_applied(&stage, node.institution(), receipts.len()).await?;
    eventually(PATIENCE, async || compare::kept(&stage).await.map(drop)).await?;
    nothing_paid_is_payable(&stage).await?;
    stays_paid(&stage.node, paid).await?;
    let complaints = stage.ledger.complaints();
    ensure!(complaints.is_empty(), "{complaints:?}");
    Ok(())
}

/// Until a new debt is refused with the remedy; before, connections to the database of before break. It is never made.
async fn until_refused(debts: &Debts, institution: &Institution) -> Result<()> {
    eventually(PATIENCE, async || match debts.attempt(institution, &["early".to_owned()]).await {
        Ok(numbers) => Ok(Err(anyhow!("a number was issued: {numbers:?}"))),
        Err(error) if format!("{error:#}").contains("restore-check") => Ok(Ok(())),
        Err(error) => Err(error),
    })
    .await?
}

/// Makes debts; no number may have been given before.
async fn create(
    debts: &Debts,
    institution: &Institution,
    name: &str,
    count: usize,
    given: &mut HashSet<(String, String)>,
) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for batch in 0..count.div_ceil(BATCH) {
        let references: Vec<_> = (0..BATCH.min(count)).map(|at| format!("{name}-{batch}-{at}")).collect();
        let numbers = debts.create(institution, &references).await?;
        for number in &numbers {
            let new = given.insert((institution.names.fiscal_code.clone(), number.clone()));
            ensure!(new, "a number came twice: {name}-{batch}");
        }
        all.extend(numbers);
    }
    Ok(all)
}

/// Applies the manifest of an institution, and begins to pay some of its debts.
async fn onboard(
    stage: &Stage,
    debts: &Debts,
    institution: Institution,
    given: &mut HashSet<(String, String)>,
) -> Result<(Node, Vec<Receipt>)> {
    let manifest = institution.names.town_manifest(stage.town.platform(), institution.legal_name);
    stage.town.apply(&manifest).await?;
    stage.town.condition_in(&institution.names.namespace, "Ready", "True").await;
    let node = Node::new(&stage.town.world.addresses().node_urls, institution, Arc::clone(&stage.ledger))?;
    let numbers = create(debts, node.institution(), "onboarded", BATCH, given).await?;
    let mut receipts = Vec::new();
    for number in &numbers[..UNDER_WAY] {
        let payment = node.activate(number).await.context("it is payable")?;
        receipts.push(node.receipt(number, &payment));
    }
    Ok((node, receipts))
}

/// Until the node is answered that it is paid. Before its receipt is applied for the first time it is payable.
async fn until_paid(node: &Node, number: &str) -> Result<()> {
    eventually(PATIENCE, async || match node.verify(node.any(), number).await {
        Told::Ko(code) if code == "PAA_PAGAMENTO_DUPLICATO" => Ok(()),
        other => Err(anyhow!("{other:?}")),
    })
    .await
}

/// What was paid is never answered as payable again.
async fn stays_paid(node: &Node, number: &str) -> Result<()> {
    let payable = eventually(PATIENCE, async || match node.verify(node.any(), number).await {
        Told::Ko(code) if code == "PAA_PAGAMENTO_DUPLICATO" => Ok(false),
        Told::Ok(_) => Ok(true),
        other => Err(anyhow!("{other:?}")),
    });
    ensure!(!payable.await?, "what was paid can be paid again");
    Ok(())
}

/// No notice of which the node sent a receipt can be paid again, whether its debt is still there or lost.
async fn nothing_paid_is_payable(stage: &Stage) -> Result<()> {
    for (_, sent) in stage.ledger.sent() {
        let Some(node) = stage.nodes.iter().find(|node| node.institution().names.fiscal_code == sent.issuer) else {
            continue;
        };
        let payable = eventually(PATIENCE, async || match node.verify(node.any(), &sent.notice_number).await {
            Told::Ok(_) => Ok(true),
            Told::Ko(code) if code != "PAA_SYSTEM_ERROR" => Ok(false),
            other => Err(anyhow!("{other:?}")),
        });
        ensure!(!payable.await?, "{} of {} was paid and is payable again", sent.notice_number, sent.issuer);
    }
    Ok(())
}

/// Receipts of an institution that tenant has forgotten are taken in, or answered 503; never refused.
async fn until_not_yet_known(node: &Node, receipts: &[Receipt]) -> Result<()> {
    for receipt in receipts {
        // While the replica's own view still has the institution, a receipt is taken in; it waits then.
        let told = eventually(PATIENCE, async || match node.send(node.any(), receipt).await {
            told @ (Told::Ok(_) | Told::Ko(_) | Told::Later) => Ok(told),
            other => Err(anyhow!("{other:?}")),
        });
        match told.await? {
            Told::Later => return Ok(()),
            Told::Ko(code) => bail!("a receipt of an institution that is not applied yet is KO {code}"),
            _ => tokio::time::sleep(LOOK).await,
        }
    }
    bail!("no receipt was answered 503: the replicas' views never lost the institution")
}

/// What a person does.
async fn restore_check(stage: &Stage, dir: &Path) -> Result<()> {
    let world = &stage.town.world;
    let (identity, addresses) = (world.mesh().identity("restore"), world.addresses());
    let spec = Spec::new(world.options().bin_dir.join("fiorino-tenant"), dir.join("restore-check.log"))
        .arg("restore-check")
        .flag("tenant-endpoints", &addresses.tenant_grpc)
        .flag("reporting-endpoints", &addresses.reporting_grpc)
        .flag("tls-cert", identity.cert.display())
        .flag("tls-key", identity.key.display())
        .flag("tls-ca", identity.ca.display());
    Process::spawn(&spec)?.finish(PATIENCE).await
}

/// Receipts whose debts are lost are kept all the same.
async fn until_applied(stage: &Stage, institution: &Institution, count: usize) -> Result<()> {
    let pool = PgPool::connect(&stage.town.world.addresses().database_urls["tenant"]).await?;
    eventually(PATIENCE, async || {
        let applied: i64 = sqlx::query_scalar(
            "select count(*) from receipt join institution using (institution_id) where fiscal_code = $1",
        )
        .bind(&institution.names.fiscal_code)
        .fetch_one(&pool)
        .await?;
        ensure!(usize::try_from(applied) == Ok(count), "{applied} of {count} receipts are applied");
        Ok(())
    })
    .await
}
