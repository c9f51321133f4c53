//! paSendRTV2: taken in, applied, announced.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fiorino_kit::clock::Clock;
use fiorino_world::World;
use sqlx::{Connection as _, PgConnection};

use super::{Run, WRITES, figures, node, over_http};
use crate::{
    load::Pace,
    machine,
    report::{Report, Row},
    soap,
};

const OK: &str = "<outcome>OK</outcome>";
/// Longest wait until everything is applied.
const DRAIN_MAX: Duration = Duration::from_mins(5);
const SAMPLE: Duration = Duration::from_secs(1);

/// A burst and a long run: receipts per second, for how long.
const RUNS: [(u64, u64); 2] = [(4_000, 60), (2_500, 180)];

pub(super) async fn run(world: &World, run: &Run<'_>, report: &mut Report) -> Result<()> {
    let mut first = 0;
    for (rate, seconds) in RUNS {
        let calls = run.calls(rate, seconds);
        let requests = soap::receipts(run.region.take(first..first + calls)?, &format!("{rate:08}"));
        first += calls;
        let lag = tokio::spawn(watch(url(world, "node-connector")?, run.lasting(seconds)));
        let measured = over_http(world, node(world)?, &requests, OK, Pace::Open(rate), run.lasting(seconds)).await?;
        let outcome = measured.outcome.all_well("receipts")?;
        let lag = lag.await.context("nobody watched the inbox")??;
        let drained = drained(&url(world, "node-connector")?).await?;
        let peaks = peaks(world)?;
        report.add(Row {
            what: format!("paSendRTV2 at {rate}/s for {} s", run.lasting(seconds).as_secs()),
            figure: format!("{}; to be applied {lag}; drained {:.0} s after", figures(&outcome), drained.as_secs_f64()),
            limit: WRITES.into(),
            cpu: measured.cpu,
        });
        report.add(Row {
            what: "memory at most, under that load".into(),
            figure: peaks,
            limit: String::new(),
            cpu: String::new(),
        });
    }
    Ok(())
}

fn url(world: &World, service: &str) -> Result<String> {
    world.addresses().database_urls.get(service).cloned().with_context(|| format!("{service} has no database"))
}

async fn waiting(connection: &mut PgConnection) -> Result<i64> {
    Ok(sqlx::query_scalar(include_str!("../../sql/waiting.sql")).fetch_one(connection).await?)
}

/// How many receipts waited a third, two thirds, and all of the time on.
async fn watch(url: String, lasting: Duration) -> Result<String> {
    let mut connection = PgConnection::connect(&url).await?;
    let mut seen = Vec::new();
    for _ in 0..3 {
        tokio::time::sleep(lasting / 3).await;
        seen.push(waiting(&mut connection).await?.to_string());
    }
    Ok(seen.join(", "))
}

/// How long it takes until nothing waits.
async fn drained(url: &str) -> Result<Duration> {
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

fn peaks(world: &World) -> Result<String> {
    let services = ["tenant", "node-connector-1", "reporting"];
    let mut told = Vec::new();
    for (name, process) in world.processes().filter(|(name, _)| services.contains(name)) {
        told.push(format!("{name} {} MiB", machine::memory(process.pid())?.1 / 1024));
        machine::forget_peak(process.pid())?;
    }
    Ok(told.join(", "))
}
