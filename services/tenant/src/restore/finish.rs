//! The end of a restore: every sequence goes on above whatever anybody knows to be given out.

use std::collections::HashMap;

use fiorino_domain::{
    nav::NavPermutation,
    notice::{AuxDigit, NoticeNumber},
};
use fiorino_kit::store;
use fiorino_proto::restore::v1::Raised;
use futures::TryStreamExt as _;
use sqlx::{FromRow, PgConnection, Postgres, Transaction};
use tracing::Instrument as _;

use crate::{context::Context, error::Result, nav};

/// Numbers that may have been given out without a witness, where nothing says how many a day needs.
const MARGIN: u64 = 2_000_000;

/// Of the numbers that are left, the part that a margin may take: more only where a day needs it.
const SHARE: u64 = 10;

/// How far above the store's own a number may lie to be one of ours. One of another system under the same code lies anywhere.
const PLAUSIBLE: u64 = 20_000_000;

/// How long the statements of a restore may take, each.
const PATIENCE: &str = "set local statement_timeout = '25s'";

/// A sequence, and what others know of it.
#[derive(Debug, Clone, FromRow)]
pub(super) struct Known {
    institution_id: i32,
    pub(super) institution: String,
    pub(super) aux_digit: i16,
    pub(super) code: String,
    pub(super) prefix: String,
    next: i64,
    floor: i64,
    /// Above what a witness or an observation knows.
    highest: i64,
    /// Of the witness, else the store's own.
    key: Vec<u8>,
}

/// A sequence that can be told the numbers of.
pub(super) struct Sequence {
    pub(super) known: Known,
    permutation: NavPermutation,
    /// Above everything that is known to be given out.
    above: u64,
}

// === impl Sequence ===

impl Sequence {
    fn new(known: Known) -> nav::Result<Self> {
        let permutation = nav::permutation(&known.key, &known.prefix)?;
        let above = known.next.max(known.floor).max(known.highest).unsigned_abs();
        Ok(Self { known, permutation, above })
    }

    /// Raises it above a number, if this is one of its own; one that lies too far away is another system's.
    pub(super) fn observe(&mut self, number: &NoticeNumber) -> bool {
        let Some(sequence) = number.base().and_then(|base| self.permutation.sequence(base)) else { return false };
        let limit = self.above.saturating_add(PLAUSIBLE.min(self.left() / SHARE));
        if sequence < self.above || sequence >= limit {
            return false;
        }
        self.above = sequence + 1;
        true
    }

    pub(super) const fn above(&self) -> u64 {
        self.above
    }

    const fn left(&self) -> u64 {
        self.permutation.size().saturating_sub(self.above)
    }
}

/// How many numbers are skipped above those that are known: what was given out while no node-connector kept the end of blocks is known
/// to nobody. `left` are all that there are.
pub(super) fn margin(largest_day: u64, left: u64) -> u64 {
    let days = largest_day.saturating_mul(2);
    let wide = days.max(MARGIN);
    if wide <= left / SHARE { wide } else { days.max(left / SHARE).min(left) }
}

/// Every sequence of some institutions, or of all.
pub(super) async fn sequences(
    conn: &mut PgConnection,
    environment: &str,
    institutions: Option<&[String]>,
) -> Result<Vec<Sequence>> {
    let known: Vec<Known> = sqlx::query_as(
        "select n.institution_id, i.fiscal_code as institution, n.aux_digit, n.code, n.prefix, n.next, n.floor,
             coalesce(w.highest, 0) as highest, coalesce(w.key, n.key) as key
         from nav_sequence n
         join institution i using (institution_id)
         left join nav_witness w on w.institution = i.fiscal_code and w.aux_digit = n.aux_digit and w.code = n.code
             and w.prefix = n.prefix
         where i.environment = $1 and ($2::text[] is null or i.fiscal_code = any($2))
         order by n.institution_id, n.aux_digit, n.code, n.prefix",
    )
    .bind(environment)
    .bind(institutions)
    .fetch_all(conn)
    .await?;
    let sequences = known.into_iter().map(Sequence::new).collect::<nav::Result<Vec<_>>>();
    sequences.map_err(|error| match error {
        nav::Error::Store { source } => source.into(),
        error => sqlx::Error::Decode(error.to_string().into()).into(),
    })
}

