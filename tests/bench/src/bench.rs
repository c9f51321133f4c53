//! What is measured.

mod create;
mod drawn;
mod get;
mod loading;
mod memory;
pub(crate) mod onboarding;
mod receipts;
mod verify;
mod writes;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use fiorino_world::World;

use crate::{
    http::{Connection, Requests},
    limits,
    load::{self, Caller, Outcome, Pace},
    machine,
    region::Region,
    report::{Limit, Profile, Report, Row},
    wal::Wal,
};

/// Whose memory is told.
const SERVICES: [&str; 4] = ["tenant", "node-connector-1", "reporting", "front-office"];

/// Connections to the node-connector at the same time.
const CONNECTIONS: usize = 128;

/// A part of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Bench {
    /// From a manifest to Ready: one institution, and many at once
    Onboarding,
    /// Memory of the services at rest
    Memory,
    /// paVerifyPaymentNotice
    Verify,
    /// paGetPaymentV2 with its activation
    Get,
    /// paSendRTV2 until the debt is closed
    Receipts,
    /// Positions over gRPC, one a call
    Create,
    /// Numbers of another system loaded while the node calls; only when it is named
    Loading,
    /// What PostgreSQL alone writes
    Writes,
}

/// What the benches of the node share.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub(crate) region: &'a Region,
    /// Of the full duration, in per cent.
    pub(crate) duration: u32,
}

/// A run with what it took of the machine.
#[derive(Debug)]
struct Measured {
    outcome: Outcome,
    cpu: String,
    wal: String,
}

// === impl Bench ===

impl Bench {
    pub(crate) const ALL: [Self; 8] = [
        Self::Onboarding,
        Self::Memory,
        Self::Verify,
        Self::Get,
        Self::Receipts,
        Self::Create,
        Self::Loading,
        Self::Writes,
    ];

    /// What is measured when nothing is named.
    pub(crate) fn usual() -> Vec<Self> {
        Self::ALL.into_iter().filter(|bench| *bench != Self::Loading).collect()
    }

    /// Measures, on a loaded region with the operator stopped.
    ///
    /// # Errors
    /// When a call fails: figures of a system that answers wrongly say nothing.
    pub(crate) async fn run(self, world: &mut World, run: &Run<'_>, report: &mut Report) -> Result<()> {
        checkpoint(world).await?;
        match self {
            // Measured before the region was loaded: it needs the cluster.
            Self::Onboarding => Ok(()),
            Self::Memory => memory::run(world, report).await,
            Self::Verify => verify::run(world, run, report).await,
            Self::Get => get::run(world, run, report).await,
            Self::Receipts => receipts::run(world, run, report).await,
            Self::Create => create::run(world, run, report).await,
            Self::Loading => loading::run(world, run, report).await,
            Self::Writes => writes::run(world, report).await,
        }
    }
}

// === impl Run ===

impl Run<'_> {
    fn lasting(&self, seconds: u64) -> Duration {
        Duration::from_secs(seconds) * self.duration / 100
    }

    /// How many calls a rate makes in that time.
    fn calls(&self, rate: u64, seconds: u64) -> usize {
        usize::try_from(u128::from(rate) * self.lasting(seconds).as_millis() / 1_000).unwrap_or(usize::MAX)
    }
}

/// Runs prepared requests over kept connections.
async fn over_http(
    world: &World,
    address: SocketAddr,
    requests: &Arc<Requests>,
    expect: &'static str,
    pace: Pace,
    lasting: Duration,
) -> Result<Measured> {
    let connections = Connection::open(address, CONNECTIONS, requests, 0, expect).await?;
    measure(world, connections, pace, requests.len(), lasting).await
}

/// Runs callers, and reads what it takes of the machine.
async fn measure<C: Caller>(
    world: &World,
    callers: Vec<C>,
    pace: Pace,
    calls: u64,
    lasting: Duration,
) -> Result<Measured> {
    let mut connection = tenants_database(world).await?;
    let (cpu, wal) = (machine::cpu(world)?, Wal::read(&mut connection).await?);
    let outcome = load::run(callers, pace, calls, lasting).await?;
    let cpu = machine::shares(&cpu, &machine::cpu(world)?, outcome.took);
    let wal = Wal::read(&mut connection).await?.since(&wal, outcome.took);
    Ok(Measured { outcome, cpu, wal })
}

/// Where the node calls: the plain listener, as the figures of other systems were taken.
fn node(world: &World) -> Result<SocketAddr> {
    let url = world.addresses().node_urls.first().context("no node-connector")?;
    Ok(url.trim_start_matches("http://").parse()?)
}

/// What a server that does nothing gives to the same callers.
async fn bare(world: &World, requests: &Arc<Requests>) -> Result<String> {
    let (address, server) = limits::bare_server().await?;
    let measured = over_http(world, address, requests, "<outcome>", Pace::Closed, limits::LASTING).await?;
    server.abort();
    Ok(format!("bare axum {:.0}/s", measured.outcome.all_well("bare server")?.rate()))
}

// === impl Measured ===

impl Measured {
    /// A line of the table: rate, percentiles, and what it took. Fails unless every call was answered rightly.
    fn row(self, what: String, limit: Limit) -> Result<Row> {
        let Self { outcome, cpu, wal } = self;
        let outcome = outcome.all_well(&what)?;
        let figure = format!(
            "{:.0}/s, p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms",
            outcome.rate(),
            outcome.ms(50.0),
            outcome.ms(99.0),
            outcome.ms(99.9)
        );
        let profile = Some(Profile { seconds: outcome.by_second(), wal });
        Ok(Row { what, figure, limit, cpu, profile })
    }
}

/// What was loaded or measured before is on the disk.
async fn checkpoint(world: &World) -> Result<()> {
    sqlx::query("checkpoint").execute(&mut tenants_database(world).await?).await.map(drop).context("no checkpoint")
}

async fn tenants_database(world: &World) -> Result<sqlx::PgConnection> {
    use sqlx::Connection as _;
    let url = world.addresses().database_urls.get("tenant").context("tenant has no database")?;
    Ok(sqlx::PgConnection::connect(url).await?)
}

/// The notices' table that the scripts draw from, made once.
async fn notices_to_draw(world: &World) -> Result<()> {
    let mut connection = tenants_database(world).await?;
    let made: bool =
        sqlx::query_scalar("select to_regclass('bench_notice') is not null").fetch_one(&mut connection).await?;
    if !made {
        sqlx::raw_sql(include_str!("../sql/notices.sql")).execute(&mut connection).await?;
    }
    Ok(())
}
