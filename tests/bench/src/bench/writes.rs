//! What PostgreSQL alone writes: the limit of everything that is committed before it is answered.

use anyhow::Result;
use fiorino_world::World;

use super::{notices_to_draw, script};
use crate::{
    limits,
    report::{Report, Row},
};

/// Rows of one statement, as many as a batch has under load.
const BATCH: f64 = 32.0;
const CLIENTS: usize = 4;

/// What, database, script of pgbench.
const SCRIPTS: [(&str, &str, &str); 3] = [
    ("activations", "tenant", "activate.sql"),
    ("receipts in the inbox, with their messages", "node-connector", "inbox.sql"),
    ("positions, each with reference and notice", "tenant", "create.sql"),
];

pub(super) async fn run(world: &World, report: &mut Report) -> Result<()> {
    notices_to_draw(world).await?;
    for (what, service, name) in SCRIPTS {
        let rows = limits::pgbench(world, service, &script(name), CLIENTS).await? * BATCH;
        report.add(Row {
            what: format!("limit: {what}, by pgbench with {BATCH:.0} a statement"),
            figure: format!("{rows:.0}/s"),
            limit: String::new(),
            cpu: String::new(),
        });
    }
    Ok(())
}
