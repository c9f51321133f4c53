//! How far each replica is: one row per replica, by the database's time.

use fiorino_proto::config::v1::{Ack, Hello, Nack};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, types::Json};

use crate::error::{Error, Result};

/// Boot ids that a replica's row remembers as replaced.
const RETIRED_MAX: i32 = 16;

/// A replica that counts: it acknowledged something less than 10 s ago.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub(super) struct Watermark {
    pub(super) service: String,
    pub(super) replica: String,
    pub(super) boot_id: String,
    pub(super) acknowledged_seq: i64,
    #[sqlx(json)]
    pub(super) nacks: Vec<Refusal>,
}

/// A resource that a replica refuses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Refusal {
    pub(super) uid: String,
    pub(super) config_seq: i64,
    pub(super) reason: String,
}

/// A replica's stream, as its row knows it.
#[derive(Debug, Clone)]
pub(super) struct Registration {
    pub(super) service: String,
    pub(super) replica: String,
    pub(super) boot_id: String,
    pub(super) nonce: String,
}

// === impl Watermark ===

impl Watermark {
    /// Every live replica, of whatever service.
    pub(super) async fn live(conn: &mut PgConnection) -> sqlx::Result<Vec<Self>> {
        sqlx::query_as(
            "select service, replica, boot_id, acknowledged_seq, nacks from watermark
             where heartbeat_at > clock_timestamp() - interval '10 seconds'
             order by service, replica",
        )
        .fetch_all(conn)
        .await
    }
}

// === impl Registration ===

impl Registration {
    /// Takes the replica's row over for a new stream. A new process does not count before it acknowledges; the same one goes on
    /// counting.
    ///
    /// # Errors
    /// [`Error::Precondition`] for a process that was replaced already.
    pub(super) async fn register(conn: &mut PgConnection, hello: &Hello, nonce: String) -> Result<Self> {
        let taken = sqlx::query(
            "insert into watermark as held (service, replica, boot_id, nonce, acknowledged_seq, nacks, capabilities)
             values ($1, $2, $3, $4, 0, '[]', $5)
             on conflict (service, replica) do update
             set boot_id = excluded.boot_id, nonce = excluded.nonce, capabilities = excluded.capabilities,
                 connected_at = now(),
                 acknowledged_seq = case when held.boot_id = excluded.boot_id then held.acknowledged_seq else 0 end,
                 nacks = case when held.boot_id = excluded.boot_id then held.nacks else '[]' end,
                 heartbeat_at = case when held.boot_id = excluded.boot_id then held.heartbeat_at end,
                 retired_boots = case when held.boot_id = excluded.boot_id then held.retired_boots
                     else (held.boot_id || held.retired_boots)[1:$6] end
             where excluded.boot_id <> all(held.retired_boots)",
        )
        .bind(&hello.service)
        .bind(&hello.replica)
        .bind(&hello.boot_id)
        .bind(&nonce)
        .bind(&hello.capabilities)
        .bind(RETIRED_MAX)
        .execute(&mut *conn)
        .await?;
        if taken.rows_affected() == 0 {
            let Hello { service, replica, boot_id, .. } = hello;
            let message = format!("process {boot_id} of {service} {replica} was replaced by a newer one");
            return Err(Error::precondition("boot_id", message));
        }
        // Replicas that are gone for good; a few rows at most, but for ever.
        sqlx::query("delete from watermark where coalesce(heartbeat_at, connected_at) < now() - interval '1 day'")
            .execute(conn)
            .await?;
        let Hello { service, replica, boot_id, .. } = hello.clone();
        Ok(Self { service, replica, boot_id, nonce })
    }

    /// Records an acknowledgement, which is the heartbeat too; true when it says something new.
    ///
    /// # Errors
    /// [`Error::Superseded`] when the replica has a newer stream.
    pub(super) async fn acknowledge(&self, conn: &mut PgConnection, ack: Ack) -> Result<bool> {
        let nacks: Vec<_> = ack.nacks.into_iter().map(Refusal::from).collect();
        let news = sqlx::query_scalar(
            "with before as (
                 select acknowledged_seq, nacks, heartbeat_at from watermark where service = $1 and replica = $2)
             update watermark w
             set acknowledged_seq = $5, nacks = $6, heartbeat_at = clock_timestamp()
             from before
             where w.service = $1 and w.replica = $2 and w.boot_id = $3 and w.nonce = $4
             returning before.heartbeat_at is null or before.acknowledged_seq <> $5 or before.nacks <> $6",
        )
        .bind(&self.service)
        .bind(&self.replica)
        .bind(&self.boot_id)
        .bind(&self.nonce)
        .bind(ack.acknowledged_seq)
        .bind(Json(nacks))
        .fetch_optional(conn)
        .await?;
        news.ok_or_else(|| Error::Superseded(format!("{} {} has a newer stream", self.service, self.replica)))
    }

    /// The replica ended its stream in order: nobody waits for it any more.
    pub(super) async fn leave(&self, conn: &mut PgConnection) -> sqlx::Result<()> {
        sqlx::query(
            "update watermark set heartbeat_at = null
             where service = $1 and replica = $2 and boot_id = $3 and nonce = $4",
        )
        .bind(&self.service)
        .bind(&self.replica)
        .bind(&self.boot_id)
        .bind(&self.nonce)
        .execute(conn)
        .await?;
        Ok(())
    }
}

// === impl Refusal ===

impl From<Nack> for Refusal {
    fn from(Nack { uid, config_seq, reason }: Nack) -> Self {
        Self { uid, config_seq, reason }
    }
}
