//! Positions created over gRPC, one a call.

use anyhow::{Context as _, Result};
use fiorino_proto::positions::v1::{CreatePositionRequest, positions_client::PositionsClient};
use fiorino_world::World;
use tonic::transport::Channel;

use super::{Run, measure};
use crate::{
    load::{Caller, Pace},
    region::{channel, position},
    report::{Limit, Report, Write},
};

const RATE: u64 = 4_000;
const SECONDS: u64 = 30;
const CALLERS: usize = 128;

struct Creator {
    client: PositionsClient<Channel>,
    institutions: std::sync::Arc<Vec<String>>,
}

pub(super) async fn run(world: &World, run: &Run<'_>, report: &mut Report) -> Result<()> {
    let client = PositionsClient::new(channel(world, "dev").await?);
    let institutions = std::sync::Arc::new(run.region.institutions.clone());
    let creators =
        (0..CALLERS).map(|_| Creator { client: client.clone(), institutions: institutions.clone() }).collect();
    let calls = run.calls(RATE, SECONDS) as u64;
    let measured = measure(world, creators, Pace::Open(RATE), calls, run.lasting(SECONDS)).await?;
    let what = format!("positions over gRPC, one a call, at {RATE}/s for {} s", run.lasting(SECONDS).as_secs());
    report.add(measured.row(what, Limit::Of(Write::Positions, None))?);
    Ok(())
}

impl Caller for Creator {
    async fn call(&mut self, index: u64) -> Result<()> {
        let at = usize::try_from(index)? % self.institutions.len();
        let institution = self.institutions[at].clone();
        let request = CreatePositionRequest { institution, position: Some(position(&format!("single-{index}"))) };
        let created = self.client.create_position(request).await?.into_inner();
        created.position.context("no position").map(drop)
    }
}
