//! The table that people read.

use std::fmt::Write as _;

/// Figures as they come.
#[derive(Debug)]
pub(crate) struct Report {
    region: String,
    rows: Vec<Row>,
}

/// A line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    /// What was measured, and how.
    pub(crate) what: String,
    /// What it came to.
    pub(crate) figure: String,
    /// What the same machine gives at most for the same work, measured in the same run.
    pub(crate) limit: String,
    /// Who took the processors.
    pub(crate) cpu: String,
}

// === impl Report ===

impl Report {
    pub(crate) fn new(institutions: usize, notices: usize) -> Self {
        Self { region: format!("{institutions} institutions, {notices} notices"), rows: Vec::new() }
    }

    /// Adds a line, and shows it to whoever waits.
    pub(crate) fn add(&mut self, row: Row) {
        println!("  {}: {} (limit: {}; processors: {})", row.what, row.figure, row.limit, row.cpu);
        self.rows.push(row);
    }

    pub(crate) fn created_in_batches(&mut self, rate: f64, batch: usize, callers: usize) {
        self.add(Row {
            what: format!("positions over gRPC, {callers} callers with {batch} a call"),
            figure: format!("{rate:.0}/s"),
            limit: String::new(),
            cpu: String::new(),
        });
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = format!(
            "Loaded: {}.\n\n| what | figure | limit in the same run | processors, 100 % = one core |\n|---|---|---|---|\n",
            self.region
        );
        for Row { what, figure, limit, cpu } in &self.rows {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "| {what} | {figure} | {limit} | {cpu} |");
        }
        text
    }
}
