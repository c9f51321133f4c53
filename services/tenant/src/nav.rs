//! Notice numbers: a sequence per issuing point, reserved in blocks, made unguessable by a keyed permutation (ARCHITECTURE.md 4.2).
//!
//! A block is reserved by a statement of its own, outside of every transaction that uses it: whatever becomes of the position, a
//! number is given out once. Gaps are of no consequence; numbers of a block that a process did not use are lost with it.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use fiorino_domain::{
    nav::NavPermutation,
    notice::{AuxDigit, Base, NoticeNumber, SegregationCode},
};
use fiorino_kit::store;
use sqlx::PgPool;
use tracing::Instrument as _;

/// Result of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Numbers reserved at once when fewer are asked for.
const BLOCK_MAX: u64 = 1_000;

/// A block is at most this part of all numbers of a point, so that long prefixes are not used up by restarts.
const BLOCK_SHARE: u64 = 10_000;

/// Where numbers come from: an institution's association that issues.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Point {
    /// The institution.
    pub institution_id: i32,
    /// 3 for every new notice.
    pub aux_digit: AuxDigit,
    /// Segregation code.
    pub code: SegregationCode,
    /// What the 13-digit base begins with; may be empty.
    pub prefix: String,
}

/// Why no number can be given out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Every number of the point was given out.
    #[error("failed to issue a notice number: code {code} with prefix {prefix:?} is used up")]
    UsedUp {
        /// Segregation code of the point.
        code: SegregationCode,
        /// Prefix of the point.
        prefix: String,
    },
    /// The configuration made no sequence for the point.
    #[error("failed to issue a notice number: code {code} with prefix {prefix:?} has no sequence")]
    NoSequence {
        /// Segregation code of the point.
        code: SegregationCode,
        /// Prefix of the point.
        prefix: String,
    },
    /// The database failed.
    #[error("failed to reserve notice numbers")]
    Store {
        /// What the driver says.
        #[from]
        source: sqlx::Error,
    },
}

/// Gives out notice numbers of this process's blocks.
#[derive(Debug)]
pub struct Issuer {
    pool: PgPool,
    points: Mutex<HashMap<Point, Arc<tokio::sync::Mutex<Stock>>>>,
}

/// What is left of a point's block, and how to number it.
#[derive(Default)]
struct Stock {
    permutation: Option<NavPermutation>,
    left: Range<u64>,
}

// === impl Issuer ===

impl Issuer {
    /// An issuer without blocks yet.
    pub fn new(pool: PgPool) -> Self {
        Self { pool, points: Mutex::default() }
    }

    /// `count` numbers that were never given out before, none from below `floor` of the sequence.
    ///
    /// Numbers that came from another system under the same code are not known here: the database refuses them, the caller asks
    /// again.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn issue(&self, point: &Point, floor: u64, count: usize) -> Result<Vec<NoticeNumber>> {
        let stock = self.stock(point);
        // Held while a block is reserved: whoever waits would only reserve another one.
        let mut stock = stock.lock().await;
        stock.left.start = stock.left.start.max(floor);
        let mut numbers = Vec::with_capacity(count);
        while numbers.len() < count {
            match stock.left.next() {
                Some(sequence) => numbers.push(stock.number(point, sequence)?),
                None => self.refill(point, &mut stock, count - numbers.len()).await?,
            }
        }
        Ok(numbers)
    }

    fn stock(&self, point: &Point) -> Arc<tokio::sync::Mutex<Stock>> {
        let mut points = self.points.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(points.entry(point.clone()).or_default())
    }

    async fn refill(&self, point: &Point, stock: &mut Stock, missing: usize) -> Result<()> {
        let missing = u64::try_from(missing).unwrap_or(u64::MAX);
        let wanted = missing.max(block(&point.prefix));
        let row: Option<(Vec<u8>, i64)> = sqlx::query_as(
            "update nav_sequence set next = greatest(next, floor) + $5
             where institution_id = $1 and aux_digit = $2 and code = $3 and prefix = $4
             returning key, next",
        )
        .bind(point.institution_id)
        .bind(i16::from(point.aux_digit.number()))
        .bind(point.code.as_str())
        .bind(&point.prefix)
        .bind(i64::try_from(wanted).unwrap_or(i64::MAX))
        .fetch_optional(&self.pool)
        .instrument(store::span("reserve notice numbers"))
        .await?;
        let Some((key, next)) = row else {
            return Err(point.no_sequence());
        };
        let permutation = match stock.permutation.take() {
            Some(known) => known,
            None => permutation(&key, &point.prefix)?,
        };
        let next = u64::try_from(next).unwrap_or(0);
        stock.left = next.saturating_sub(wanted)..next.min(permutation.size());
        stock.permutation = Some(permutation);
        if stock.left.is_empty() {
            return Err(point.used_up());
        }
        Ok(())
    }
}

/// How many numbers are reserved at once.
fn block(prefix: &str) -> u64 {
    let free = Base::LENGTH.saturating_sub(prefix.len());
    let all = (0..free).fold(1u64, |all, _| all.saturating_mul(10));
    (all / BLOCK_SHARE).clamp(1, BLOCK_MAX)
}

fn permutation(key: &[u8], prefix: &str) -> Result<NavPermutation> {
    let unreadable = |what: &'static str| Error::Store { source: sqlx::Error::Decode(what.into()) };
    let key = key.try_into().map_err(|_| unreadable("the key of a sequence is 32 bytes"))?;
    NavPermutation::new(key, prefix).map_err(|_| unreadable("the prefix of a sequence is 0 to 12 digits"))
}

// === impl Point ===

impl Point {
    fn used_up(&self) -> Error {
        Error::UsedUp { code: self.code, prefix: self.prefix.clone() }
    }

    fn no_sequence(&self) -> Error {
        Error::NoSequence { code: self.code, prefix: self.prefix.clone() }
    }
}

// === impl Stock ===

impl Stock {
    fn number(&self, point: &Point, sequence: u64) -> Result<NoticeNumber> {
        let base = self.permutation.as_ref().and_then(|permutation| permutation.base(sequence));
        let number = base.and_then(|base| NoticeNumber::compose(point.aux_digit, point.code, base).ok());
        number.ok_or_else(|| point.used_up())
    }
}

impl std::fmt::Debug for Stock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The permutation holds the key that makes numbers unguessable.
        f.debug_struct("Stock").field("left", &self.left).finish_non_exhaustive()
    }
}
