//! A run: load, faults one after the other or two at a time, and the comparison.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result};
use fiorino_rig::Stopwatch;
use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use tokio::time::sleep;

use crate::compare;
use crate::fault::{self, Fault, Kind};
use crate::ledger::Figures;
use crate::stage::Stage;

/// Between two faults, in milliseconds: some faults meet what the one before has left.
const PAUSE_MS: std::ops::Range<u64> = 200..1_500;
/// Of so many faults one comes with another.
const TOGETHER: u32 = 4;

/// How long a run takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// Each kind of fault that the stage can have, once.
    EachKindOnce,
    /// So long, and each kind at least once.
    Lasting(Duration),
}

/// What happened.
#[derive(Debug)]
pub struct Report {
    /// The faults in their order.
    pub faults: Vec<Fault>,
    /// Debts made.
    pub debts: usize,
    /// Calls and answers.
    pub figures: Figures,
    /// From the first fault to the last answer.
    pub took: Duration,
}

/// Breaks what `seed` draws while people pay, mends everything, and compares.
///
/// # Errors
/// What was lost, came twice, came late, or does not come back.
pub async fn run(stage: &mut Stage, seed: u64, length: Length, tell: impl Fn(&str)) -> Result<Report> {
    let begun = Stopwatch::start();
    let mut random = fault::random(seed);
    let before = compare::notices(stage).await?;
    let load = stage.load().await?;
    let faults = faults(stage, &mut random, length, begun, &tell).await?;
    tell("everything is mended");
    stage.reconfigure().await?;
    let debts = load.finish().await?;
    compare::equal(stage).await?;
    compare::debts(stage, &before, &debts).await?;
    Ok(Report { faults, debts: debts.values().sum(), figures: stage.ledger.figures(), took: begun.elapsed() })
}

async fn faults(
    stage: &mut Stage,
    random: &mut StdRng,
    length: Length,
    begun: Stopwatch,
    tell: &impl Fn(&str),
) -> Result<Vec<Fault>> {
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| kind.possible(stage)).collect();
    let mut first = kinds.clone();
    first.shuffle(random);
    let mut first = VecDeque::from(first);
    let mut all = Vec::new();
    loop {
        let Some(kind) = first.pop_front().or_else(|| match length {
            Length::Lasting(time) if begun.elapsed() < time => kinds.choose(random).copied(),
            Length::Lasting(_) | Length::EachKindOnce => None,
        }) else {
            return Ok(all);
        };
        let mut together = vec![Fault::draw(kind, stage, random)];
        if length != Length::EachKindOnce && random.random_range(0..TOGETHER) == 0 {
            let second = Fault::draw(*kinds.choose(random).context("there are kinds")?, stage, random);
            together.extend((!second.collides(&together[0])).then_some(second));
        }
        for fault in &together {
            tell(&format!("{:>7} ms  {fault}", begun.elapsed().as_millis()));
            fault.inject(stage).await.with_context(|| format!("failed to {fault}"))?;
        }
        sleep(together.iter().map(|fault| fault.lasts).max().unwrap_or_default()).await;
        together.sort_by_key(Fault::comes_back);
        for fault in &together {
            fault.mend(stage).await.with_context(|| format!("failed to mend: {fault}"))?;
        }
        stage.revive_operator()?;
        all.extend(together);
        sleep(Duration::from_millis(random.random_range(PAUSE_MS))).await;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { receipts, duplicates, later, notices, system_errors, pages, pages_later, unanswered, .. } =
            self.figures;
        writeln!(f, "time                       {} s", self.took.as_secs())?;
        writeln!(f, "faults                     {}", self.faults.len())?;
        for kind in Kind::ALL {
            let count = self.faults.iter().filter(|fault| fault.kind == kind).count();
            writeln!(f, "  {:<24} {count}", format!("{kind:?}"))?;
        }
        writeln!(f, "debts made                 {}", self.debts)?;
        writeln!(f, "receipts answered          {receipts}")?;
        writeln!(f, "  of these as duplicates   {duplicates}")?;
        writeln!(f, "receipts told to come back {later}")?;
        writeln!(f, "verify and get answered    {notices}")?;
        writeln!(f, "  of these PAA_SYSTEM_ERROR {system_errors}")?;
        writeln!(f, "pages of the portal        {pages}")?;
        writeln!(f, "  of these 503             {pages_later}")?;
        writeln!(f, "calls without an answer    {unanswered}")?;
        writeln!(f, "slowest verify or get      {} ms", self.figures.slowest_notice_ms)?;
        writeln!(f, "slowest receipt            {} ms", self.figures.slowest_receipt_ms)?;
        write!(f, "slowest page               {} ms", self.figures.slowest_page_ms)
    }
}
