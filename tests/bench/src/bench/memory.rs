//! Memory of the services when nothing happens.

use std::time::Duration;

use anyhow::Result;
use fiorino_world::World;

use crate::{
    machine,
    report::{Report, Row},
};

use super::SERVICES;

const AFTER: Duration = Duration::from_mins(1);

pub(super) async fn run(world: &mut World, report: &mut Report) -> Result<()> {
    for name in SERVICES {
        world.restart(name).await?;
    }
    tokio::time::sleep(AFTER).await;
    let mut told = Vec::new();
    for name in SERVICES {
        told.push(format!("{name} {} MiB", machine::memory(world.process(name)?.pid())?.0 / 1024));
    }
    report.add(Row::of(format!("memory {} s after the start, no calls", AFTER.as_secs()), told.join(", ")));
    Ok(())
}
