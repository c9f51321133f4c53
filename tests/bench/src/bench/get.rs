//! paGetPaymentV2: each answer with a committed activation.

use anyhow::Result;
use fiorino_world::World;

use super::{Run, bare, node, over_http};
use crate::{
    load::Pace,
    report::{Limit, Report, Write},
    soap,
};

const RATE: u64 = 6_000;
const SECONDS: u64 = 30;
const OK: &str = "<outcome>OK</outcome>";

pub(super) async fn run(world: &World, run: &Run<'_>, report: &mut Report) -> Result<()> {
    let calls = run.calls(RATE, SECONDS);
    let limit = Limit::Of(Write::Activations, Some(bare(world, &soap::get(run.region.take(0..calls)?)).await?));
    for (part, when) in ["first", "second"].into_iter().enumerate() {
        let requests = soap::get(run.region.take(calls * part..calls * (part + 1))?);
        let measured = over_http(world, node(world)?, &requests, OK, Pace::Open(RATE), run.lasting(SECONDS)).await?;
        let what =
            format!("paGetPaymentV2 at {RATE}/s for {} s, {when} {calls} attempts", run.lasting(SECONDS).as_secs());
        report.add(measured.row(what, limit.clone())?);
    }
    Ok(())
}
