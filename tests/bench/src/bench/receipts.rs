//! paSendRTV2: taken in, applied, announced.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fiorino_kit::clock::Clock;
use fiorino_world::World;
use sqlx::{Connection as _, PgConnection};

use super::{Run, SERVICES, bare, node, over_http};
use crate::{
    load::Pace,
    machine,
    report::{Limit, Report, Row, Write},
    soap,
};

const OK: &str = "<outcome>OK</outcome>";
/// Longest wait until everything is applied.
const DRAIN_MAX: Duration = Duration::from_mins(5);
const SAMPLE: Duration = Duration::from_secs(1);

/// A burst and a long run: receipts per second, for how long.
const RUNS: [(u64, u64); 2] = [(4_000, 60), (2_500, 180)];

pub(super) async fn run(world: &mut World, run: &Run<'_>, report: &mut Report) -> Result<()> {
    let sample = soap::receipts(run.region.take(0..run.calls(RUNS[0].0, RUNS[0].1))?, "bare");
    let limit = Limit::Of(Write::Receipts, Some(bare(world, &sample).await?));
    drop(sample);
    let mut first = 0;
    for (rate, seconds) in RUNS {
        let (calls, lasting) = (run.calls(rate, seconds), run.lasting(seconds));
        let requests = soap::receipts(run.region.take(first..first + calls)?, &format!("{rate:08}"));
        first += calls;
        let lag = tokio::spawn(watch(url(world, "node-connector")?, lasting));
        let measured = over_http(world, node(world)?, &requests, OK, Pace::Open(rate), lasting).await?;
        let lag = lag.await.context("nobody watched the inbox")??;
        let drained = drained(&url(world, "node-connector")?).await?;
        let row = measured.row(format!("paSendRTV2 at {rate}/s for {} s", lasting.as_secs()), limit.clone())?;
        let figure = format!("{}; {lag}; drained {:.0} s after", row.figure, drained.as_secs_f64());
        report.add(Row { figure, ..row });
        report.add(Row::of("memory at most, under that load".into(), peaks(world)?));
    }
    Ok(())
}

/// The database of a service.
///
/// # Errors
/// When it has none.
pub(super) fn url(world: &World, service: &str) -> Result<String> {
    world.addresses().database_urls.get(service).cloned().with_context(|| format!("{service} has no database"))
}

async fn waiting(connection: &mut PgConnection) -> Result<i64> {
    Ok(sqlx::query_scalar(include_str!("../../sql/waiting.sql")).fetch_one(connection).await?)
}

/// How many receipts wait to be applied, second by second.
async fn watch(url: String, lasting: Duration) -> Result<String> {
    let mut connection = PgConnection::connect(&url).await?;
    let mut seen = Vec::new();
    for _ in 0..lasting.as_secs() {
        tokio::time::sleep(SAMPLE).await;
        seen.push(waiting(&mut connection).await?);
    }
    let most = seen.iter().copied().max().unwrap_or_default();
    let median = |part: &mut [i64]| {
        part.sort_unstable();
        part.get(part.len() / 2).copied().unwrap_or_default()
    };
    let half = seen.len() / 2;
    let (earlier, later) = seen.split_at_mut(half);
    Ok(format!(
        "to be applied: median {} in the first half, {} in the second, at most {most}",
        median(earlier),
        median(later)
    ))
}

/// How long it takes until nothing waits.
///
/// # Errors
/// When receipts still wait after five minutes.
pub(super) async fn drained(url: &str) -> Result<Duration> {
    let clock = Clock::system();
    let start = clock.monotonic();
    let mut connection = PgConnection::connect(url).await?;
    loop {
        let took = clock.monotonic().saturating_sub(start);
        if waiting(&mut connection).await? == 0 {
            return Ok(took);
        }
        ensure!(took < DRAIN_MAX, "receipts still wait after {took:?}");
        tokio::time::sleep(SAMPLE).await;
    }
}

fn peaks(world: &mut World) -> Result<String> {
    let mut told = Vec::new();
    for name in SERVICES {
        let pid = world.process(name)?.pid();
        told.push(format!("{name} {} MiB", machine::memory(pid)?.1 / 1024));
        machine::forget_peak(pid)?;
    }
    Ok(told.join(", "))
}
