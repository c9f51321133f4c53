//! The product's own statements for pgbench: notices are drawn instead of given.

use anyhow::{Result, ensure};

use crate::region::STATION;

/// How notices are given to the statements, with or without the station.
const GIVEN: [&str; 2] =
    ["unnest($2::text[], $3::text[], $4::text[]) with ordinality", "unnest($2::text[], $3::text[])"];

/// The variable `a` of a script, so that `batch` notices from it on can be drawn.
pub(super) fn draw(batch: usize) -> String {
    format!("\\set a random(1, {})", 200_000 - batch)
}

/// The statement for `batch` notices from `:a` on.
///
/// # Errors
/// When the statement reads its notices otherwise.
pub(super) fn drawn(statement: &str, batch: usize) -> Result<String> {
    let with_station = format!("institution, nav, '{STATION}'::text, n");
    let columns = [with_station.as_str(), "institution, nav"];
    let mut text = statement.to_owned();
    for (given, columns) in GIVEN.into_iter().zip(columns) {
        let rows = format!("(select {columns} from bench_notice where n between :a and :a + {})", batch - 1);
        text = text.replace(given, &rows);
    }
    let text = text.replace("$1", "'Uat'").replace("$5", "current_date");
    ensure!(!text.contains('$'), "the statement reads its notices otherwise: {text}");
    Ok(text)
}
