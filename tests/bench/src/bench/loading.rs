//! Debts of another system are loaded, with their numbers, while the node calls: does it notice?

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use fiorino_proto::positions::v1::{
    CreatePositionsRequest, NewPosition, create_outcome::Outcome as Created, positions_client::PositionsClient,
};
use fiorino_world::World;
use tonic::transport::Channel;

use super::{CONNECTIONS, Run, node, receipts};
use crate::{
    http::{Connection, Requests},
    load::{self, Caller, Outcome, Pace},
    region::{channel, position},
    report::{Limit, Report, Row},
    soap,
};

/// Numbers that are loaded, at 100 % of the duration.
const NUMBERS: usize = 1_000_000;
const CLIENTS: usize = 3;
/// The largest call: positions, and instalments of each.
const POSITIONS: usize = 1_000;
const INSTALMENTS: usize = 10;

/// Calls of the node per second: verify, get, receipts.
const RATES: [u64; 3] = [2_000, 500, 500];
/// Seconds after which somebody looks whether the load has ended.
const ROUND: u64 = 10;
/// Rounds without load, with which those under load are compared.
const BASELINE_ROUNDS: usize = 3;
/// p99 of verify under load is to stay below this many times that without.
const TARGET: f64 = 2.0;

const OK: &str = "<outcome>OK</outcome>";

/// Loads positions with numbers of another system, a large call after the other.
struct Loader {
    client: PositionsClient<Channel>,
    institutions: Arc<Vec<String>>,
}

/// What came of the node's calls: verify, get, receipts.
struct Node([Outcome; 3]);

pub(super) async fn run(world: &World, run: &Run<'_>, report: &mut Report) -> Result<()> {
    let mut round = 0;
    let mut quiet = Node::new()?;
    for _ in 0..BASELINE_ROUNDS {
        quiet.add(calls(world, run, round).await?)?;
        round += 1;
    }
    quiet.tell("nothing being loaded", report);
    let institutions = Arc::new(run.region.institutions.clone());
    let mut loaders = Vec::new();
    for _ in 0..CLIENTS {
        let client = PositionsClient::new(channel(world, "dev").await?);
        loaders.push(Loader { client, institutions: Arc::clone(&institutions) });
    }
    let numbers = NUMBERS * run.duration as usize / 100;
    let ended = Arc::new(AtomicBool::new(false));
    let end = Arc::clone(&ended);
    let load = tokio::spawn(async move {
        let calls = numbers.div_ceil(POSITIONS * INSTALMENTS) as u64;
        let loaded = load::run(loaders, Pace::Closed, calls, Duration::MAX / 4).await;
        end.store(true, Ordering::Release);
        loaded
    });
    let mut busy = Node::new()?;
    while !ended.load(Ordering::Acquire) {
        busy.add(calls(world, run, round).await?)?;
        round += 1;
    }
    let loaded = load.await.context("nobody loads")??.all_well("loading numbers of another system")?;
    let rate = loaded.rate() * (POSITIONS * INSTALMENTS) as f64;
    let figure = format!("{rate:.0}/s, a call at most {:.1} s", loaded.ms(100.0) / 1_000.0);
    report.add(Row::of(
        format!("{numbers} numbers of another system, {CLIENTS} clients, {POSITIONS} x {INSTALMENTS} a call"),
        figure,
    ));
    busy.tell(&format!("{CLIENTS} clients loading"), report);
    let times = busy.0[0].ms(99.0) / quiet.0[0].ms(99.0);
    report.add(Row::of(
        "p99 of paVerifyPaymentNotice while they load".into(),
        format!("{times:.1} times that without, to be below {TARGET}"),
    ));
    receipts::drained(&receipts::url(world, "node-connector")?).await.map(drop)
}

/// A round of the node's calls. None may fail.
async fn calls(world: &World, run: &Run<'_>, round: usize) -> Result<Node> {
    let [verify, get, receipts] = RATES.map(|rate| usize::try_from(rate * ROUND).unwrap_or(usize::MAX));
    // Nobody verifies or gets what a receipt pays.
    let paid = verify + get + receipts * round..verify + get + receipts * (round + 1);
    let requests = [
        soap::verify(run.region.take(0..verify)?),
        soap::get(run.region.take(verify..verify + get)?),
        soap::receipts(run.region.take(paid)?, &format!("load{round:04}")),
    ];
    let [verify, get, receipts] = requests;
    let (verify, get, receipts) = tokio::try_join!(
        at(world, &verify, RATES[0], "paVerifyPaymentNotice"),
        at(world, &get, RATES[1], "paGetPaymentV2"),
        at(world, &receipts, RATES[2], "paSendRTV2"),
    )?;
    Ok(Node([verify, get, receipts]))
}

async fn at(world: &World, requests: &Arc<Requests>, rate: u64, what: &str) -> Result<Outcome> {
    let connections = Connection::open(node(world)?, CONNECTIONS / RATES.len(), requests, 0, OK).await?;
    load::run(connections, Pace::Open(rate), requests.len(), Duration::from_secs(ROUND)).await?.all_well(what)
}

/// A debt in ten instalments, whose numbers another system has issued.
fn begun_elsewhere(call: u64, place: usize) -> Result<NewPosition> {
    let mut new = position(&format!("elsewhere-{call}-{place}"));
    let option = new.options.first_mut().context("no option")?;
    let instalment = option.instalments.first().context("no instalment")?.clone();
    let first = (usize::try_from(call)? * POSITIONS + place) * INSTALMENTS;
    option.instalments = (first..first + INSTALMENTS)
        .map(|number| {
            let mut one = instalment.clone();
            one.notice_number = format!("312{number:015}");
            one
        })
        .collect();
    Ok(new)
}

impl Caller for Loader {
    async fn call(&mut self, index: u64) -> Result<()> {
        let at = usize::try_from(index)? % self.institutions.len();
        let positions = (0..POSITIONS).map(|place| begun_elsewhere(index, place)).collect::<Result<_>>()?;
        let request = CreatePositionsRequest { institution: self.institutions[at].clone(), positions };
        let outcomes = self.client.create_positions(request).await?.into_inner().outcomes;
        let created = outcomes.iter().filter(|one| matches!(one.outcome, Some(Created::Created(_)))).count();
        ensure!(created == POSITIONS, "{created} of {POSITIONS} created");
        Ok(())
    }
}

// === impl Node ===

impl Node {
    fn new() -> Result<Self> {
        Ok(Self([Outcome::new()?, Outcome::new()?, Outcome::new()?]))
    }

    fn add(&mut self, round: Self) -> Result<()> {
        for (all, one) in self.0.iter_mut().zip(round.0) {
            all.took += one.took;
            all.add(one)?;
        }
        Ok(())
    }

    fn tell(&self, when: &str, report: &mut Report) {
        for (outcome, what) in self.0.iter().zip(["paVerifyPaymentNotice", "paGetPaymentV2", "paSendRTV2"]) {
            let figure = format!(
                "{:.0}/s, p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms",
                outcome.rate(),
                outcome.ms(50.0),
                outcome.ms(99.0),
                outcome.ms(99.9)
            );
            report.add(Row { limit: Limit::None, ..Row::of(format!("{what}, {when}"), figure) });
        }
    }
}
