//! Blocks as node-connectors know them, beside those of the store.

use std::collections::HashMap;

use fiorino_domain::notice::SegregationCode;
use fiorino_proto::restore::v1::Block;
use sqlx::{AssertSqlSafe, FromRow, PgConnection, Postgres, postgres::PgArguments};

use crate::error::{Error, Result};

/// Blocks in one message.
pub(super) const BLOCKS_MAX: usize = 1_000;

/// What a sequence is called everywhere: institution's fiscal code, aux digit, code, prefix.
pub(super) type Key = (String, i16, String, String);

/// A sequence as the store has it.
#[derive(Debug, Clone, FromRow)]
pub(super) struct Reserved {
    institution: String,
    aux_digit: i16,
    code: String,
    prefix: String,
    pub(super) next: i64,
    key: Vec<u8>,
}

/// What was stated, column by column.
#[derive(Debug, Default)]
pub(super) struct Stated {
    institutions: Vec<String>,
    aux_digits: Vec<i16>,
    codes: Vec<String>,
    prefixes: Vec<String>,
    ends: Vec<i64>,
    keys: Vec<Vec<u8>>,
}

type Scalar<'q> = sqlx::query::QueryScalar<'q, Postgres, i64, PgArguments>;

/// Of what is stated, as `$1` to `$6`, that which the store cannot have given out; `$7` is the environment.
const AHEAD: &str = "select distinct on (w.institution, w.aux_digit, w.code, w.prefix)
         w.institution, w.aux_digit, w.code, w.prefix, w.ending, nullif(w.key, '')
     from unnest($1::text[], $2::int2[], $3::text[], $4::text[], $5::int8[], $6::bytea[])
         as w (institution, aux_digit, code, prefix, ending, key)
     left join institution i on i.environment = $7 and i.fiscal_code = w.institution
     left join nav_sequence n on n.institution_id = i.institution_id and n.aux_digit = w.aux_digit
         and n.code = w.code and n.prefix = w.prefix
     left join nav_witness k on k.institution = w.institution and k.aux_digit = w.aux_digit and k.code = w.code
         and k.prefix = w.prefix
     where w.ending > 0
         and (n.next is null or w.ending > n.next or w.ending > n.moved_from and w.ending < n.moved_to
             or w.key <> '' and w.key <> n.key)
         and (k.highest is null or k.highest < w.ending or w.key <> '' and k.key is distinct from w.key)
     order by w.institution, w.aux_digit, w.code, w.prefix, w.ending desc";

// === impl Reserved ===

impl Reserved {
    pub(super) fn name(&self) -> Key {
        (self.institution.clone(), self.aux_digit, self.code.clone(), self.prefix.clone())
    }

    pub(super) fn block(self) -> Block {
        Block {
            institution: self.institution,
            aux_digit: u32::from(self.aux_digit.unsigned_abs()),
            code: self.code,
            prefix: self.prefix,
            end: self.next.unsigned_abs(),
            key: self.key.into(),
        }
    }
}

// === impl Stated ===

impl Stated {
    /// Reads what a node-connector states.
    ///
    /// # Errors
    /// What is no block: the name of the field and the rule.
    pub(super) fn read(blocks: &[Block]) -> Result<Self> {
        if blocks.len() > BLOCKS_MAX {
            return Err(Error::invalid("blocks", format!("must be at most {BLOCKS_MAX}; send several messages")));
        }
        let mut stated = Self::default();
        for block in blocks {
            let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
            if block.institution.len() != 11 || !digits(&block.institution) {
                return Err(Error::invalid("blocks.institution", "must be 11 digits"));
            }
            let code = SegregationCode::parse(&block.code)
                .map_err(|error| Error::invalid("blocks.code", error.to_string()))?;
            if block.prefix.len() > 12 || !digits(&block.prefix) {
                return Err(Error::invalid("blocks.prefix", "must be 0 to 12 digits"));
            }
            if !block.key.is_empty() && block.key.len() != 32 {
                return Err(Error::invalid("blocks.key", "must be 32 bytes, or empty"));
            }
            let end = i64::try_from(block.end).map_err(|_| Error::invalid("blocks.end", "must fit into 63 bits"))?;
            stated.institutions.push(block.institution.clone());
            stated.aux_digits.push(i16::try_from(block.aux_digit).unwrap_or(i16::MAX));
            stated.codes.push(code.as_str().to_owned());
            stated.prefixes.push(block.prefix.clone());
            stated.ends.push(end);
            stated.keys.push(block.key.to_vec());
        }
        Ok(stated)
    }

    /// These and the other ones.
    pub(super) fn append(&mut self, other: Self) {
        let Self { institutions, aux_digits, codes, prefixes, ends, keys } = other;
        self.institutions.extend(institutions);
        self.aux_digits.extend(aux_digits);
        self.codes.extend(codes);
        self.prefixes.extend(prefixes);
        self.ends.extend(ends);
        self.keys.extend(keys);
    }

