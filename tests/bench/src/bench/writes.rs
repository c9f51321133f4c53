//! What PostgreSQL alone writes: the limit of everything that is committed before it is answered.

use anyhow::Result;
use fiorino_world::World;

use super::{
    drawn::{draw, drawn},
    notices_to_draw,
};
use crate::{
    limits,
    report::{Report, Write},
};

/// Rows of one statement, as many as a batch has under load.
const BATCH: usize = 32;
const CLIENTS: usize = 4;

const SCRIPTS: [(Write, &str, &str); 3] = [
    (Write::Activations, "tenant", include_str!("../../sql/activate.sql")),
    (Write::Receipts, "node-connector", include_str!("../../sql/inbox.sql")),
    (Write::Positions, "tenant", include_str!("../../sql/create.sql")),
];

pub(super) async fn run(world: &World, report: &mut Report) -> Result<()> {
    notices_to_draw(world).await?;
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("script.sql");
    for (write, service, script) in SCRIPTS {
        fs_err::write(&file, format!("{}\n{}", draw(BATCH), with_statements(script)?))?;
        let rows = limits::pgbench(world, service, &file, CLIENTS).await? * BATCH as f64;
        report.limit(write, format!("pgbench with the same rows, {BATCH} a transaction, {rows:.0}/s"));
    }
    Ok(())
}

/// The script with the statements of the product that it names.
fn with_statements(script: &str) -> Result<String> {
    let hold = drawn(fiorino_tenant::notices::HOLD_STATEMENT, BATCH)?;
    let read = drawn(fiorino_tenant::notices::VERIFY_STATEMENT, BATCH)?;
    Ok(script.replace("-- hold", &format!("{hold};")).replace("-- read", &format!("{read};")))
}
