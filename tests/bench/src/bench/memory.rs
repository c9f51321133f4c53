//! Memory of the services when nothing happens.

use std::time::Duration;

use anyhow::Result;
use fiorino_world::World;

use crate::{
    machine,
    report::{Report, Row},
};

const SERVICES: [&str; 3] = ["tenant", "node-connector-1", "reporting"];
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
    report.add(Row {
        what: format!("memory {} s after the start, no calls", AFTER.as_secs()),
        figure: told.join(", "),
        limit: String::new(),
        cpu: String::new(),
    });
    Ok(())
}