    /// The highest end of each.
    pub(super) fn ends(&self) -> HashMap<Key, i64> {
        let mut ends = HashMap::new();
        for at in 0..self.ends.len() {
            let name =
                (self.institutions[at].clone(), self.aux_digits[at], self.codes[at].clone(), self.prefixes[at].clone());
            let end = ends.entry(name).or_insert(0);
            *end = self.ends[at].max(*end);
        }
        ends
    }

    /// How many of them the store cannot have given out itself.
    ///
    /// Ahead is who has numbers from beyond the store's, or from between where it stood and where it went on when it moved, or with
    /// another key; unless this was remembered before, and dealt with.
    pub(super) async fn ahead(&self, conn: &mut PgConnection, environment: &str) -> sqlx::Result<i64> {
        let count = sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from ({AHEAD}) as ahead")));
        self.bind_to(count, environment).fetch_one(conn).await
    }

    /// Remembers those, in the transaction that makes the store a suspect.
    pub(super) async fn remember(&self, conn: &mut PgConnection, environment: &str) -> sqlx::Result<()> {
        let remember = sqlx::query_scalar::<_, i64>(AssertSqlSafe(format!(
            "insert into nav_witness as known (institution, aux_digit, code, prefix, highest, key)
             {AHEAD}
             on conflict (institution, aux_digit, code, prefix) do update
             set highest = greatest(known.highest, excluded.highest), key = coalesce(excluded.key, known.key), stated_at = now()
             returning highest"
        )));
        self.bind_to(remember, environment).fetch_all(conn).await.map(drop)
    }

    fn bind_to<'q>(&'q self, query: Scalar<'q>, environment: &'q str) -> Scalar<'q> {
        let query = query.bind(&self.institutions).bind(&self.aux_digits).bind(&self.codes).bind(&self.prefixes);
        query.bind(&self.ends).bind(&self.keys).bind(environment)
    }

    /// How many of the ends that a node-connector once kept it does not have any more.
    pub(super) async fn forgotten(&self, conn: &mut PgConnection, environment: &str) -> sqlx::Result<i64> {
        sqlx::query_scalar(
            "select count(*) from nav_sequence n join institution i using (institution_id)
             where i.environment = $6 and n.witnessed > coalesce((
                 select max(w.ending)
                 from unnest($1::text[], $2::int2[], $3::text[], $4::text[], $5::int8[])
                     as w (institution, aux_digit, code, prefix, ending)
                 where w.institution = i.fiscal_code and w.aux_digit = n.aux_digit and w.code = n.code and w.prefix = n.prefix), 0)",
        )
        .bind(&self.institutions)
        .bind(&self.aux_digits)
        .bind(&self.codes)
        .bind(&self.prefixes)
        .bind(&self.ends)
        .bind(environment)
        .fetch_one(conn)
        .await
    }

    /// Marks them as known to a node-connector.
    pub(super) async fn witnessed(&self, conn: &mut PgConnection, environment: &str) -> sqlx::Result<()> {
        sqlx::query(
            "update nav_sequence n set witnessed = greatest(n.witnessed, least(n.next, w.ending))
             from unnest($1::text[], $2::int2[], $3::text[], $4::text[], $5::int8[])
                 as w (institution, aux_digit, code, prefix, ending)
             join institution i on i.environment = $6 and i.fiscal_code = w.institution
             where n.institution_id = i.institution_id and n.aux_digit = w.aux_digit and n.code = w.code
                 and n.prefix = w.prefix and n.witnessed < w.ending",
        )
        .bind(&self.institutions)
        .bind(&self.aux_digits)
        .bind(&self.codes)
        .bind(&self.prefixes)
        .bind(&self.ends)
        .bind(environment)
        .execute(conn)
        .await
        .map(drop)
    }
}

/// Sequences that gave numbers out, page by page in the order of their names; `all`: also those that a node-connector knows.
pub(super) async fn reserved(
    conn: &mut PgConnection,
    environment: &str,
    after: &Key,
    all: bool,
) -> sqlx::Result<Vec<Reserved>> {
    let columns = "select i.fiscal_code as institution, n.aux_digit, n.code, n.prefix, n.next, n.key
         from nav_sequence n join institution i using (institution_id)
         where i.environment = $1 and (i.fiscal_code, n.aux_digit, n.code, n.prefix) > ($2, $3, $4, $5)";
    // The second one is read from its index, which is empty but for a moment.
    let which = if all { "n.next > 0" } else { "n.next > n.witnessed" };
    let order = "order by i.fiscal_code, n.aux_digit, n.code, n.prefix limit $6";
    sqlx::query_as(AssertSqlSafe(format!("{columns} and {which} {order}")))
        .bind(environment)
        .bind(&after.0)
        .bind(after.1)
        .bind(&after.2)
        .bind(&after.3)
        .bind(i64::try_from(BLOCKS_MAX).unwrap_or(i64::MAX))
        .fetch_all(conn)
        .await
}
