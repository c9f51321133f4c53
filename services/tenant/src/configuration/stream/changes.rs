//! Resources as a stream sends them: read in pages, so that no transaction waits for a slow replica.

use bytes::Bytes;
use fiorino_proto::config::v1::{Resource, ResourceKind};
use sqlx::{FromRow, PgConnection};

/// Rows of one read; their specs are at most 128 KiB each, a chunk's worth in the ordinary case.
const PAGE: i64 = 100;

/// What a service gets: its projection's kinds.
#[derive(Debug, Clone)]
pub(super) struct Kinds(Vec<i16>);

/// A resource or a tombstone.
#[derive(Debug, FromRow)]
pub(super) struct Change {
    institution_id: i32,
    pub(super) uid: String,
    kind: i16,
    namespace: String,
    name: String,
    generation: i64,
    hash: Vec<u8>,
    spec: Vec<u8>,
    required_features: Vec<String>,
    config_seq: i64,
    pub(super) removed: bool,
    institution: Option<String>,
}

/// Where a page begins: after the last row of the one before.
#[derive(Debug, Clone)]
pub(super) enum Cursor {
    /// Every live resource, by (institution, uid).
    Snapshot { institution_id: i32, uid: String },
    /// Everything changed after `config_seq` and up to `up_to`, tombstones too, by (sequence, uid).
    Delta { config_seq: i64, uid: String, up_to: i64 },
}

// === impl Kinds ===

impl Kinds {
    /// The node-connector routes and watches accounts; it never sees a service. The front-office shows institutions and services; it
    /// never sees an account. The others get everything.
    pub(super) fn of(service: &str) -> Self {
        use ResourceKind::{Account, Broker, Institution, Service, Station};
        let kinds: &[ResourceKind] = match service {
            "node-connector" => &[Broker, Station, Institution, Account],
            "front-office" => &[Institution, Service],
            _ => &[Broker, Station, Institution, Account, Service],
        };
        Self(kinds.iter().filter_map(|&kind| i16::try_from(kind as i32).ok()).collect())
    }
}

// === impl Cursor ===

impl Cursor {
    pub(super) fn snapshot() -> Self {
        Self::Snapshot { institution_id: -1, uid: String::new() }
    }

    pub(super) fn delta(known_seq: i64, up_to: i64) -> Self {
        // Behind every uid of the sequence that is known.
        Self::Delta { config_seq: known_seq + 1, uid: String::new(), up_to }
    }

    /// The next page; empty = there is no more.
    pub(super) async fn page(&mut self, conn: &mut PgConnection, kinds: &Kinds) -> sqlx::Result<Vec<Change>> {
        let page: Vec<Change> = match &*self {
            Self::Snapshot { institution_id, uid } => {
                sqlx::query_as(
                    "select r.institution_id, r.uid, r.kind, r.namespace, r.name, r.generation, r.hash, r.spec, r.required_features,
                         r.config_seq, r.removed, i.fiscal_code as institution
                     from config_resource r
                     left join institution i using (institution_id)
                     where (r.institution_id, r.uid) > ($1, $2) and not r.removed and r.kind = any($3)
                     order by r.institution_id, r.uid
                     limit $4",
                )
                .bind(institution_id)
                .bind(uid)
                .bind(&kinds.0)
                .bind(PAGE)
                .fetch_all(conn)
                .await?
            }
            Self::Delta { config_seq, uid, up_to } => {
                sqlx::query_as(
                    "select r.institution_id, r.uid, r.kind, r.namespace, r.name, r.generation, r.hash, r.spec, r.required_features,
                         r.config_seq, r.removed, i.fiscal_code as institution
                     from config_resource r
                     left join institution i using (institution_id)
                     where (r.config_seq, r.uid) > ($1, $2) and r.config_seq <= $3 and r.kind = any($4)
                     order by r.config_seq, r.uid
                     limit $5",
                )
                .bind(config_seq)
                .bind(uid)
                .bind(up_to)
                .bind(&kinds.0)
                .bind(PAGE)
                .fetch_all(conn)
                .await?
            }
        };
        if let Some(last) = page.last() {
            self.advance(last);
        }
        Ok(page)
    }

    fn advance(&mut self, last: &Change) {
        match self {
            Self::Snapshot { institution_id, uid } => {
                *institution_id = last.institution_id;
                uid.clone_from(&last.uid);
            }
            Self::Delta { config_seq, uid, .. } => {
                *config_seq = last.config_seq;
                uid.clone_from(&last.uid);
            }
        }
    }
}

impl From<Change> for Resource {
    fn from(change: Change) -> Self {
        Self {
            kind: change.kind.into(),
            uid: change.uid,
            namespace: change.namespace,
            name: change.name,
            generation: change.generation,
            hash: Bytes::from(change.hash),
            spec: Bytes::from(change.spec),
            required_features: change.required_features,
            adopt: false,
            config_seq: change.config_seq,
            institution: change.institution.unwrap_or_default(),
        }
    }
}
