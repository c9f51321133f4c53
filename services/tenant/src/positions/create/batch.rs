//! A batch on its way: the first item of each reference, the outcome of each item, and the answer to its repetitions.

use std::collections::{HashMap, HashSet};

use super::{Created, Item, Mode};
use crate::{Error, Result, Violation};

/// A batch on its way: an outcome per item as soon as it is decided.
pub(super) struct Batch<'a> {
    pub(super) items: &'a [Item],
    pub(super) outcomes: Vec<Option<Result<Created>>>,
}

pub(super) fn reference_taken(path: &str) -> Error {
    let message = "was used for another request; send that one again unchanged, or choose a new reference";
    Error::AlreadyExists(Violation::new(format!("{path}.client_reference"), message))
}

/// The refusal of an equal item; its fields are named under `path`.
fn same_refusal(error: &Error, leader: &str, path: &str) -> Error {
    let here = |violation: &Violation| {
        let rest = violation.field.strip_prefix(leader);
        let field = rest.map_or_else(|| violation.field.clone(), |rest| format!("{path}{rest}"));
        Violation { field, message: violation.message.clone() }
    };
    match error {
        Error::Invalid(violations) => Error::Invalid(violations.iter().map(here).collect()),
        Error::Precondition(violations) => Error::Precondition(violations.iter().map(here).collect()),
        Error::AlreadyExists(violation) => Error::AlreadyExists(here(violation)),
        Error::NotFound { field, message } => Error::NotFound { field, message: message.clone() },
        Error::Restored => Error::Restored,
        Error::Superseded(_) | Error::Overloaded | Error::Backlog { .. } | Error::Interrupted | Error::Store { .. } => {
            Error::Interrupted
        }
    }
}

// === impl Batch ===

impl<'a> Batch<'a> {
    pub(super) fn new(items: &'a [Item]) -> Self {
        Self { items, outcomes: items.iter().map(|_| None).collect() }
    }

    /// The first item of each reference: the others are answered by what becomes of it.
    pub(super) fn leaders(&self) -> Vec<usize> {
        let mut seen = HashSet::new();
        (0..self.items.len()).filter(|place| seen.insert(self.items[*place].identity())).collect()
    }

    /// Refuses an item, if this is sure: what a hopeful round believes may be out of date.
    pub(super) fn refuse(&mut self, place: usize, error: Error, mode: Mode) {
        if mode == Mode::Careful {
            self.outcomes[place] = Some(Err(error));
        }
    }

    pub(super) fn settle_followers(&mut self) {
        let mut leaders = HashMap::new();
        for (place, item) in self.items.iter().enumerate() {
            let leader = *leaders.entry(item.identity()).or_insert(place);
            if leader != place {
                self.outcomes[place] = Some(self.as_its_leader(item, leader));
            }
        }
    }

    fn as_its_leader(&self, item: &Item, leader: usize) -> Result<Created> {
        match &self.outcomes[leader] {
            None => Err(Error::Interrupted),
            Some(_) if self.items[leader].draft.hash != item.draft.hash => Err(reference_taken(&item.path)),
            Some(Ok(created)) => Ok(Created::Replayed(created.replayed())),
            Some(Err(error)) => Err(same_refusal(error, &self.items[leader].path, &item.path)),
        }
    }
}