/// Raises every sequence, in the transaction that ends the restore. Tells those that were raised.
pub(super) async fn raise(tx: &mut Transaction<'static, Postgres>, context: &Context) -> Result<Vec<Raised>> {
    sqlx::query(PATIENCE).execute(&mut **tx).await?;
    let mut sequences = sequences(tx, context.environment.as_str(), None).await?;
    observe_receipts(tx, &mut sequences).await?;
    let days = largest_days(tx).await?;
    let mut raised = Vec::with_capacity(sequences.len());
    for sequence in &sequences {
        let Known { institution_id, institution, aux_digit, code, prefix, next, key, .. } = &sequence.known;
        let largest = days.get(&(*institution_id, format!("{aux_digit}{code}"))).copied().unwrap_or(0);
        let to = sequence.above() + margin(largest, sequence.left());
        sqlx::query(
            "update nav_sequence set next = $5, key = $6, moved_from = null, moved_to = null
             where institution_id = $1 and aux_digit = $2 and code = $3 and prefix = $4",
        )
        .bind(institution_id)
        .bind(aux_digit)
        .bind(code)
        .bind(prefix)
        .bind(i64::try_from(to).unwrap_or(i64::MAX))
        .bind(key)
        .execute(&mut **tx)
        .await?;
        raised.push(Raised {
            institution: institution.clone(),
            code: code.clone(),
            prefix: prefix.clone(),
            from: next.unsigned_abs(),
            to,
        });
    }
    Ok(raised)
}

/// Receipts of numbers that have no notice here: those that node-connectors sent again are among them.
async fn observe_receipts(tx: &mut Transaction<'static, Postgres>, sequences: &mut [Sequence]) -> Result<()> {
    let mut places: HashMap<i32, Vec<usize>> = HashMap::new();
    for (place, sequence) in sequences.iter().enumerate() {
        places.entry(sequence.known.institution_id).or_default().push(place);
    }
    let mut unknown = sqlx::query_as::<_, (i32, String)>(
        "select r.institution_id, r.nav from receipt r
         where not exists (select from notice n where n.institution_id = r.institution_id and n.nav = r.nav)
         order by r.institution_id, r.nav",
    )
    .fetch(&mut **tx);
    while let Some((institution_id, nav)) = unknown.try_next().instrument(store::span("read unknown receipts")).await? {
        let Ok(number) = NoticeNumber::parse(&nav) else { continue };
        for place in places.get(&institution_id).into_iter().flatten() {
            if is_of(&sequences[*place].known, &number) {
                sequences[*place].observe(&number);
            }
        }
    }
    Ok(())
}

/// Whether the number's aux digit and code are the sequence's.
pub(super) fn is_of(known: &Known, number: &NoticeNumber) -> bool {
    number.aux_digit() == AuxDigit::Three
        && known.aux_digit == i16::from(number.aux_digit().number())
        && number.code().is_some_and(|code| code.as_str() == known.code)
}

/// The largest day of each institution and code, in notices.
async fn largest_days(tx: &mut Transaction<'static, Postgres>) -> Result<HashMap<(i32, String), u64>> {
    let days: Vec<(i32, String, i64)> = sqlx::query_as(
        "select institution_id, code, max(day)
         from (select institution_id, left(nav, 3) as code, count(*) as day from notice group by institution_id, left(nav, 3), issued_on)
             as days
         group by institution_id, code",
    )
    .fetch_all(&mut **tx)
    .instrument(store::span("count notices by day"))
    .await?;
    Ok(days.into_iter().map(|(id, code, day)| ((id, code), day.unsigned_abs())).collect())
}

#[cfg(test)]
mod tests {
    use fiorino_domain::notice::SegregationCode;
    use rstest::rstest;

    use super::*;

    const ALL: u64 = 10_000_000_000_000;

    #[rstest]
    #[case::usual(1_000, ALL, 2_000_000)]
    #[case::a_large_day(3_000_000, ALL, 6_000_000)]
    #[case::few_are_left(100, 10_000, 1_000)]
    #[case::few_are_left_for_a_large_day(2_000, 10_000, 4_000)]
    #[case::none_are_left(2_000, 10, 10)]
    fn numbers_that_nobody_knows_of_are_skipped(#[case] day: u64, #[case] left: u64, #[case] skipped: u64) {
        assert_eq!(margin(day, left), skipped);
    }

    #[test]
    fn a_number_raises_its_sequence_unless_it_is_another_systems() {
        let mut sequence = sequence(1_000);
        let permutation = NavPermutation::new([7; 32], "").unwrap();
        let number = |sequence: u64| {
            let base = permutation.base(sequence).unwrap();
            NoticeNumber::compose(AuxDigit::Three, SegregationCode::parse("12").unwrap(), base).unwrap()
        };
        assert!(!sequence.observe(&number(999)), "it is below");
        assert!(sequence.observe(&number(1_000_000)));
        assert!(!sequence.observe(&number(1_000)), "it is below by now");
        assert!(!sequence.observe(&number(5_000_000_000_000)), "a number that we made would not lie so far away");
        assert_eq!(sequence.above(), 1_000_001);
    }

    fn sequence(next: i64) -> Sequence {
        let (institution, code, prefix) = ("80012340560".into(), "12".into(), String::new());
        let known = Known {
            institution_id: 1,
            institution,
            aux_digit: 3,
            code,
            prefix,
            next,
            floor: 0,
            highest: 0,
            key: vec![7; 32],
        };
        Sequence::new(known).unwrap()
    }
}
