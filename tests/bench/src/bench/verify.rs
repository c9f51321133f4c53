//! paVerifyPaymentNotice: at rest, at the target's rate, and as fast as it goes.

use anyhow::Result;
use fiorino_world::World;

use super::{
    Run, bare,
    drawn::{draw, drawn},
    node, notices_to_draw, over_http,
};
use crate::{
    limits,
    load::Pace,
    report::{Limit, Report},
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
    report.add(measured.row("paVerifyPaymentNotice at 100/s".into(), Limit::None)?);
    let requests = soap::verify(run.region.take(0..calls)?);
    let measured = over_http(world, address, &requests, OK, Pace::Open(RATE), run.lasting(SECONDS)).await?;
    let what = format!("paVerifyPaymentNotice at {RATE}/s for {} s", run.lasting(SECONDS).as_secs());
    report.add(measured.row(what, limits.clone())?);
    let measured = over_http(world, address, &requests, OK, Pace::Closed, run.lasting(10)).await?;
    let what = format!("paVerifyPaymentNotice, {} callers without pause", super::CONNECTIONS);
    report.add(measured.row(what, limits)?);
    Ok(())
}

async fn limits(world: &World, run: &Run<'_>) -> Result<Limit> {
    notices_to_draw(world).await?;
    let dir = tempfile::tempdir()?;
    let (one, many) = (dir.path().join("one.sql"), dir.path().join("many.sql"));
    for (file, batch) in [(&one, 1), (&many, BATCH)] {
        let statement = drawn(fiorino_tenant::notices::VERIFY_STATEMENT, batch)?;
        fs_err::write(file, format!("{}\n{statement};\n", draw(batch)))?;
    }
    let singly = limits::pgbench(world, "tenant", &one, 16).await?;
    let batched = limits::pgbench(world, "tenant", &many, 4).await? * BATCH as f64;
    let requests = soap::verify(run.region.take(0..200_000.min(run.calls(RATE, SECONDS)))?);
    let bare = bare(world, &requests).await?;
    Ok(Limit::Told(format!(
        "pgbench with the same statement {singly:.0}/s one at a time, {batched:.0}/s with {BATCH} a statement; {bare}"
    )))
}
