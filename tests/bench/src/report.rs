//! The table that people read.

use std::{collections::BTreeMap, fmt::Write as _};

/// Figures as they come.
#[derive(Debug)]
pub(crate) struct Report {
    region: String,
    rows: Vec<Row>,
    writes: BTreeMap<Write, String>,
}

/// What PostgreSQL alone does with the same rows. It is measured last, for what it writes is long on its way to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Write {
    Activations,
    Receipts,
    Positions,
}

/// What the same machine gives at most for the same work, measured in the same run.
#[derive(Debug, Clone)]
pub(crate) enum Limit {
    /// Nothing to compare with.
    None,
    Told(String),
    /// The bare server's, and of that write once it is known.
    Of(Write, Option<String>),
}

/// A line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    /// What was measured, and how.
    pub(crate) what: String,
    /// What it came to.
    pub(crate) figure: String,
    pub(crate) limit: Limit,
    /// Who took the processors.
    pub(crate) cpu: String,
    /// Of a run at a fixed rate: when it was slow, and what was written.
    pub(crate) profile: Option<Profile>,
}

/// Where the tails of a run come from.
#[derive(Debug)]
pub(crate) struct Profile {
    /// The longest latencies by second.
    pub(crate) seconds: String,
    /// The write-ahead log.
    pub(crate) wal: String,
}

// === impl Row ===

impl Row {
    /// A figure with nothing beside it.
    pub(crate) const fn of(what: String, figure: String) -> Self {
        Self { what, figure, limit: Limit::None, cpu: String::new(), profile: None }
    }
}

// === impl Report ===

impl Report {
    pub(crate) fn new(institutions: usize, notices: usize) -> Self {
        Self {
            region: format!("{institutions} institutions, {notices} notices"),
            rows: Vec::new(),
            writes: BTreeMap::new(),
        }
    }

    /// Adds a line, and shows it to whoever waits.
    pub(crate) fn add(&mut self, row: Row) {
        println!("  {}: {}", row.what, row.figure);
        for line in
            [&row.cpu].into_iter().chain(row.profile.iter().flat_map(|profile| [&profile.seconds, &profile.wal]))
        {
            if !line.is_empty() {
                println!("      {line}");
            }
        }
        self.rows.push(row);
    }

    pub(crate) fn created_in_batches(&mut self, rate: f64, batch: usize, callers: usize) {
        let what = format!("positions over gRPC, {callers} callers with {batch} a call");
        self.add(Row { limit: Limit::Of(Write::Positions, None), ..Row::of(what, format!("{rate:.0}/s")) });
    }

    /// What PostgreSQL alone does, for the lines that wait for it.
    pub(crate) fn limit(&mut self, of: Write, figure: String) {
        println!("  limit: {figure}");
        self.writes.insert(of, figure);
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = format!(
            "Loaded: {}.\n\n| what | figure | limit in the same run | processors, 100 % = one core |\n|---|---|---|---|\n",
            self.region
        );
        // Writing to a string cannot fail.
        for row in &self.rows {
            let _ = writeln!(text, "| {} | {} | {} | {} |", row.what, row.figure, self.told(&row.limit), row.cpu);
        }
        text.push_str(
            "\nWhere the tails come from:\n\n| what | longest latency by second | write-ahead log |\n|---|---|---|\n",
        );
        for (what, Profile { seconds, wal }) in
            self.rows.iter().filter_map(|row| Some((&row.what, row.profile.as_ref()?)))
        {
            let _ = writeln!(text, "| {what} | {seconds} | {wal} |");
        }
        text
    }

    fn told(&self, limit: &Limit) -> String {
        match limit {
            Limit::None => String::new(),
            Limit::Told(told) => told.clone(),
            Limit::Of(write, bare) => {
                let known = self.writes.get(write).map_or("not measured", String::as_str);
                [Some(known), bare.as_deref()].into_iter().flatten().collect::<Vec<_>>().join("; ")
            }
        }
    }
}
