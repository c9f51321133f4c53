//! The saved copy: tables in the service's own database, shared by its replicas.
//!
//! Replicas at the same store and sequence hold the same, so whoever is first writes and the others have nothing to do.

use std::sync::Arc;

use fiorino_kit::store;
use fiorino_proto::config::v1::Resource;
use prost::Message as _;
use sqlx::{PgConnection, PgPool};

use crate::holding::{Entry, State};

/// The tables of the saved copy, for a migration of the service.
pub const COPY_DDL: &str = include_str!("../sql/config_copy.sql");

/// Rows per statement.
const ROWS: usize = 1_000;

/// What was saved, as [`crate::holding::Holding::restore`] takes it.
#[derive(Debug)]
pub(crate) struct Saved {
    pub(crate) store_id: String,
    pub(crate) config_seq: i64,
    pub(crate) resources: Vec<(Resource, Option<Resource>)>,
}

/// Writes what changed since the last time.
#[derive(Debug)]
pub(crate) struct Copy<I> {
    pool: PgPool,
    /// What the tables hold, as far as this replica wrote or read it.
    written: Option<Arc<State<I>>>,
}

/// Why the saved copy cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("failed to use the database")]
    Store(#[from] sqlx::Error),
    #[error("failed to decode the saved resource {uid}")]
    Decode { uid: String, source: prost::DecodeError },
}

/// Bytes of `latest` and, where that is refused, of the version in use.
type Row = (String, Vec<u8>, Option<Vec<u8>>);

// === impl Saved ===

impl Saved {
    /// Reads the copy; `None` = nothing was ever saved.
    pub(crate) async fn load(pool: &PgPool) -> Result<Option<Self>, Error> {
        let mut tx = store::begin(pool).await?;
        // Shared, so that a replica that writes at this moment is waited for and the rows belong to the head.
        let head = sqlx::query_as("select store_id, config_seq from config_copy_head for share");
        let Some((store_id, config_seq)) = head.fetch_optional(&mut *tx).await? else {
            return Ok(None);
        };
        let rows: Vec<Row> = sqlx::query_as("select uid, latest, good from config_copy").fetch_all(&mut *tx).await?;
        tx.commit().await?;
        let resources = rows.into_iter().map(resources).collect::<Result<_, _>>()?;
        Ok(Some(Self { store_id, config_seq, resources }))
    }
}

// === impl Copy ===

impl<I> Copy<I> {
    /// A writer that knows what the tables hold, if it was loaded.
    pub(crate) fn new(pool: PgPool, loaded: Option<Arc<State<I>>>) -> Self {
        Self { pool, written: loaded }
    }

    /// Makes the tables hold `state`, unless they hold it or later already.
    pub(crate) async fn save(&mut self, state: &Arc<State<I>>) -> Result<(), Error> {
        let mut tx = store::begin(&self.pool).await?;
        // Whoever has the head's row writes; the first one makes it.
        sqlx::query("insert into config_copy_head (store_id, config_seq) values ('', 0) on conflict do nothing")
            .execute(&mut *tx)
            .await?;
        let (store_id, config_seq): (String, i64) =
            sqlx::query_as("select store_id, config_seq from config_copy_head for update").fetch_one(&mut *tx).await?;
        if store_id == state.store_id && config_seq >= state.config_seq {
            self.written = (config_seq == state.config_seq).then(|| Arc::clone(state));
            return Ok(());
        }
        let base = self.written.as_deref().filter(|w| w.store_id == store_id && w.config_seq == config_seq);
        write(&mut tx, base, state).await?;
        sqlx::query("update config_copy_head set store_id = $1, config_seq = $2")
            .bind(&state.store_id)
            .bind(state.config_seq)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        self.written = Some(Arc::clone(state));
        Ok(())
    }
}

/// Writes the difference to `base`; without one, everything.
async fn write<I>(conn: &mut PgConnection, base: Option<&State<I>>, state: &State<I>) -> Result<(), sqlx::Error> {
    match base {
        None => {
            sqlx::query("delete from config_copy").execute(&mut *conn).await?;
        }
        Some(base) => {
            let gone: Vec<&String> = base.entries.keys().filter(|uid| !state.entries.contains_key(*uid)).collect();
            sqlx::query("delete from config_copy where uid = any($1)").bind(gone).execute(&mut *conn).await?;
        }
    }
    let same = |uid: &String, entry: &Arc<Entry<I>>| {
        base.and_then(|base| base.entries.get(uid)).is_some_and(|old| Arc::ptr_eq(old, entry))
    };
    let changed: Vec<Row> =
        state.entries.iter().filter(|(uid, entry)| !same(uid, entry)).map(|(uid, entry)| row(uid, entry)).collect();
    for rows in changed.chunks(ROWS) {
        let uids: Vec<&String> = rows.iter().map(|row| &row.0).collect();
        let latest: Vec<&[u8]> = rows.iter().map(|row| row.1.as_slice()).collect();
        let good: Vec<Option<&[u8]>> = rows.iter().map(|row| row.2.as_deref()).collect();
        sqlx::query(
            "insert into config_copy (uid, latest, good)
             select changed.uid, changed.latest, changed.good
             from unnest($1::text[], $2::bytea[], $3::bytea[]) as changed (uid, latest, good)
             on conflict (uid) do update set latest = excluded.latest, good = excluded.good",
        )
        .bind(uids)
        .bind(latest)
        .bind(good)
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

fn row<I>(uid: &str, entry: &Entry<I>) -> Row {
    let older = entry.refusal.as_ref().and(entry.good.as_ref()).map(|(resource, _)| resource.encode_to_vec());
    (uid.to_owned(), entry.latest.encode_to_vec(), older)
}

fn resources((uid, latest, good): Row) -> Result<(Resource, Option<Resource>), Error> {
    let decode = |bytes: &[u8]| Resource::decode(bytes).map_err(|source| Error::Decode { uid: uid.clone(), source });
    Ok((decode(&latest)?, good.as_deref().map(decode).transpose()?))
}
