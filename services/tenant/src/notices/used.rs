//! Numbers that an activation was answered with: nobody makes another number of them (configuration/rules/numbers.rs).

use std::{
    collections::{BTreeSet, HashSet},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use fiorino_domain::institution::InstitutionCode;
use fiorino_kit::store;
use sqlx::PgConnection;
use tracing::Instrument as _;

use super::activate::Record;
use crate::{Error, Result};

/// Marks that this process remembers; a full memory starts anew.
const KNOWN_MAX: usize = 50_000;

/// Whose number, and which.
type Number = (InstitutionCode, String);

/// Numbers that are marked as far as this process knows. A mark is never taken away, so that a number costs one statement for each
/// process, and not one for each activation.
#[derive(Default)]
pub(super) struct Used {
    known: Mutex<HashSet<Number>>,
}

/// What was marked.
#[derive(Default)]
pub(super) struct Marked {
    numbers: BTreeSet<Number>,
    /// Whose numbers were answered for the first time.
    pub(super) news: Vec<i32>,
}

// === impl Used ===

impl Used {
    /// Marks the numbers of the records, in their transaction.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when one of them has just become another number: what was read is to be read again.
    pub(super) async fn mark(&self, conn: &mut PgConnection, environment: &str, records: &[&Record]) -> Result<Marked> {
        let numbers: BTreeSet<Number> = {
            let known = self.known();
            records.iter().flat_map(|record| record.numbers()).filter(|number| !known.contains(number)).collect()
        };
        if numbers.is_empty() {
            return Ok(Marked::default());
        }
        let (found, news): (i64, Vec<i32>) = sqlx::query_as(
            "with held as (
                 select n.institution_id, n.account, n.valid_from, n.iban, n.used
                 from unnest($2::text[], $3::text[]) as answered (fiscal_code, iban)
                 join institution i on i.environment = $1 and i.fiscal_code = answered.fiscal_code
                 join account_number n on n.institution_id = i.institution_id and n.iban = answered.iban
                 order by n.institution_id, n.account, n.valid_from
                 for no key update of n),
             marked as (
                 update account_number n set used = true
                 from held
                 where (n.institution_id, n.account, n.valid_from) = (held.institution_id, held.account, held.valid_from)
                     and not held.used)
             select count(distinct institution_id || iban),
                 coalesce(array_agg(distinct institution_id) filter (where not used), '{}')
             from held",
        )
        .bind(environment)
        .bind(numbers.iter().map(|(code, _)| code.as_str()).collect::<Vec<_>>())
        .bind(numbers.iter().map(|(_, iban)| iban.as_str()).collect::<Vec<_>>())
        .fetch_one(conn)
        .instrument(store::span("mark numbers as used"))
        .await?;
        if usize::try_from(found) != Ok(numbers.len()) {
            return Err(Error::Interrupted);
        }
        Ok(Marked { numbers, news })
    }

    /// The transaction was committed.
    pub(super) fn remember(&self, marked: Marked) {
        let mut known = self.known();
        if known.len() + marked.numbers.len() > KNOWN_MAX {
            known.clear();
        }
        known.extend(marked.numbers);
    }

    fn known(&self) -> MutexGuard<'_, HashSet<Number>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Used {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Used").field("known", &self.known().len()).finish()
    }
}
