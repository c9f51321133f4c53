//! Notice numbers: a sequence per issuing point, reserved in blocks, made unguessable by a keyed permutation (ARCHITECTURE.md 4.2).
//!
//! A block is reserved by a statement of its own, outside of every transaction that uses it: whatever becomes of the position, a
//! number is given out once. Gaps are of no consequence; numbers of a block that a process did not use are lost with it.
//!
//! A node-connector's database keeps the end of each block before its numbers are used ([`Witness`]): a database that went back in time
//! is known by it. The next block is reserved while the last fifth of the present one is given out, so that nobody waits for that.

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
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use crate::restore::Witness;

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
    /// The database may be one of before: what it calls free may be printed.
    #[error(
        "no notice number is issued: the database may be a restored one, until `fiorino-tenant restore-check` has ended"
    )]
    Restored,
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
    source: Source,
    points: Mutex<HashMap<Point, Arc<tokio::sync::Mutex<Stock>>>>,
}

/// Where blocks come from; cheap to clone.
#[derive(Debug, Clone)]
struct Source {
    pool: PgPool,
    /// `None`: nobody is waited for, as in a test of the sequence alone.
    witness: Option<Witness>,
}

/// What is left of a point's block, and how to number it.
#[derive(Default)]
struct Stock {
    permutation: Option<NavPermutation>,
    left: Range<u64>,
    /// The next block, on its way.
    coming: Option<AbortOnDropHandle<Result<Block>>>,
    /// Of the store that it came from.
    origin: i64,
    /// End of the highest block.
    end: u64,
}

/// A block that was reserved for this process.
struct Block {
    permutation: NavPermutation,
    numbers: Range<u64>,
    origin: i64,
    end: u64,
}

// === impl Issuer ===

impl Issuer {
    /// An issuer without blocks yet. Without a witness nobody is waited for.
    pub fn new(pool: PgPool, witness: Option<Witness>) -> Self {
        Self { source: Source { pool, witness }, points: Mutex::default() }
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
        if let Some(witness) = &self.source.witness {
            if !witness.permits().await {
                return Err(Error::Restored);
            }
            if witness.origin() != stock.origin {
                // Another store, or one that went over to another server: what is left is not to be trusted.
                *stock = Stock::default();
            }
        }
        stock.left.start = stock.left.start.max(floor);
        let mut numbers = Vec::with_capacity(count);
        while numbers.len() < count {
            match stock.left.next() {
                Some(sequence) => numbers.push(stock.number(point, sequence)?),
                None => self.refill(point, &mut stock, count - numbers.len()).await?,
            }
        }
        self.look_ahead(point, &mut stock);
        Ok(numbers)
    }

    fn stock(&self, point: &Point) -> Arc<tokio::sync::Mutex<Stock>> {
        let mut points = self.points.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(points.entry(point.clone()).or_default())
    }

    async fn refill(&self, point: &Point, stock: &mut Stock, missing: usize) -> Result<()> {
        let missing = u64::try_from(missing).unwrap_or(u64::MAX);
        let coming = match stock.coming.take() {
            Some(coming) => coming.await.ok().and_then(Result::ok),
            None => None,
        };
        let reserved = match coming {
            Some(reserved) => reserved,
            None => self.source.reserve(point, missing.max(block(&point.prefix)), stock.end).await?,
        };
        let Block { permutation, numbers, origin, end } = reserved;
        *stock = Stock { permutation: Some(permutation), left: numbers, coming: None, origin, end };
        if stock.left.is_empty() {
            return Err(point.used_up());
        }
        Ok(())
    }

    /// Reserves the next block while the last fifth of this one is given out.
    fn look_ahead(&self, point: &Point, stock: &mut Stock) {
        let (size, left) = (block(&point.prefix), stock.left.end.saturating_sub(stock.left.start));
        if self.source.witness.is_none() || stock.coming.is_some() || left == 0 || left > size / 5 {
            return;
        }
        let (source, point, above) = (self.source.clone(), point.clone(), stock.end);
        let coming = tokio::spawn(async move { source.reserve(&point, size, above).await });
        stock.coming = Some(AbortOnDropHandle::new(coming));
    }
}

// === impl Source ===

impl Source {
    /// Reserves `wanted` numbers, and waits for a witness of them. Those of this process end at `above`: it is a witness itself.
    async fn reserve(&self, point: &Point, wanted: u64, above: u64) -> Result<Block> {
        let row: Option<(Vec<u8>, i64, i64)> = sqlx::query_as(
            "update nav_sequence set next = greatest(next, floor) + $5
             from (select o.id, o.system_identifier, o.timeline from store_origin o
                   where o.id = (select max(id) from store_origin) and (o.suspicion is null or o.checked_at is not null)) as origin,
                 server_identity() as server
             where institution_id = $1 and aux_digit = $2 and code = $3 and prefix = $4
                 and server.system_identifier = origin.system_identifier and server.timeline = origin.timeline
             returning nav_sequence.key, nav_sequence.next, origin.id",
        )
        .bind(point.institution_id)
        .bind(i16::from(point.aux_digit.number()))
        .bind(point.code.as_str())
        .bind(&point.prefix)
        .bind(i64::try_from(wanted).unwrap_or(i64::MAX))
        .fetch_optional(&self.pool)
        .instrument(store::span("reserve notice numbers"))
        .await?;
        let Some((key, next, origin)) = row else {
            return Err(self.refused(point).await?);
        };
        let permutation = permutation(&key, &point.prefix)?;
        let (from, to) = (next.unsigned_abs().saturating_sub(wanted), next.unsigned_abs());
        if let Some(witness) = &self.witness {
            if from < above {
                witness.suspect("a block was reserved twice").await?;
                return Err(Error::Restored);
            }
            witness.keeps(&self.pool, point, next).await;
            if !witness.permits().await {
                return Err(Error::Restored);
            }
        }
        let numbers = from..to.min(permutation.size());
        Ok(Block { permutation, numbers, origin, end: to })
    }

    /// Why nothing was reserved.
    async fn refused(&self, point: &Point) -> Result<Error> {
        let there: bool = sqlx::query_scalar(
            "select exists (
                 select from nav_sequence where institution_id = $1 and aux_digit = $2 and code = $3 and prefix = $4)",
        )
        .bind(point.institution_id)
        .bind(i16::from(point.aux_digit.number()))
        .bind(point.code.as_str())
        .bind(&point.prefix)
        .fetch_one(&self.pool)
        .await?;
        Ok(if there { Error::Restored } else { point.no_sequence() })
    }
}

/// How many numbers are reserved at once.
fn block(prefix: &str) -> u64 {
    let free = Base::LENGTH.saturating_sub(prefix.len());
    let all = (0..free).fold(1u64, |all, _| all.saturating_mul(10));
    (all / BLOCK_SHARE).clamp(1, BLOCK_MAX)
}

pub(crate) fn permutation(key: &[u8], prefix: &str) -> Result<NavPermutation> {
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
