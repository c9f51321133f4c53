//! paVerifyPaymentNotice: at rest, at the target's rate, and as fast as it goes.

use anyhow::{Context as _, Result};
use fiorino_world::World;

use super::{Run, bare, figures, node, notices_to_draw, over_http};
use crate::{
    limits,
    load::Pace,
    report::{Report, Row},
    soap,
};

const RATE: u64 = 12_000;
const SECONDS: u64 = 30;
const OK: &str = "<outcome>OK</outcome>";
/// Notices of one statement of the limit.
const BATCH: usize = 64;

pub(super) async fn run(world: &World, run: &Run<'_>, report: &mut Report) -> Result<()> {
    let limits = limits(world, run).await?;
    let address = node(world)?;
    let calls = run.calls(RATE, SECONDS);
    let quiet = soap::verify(run.region.take(0..run.calls(100, 10))?);
    let measured = over_http(world, address, &quiet, OK, Pace::Open(100), run.lasting(10)).await?;
    let outcome = measured.outcome.all_well("verify")?;
    report.add(Row {
        what: "paVerifyPaymentNotice at 100/s".into(),
        figure: figures(&outcome),
        limit: String::new(),
        cpu: measured.cpu,
    });
    let requests = soap::verify(run.region.take(0..calls)?);
    let measured = over_http(world, address, &requests, OK, Pace::Open(RATE), run.lasting(SECONDS)).await?;
    let outcome = measured.outcome.all_well("verify")?;
    let what = format!("paVerifyPaymentNotice at {RATE}/s for {} s", run.lasting(SECONDS).as_secs());
    report.add(Row { what, figure: figures(&outcome), limit: limits.clone(), cpu: measured.cpu });
    let measured = over_http(world, address, &requests, OK, Pace::Closed, run.lasting(10)).await?;
    let outcome = measured.outcome.all_well("verify")?;
    let what = format!("paVerifyPaymentNotice, {} callers without pause", super::CONNECTIONS);
    report.add(Row { what, figure: figures(&outcome), limit: limits, cpu: measured.cpu });
    Ok(())
}

async fn limits(world: &World, run: &Run<'_>) -> Result<String> {
    notices_to_draw(world).await?;
    let dir = tempfile::tempdir()?;
    let (one, many) = (dir.path().join("one.sql"), dir.path().join("many.sql"));
    fs_err::write(&one, statement(1)?)?;
    fs_err::write(&many, statement(BATCH)?)?;
    let singly = limits::pgbench(world, "tenant", &one, 16).await?;
    let batched = limits::pgbench(world, "tenant", &many, 4).await? * BATCH as f64;
    let requests = soap::verify(run.region.take(0..200_000.min(run.calls(RATE, SECONDS)))?);
    let bare = bare(world, &requests).await?;
    Ok(format!(
        "pgbench with the same statement {singly:.0}/s one at a time, {batched:.0}/s with {BATCH} a statement; bare axum {bare:.0}/s"
    ))
}

/// The statement of the product with drawn notices instead of its parameters.
fn statement(batch: usize) -> Result<String> {
    let (given, columns) =
        ("unnest($2::text[], $3::text[], $4::text[]) with ordinality", "(fiscal_code, nav, station_id, place)");
    let drawn = format!(
        "(select institution, nav, '15376371009_01'::text, n from bench_notice where n between :a and :a + {})",
        batch - 1
    );
    let statement = fiorino_tenant::notices::VERIFY_STATEMENT;
    let _ = statement.find(given).zip(statement.find(columns)).context("the statement reads its notices otherwise")?;
    let statement = statement.replace(given, &drawn).replace("$1", "'Uat'").replace("$5", "current_date");
    Ok(format!("\\set a random(1, {})\n{statement};\n", 200_000 - batch))
}
