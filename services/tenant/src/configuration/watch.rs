//! `WatchChanges`: the institutions whose status may read differently now.

use std::time::Duration;

use fiorino_proto::config::v1::WatchChangesResponse;
use sqlx::{PgConnection, PgPool};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use uuid::Uuid;

use super::{
    distribution::{Difference, Distribution},
    head::Head,
    wake::Wake,
    watermark::Watermark,
};
use crate::error::{Error, Result};

/// How long a change of another replica of tenant, or the death of a replica, stays unseen.
const POLL: Duration = Duration::from_millis(200);

/// uids in one message; more are told as `all`.
const UIDS_MAX: usize = 1_000;

/// What was seen last.
#[derive(Debug, Clone)]
struct Seen {
    status_seq: i64,
    distribution: Distribution,
    store_id: Uuid,
}

/// Where a watch reads.
struct Source {
    pool: PgPool,
    expected: Vec<String>,
}

/// Changes from now on; the first message says `all`. Ends with an error when the database fails, or when `token` is cancelled.
pub(super) fn changes(
    pool: PgPool,
    expected: Vec<String>,
    wake: Wake,
    token: CancellationToken,
) -> impl Stream<Item = Result<WatchChangesResponse, Status>> + Send + 'static {
    let (sender, receiver) = mpsc::channel(4);
    let source = Source { pool, expected };
    tokio::spawn(async move {
        let follow = source.follow(&wake, &sender);
        let ended = tokio::select! {
            ended = follow => ended,
            () = sender.closed() => return,
            () = token.cancelled() => return,
        };
        if let Err(error) = ended {
            // Whoever watched is gone: nothing is left to tell.
            drop(sender.send(Err(error.into())).await);
        }
    });
    ReceiverStream::new(receiver)
}

// === impl Seen ===

impl Seen {
    /// Everything is to be looked at.
    fn all(&self) -> WatchChangesResponse {
        WatchChangesResponse { all: true, uids: Vec::new(), store_id: self.store_id.to_string() }
    }
}

// === impl Source ===

impl Source {
    /// Until the receiver is gone.
    async fn follow(&self, wake: &Wake, sender: &mpsc::Sender<Result<WatchChangesResponse, Status>>) -> Result<()> {
        let mut news = wake.subscribe();
        // Seen before `all` is sent: what changes in between is told twice rather than never.
        let mut seen = self.look().await?;
        let mut message = Some(seen.all());
        loop {
            if let Some(message) = message.take()
                && sender.send(Ok(message)).await.is_err()
            {
                return Ok(());
            }
            // Woken or not, the next look tells.
            drop(timeout(POLL, news.changed()).await);
            let now = self.look().await?;
            let difference = now.distribution.since(&seen.distribution);
            if now.store_id != seen.store_id {
                // Restored: who watches looks at everything, and says when he has.
                message = Some(now.all());
            } else if now.status_seq != seen.status_seq || !difference.is_none() {
                message = self.changed(&seen, &difference).await?;
            }
            seen = now;
        }
    }

    async fn look(&self) -> Result<Seen> {
        let mut conn = self.pool.acquire().await?;
        let Head { store_id, status_seq, .. } = Head::read(&mut conn).await?;
        let live = Watermark::live(&mut conn).await?;
        Ok(Seen { status_seq, distribution: Distribution::new(&self.expected, &live), store_id })
    }

    async fn changed(&self, seen: &Seen, difference: &Difference) -> Result<Option<WatchChangesResponse>> {
        if difference.all {
            return Ok(Some(seen.all()));
        }
        let mut conn = self.pool.acquire().await?;
        let uids = uids(&mut conn, seen.status_seq, difference).await.map_err(Error::from)?;
        Ok(match uids.len() {
            0 => None,
            1..=UIDS_MAX => Some(WatchChangesResponse { all: false, uids, store_id: String::new() }),
            _ => Some(seen.all()),
        })
    }
}

/// Institutions that changed after `status_seq`, that a watermark passed, or that a refused resource belongs to.
async fn uids(conn: &mut PgConnection, status_seq: i64, difference: &Difference) -> sqlx::Result<Vec<String>> {
    let (above, up_to) = difference.passed.unzip();
    let refused: Vec<&String> = difference.refused.iter().collect();
    sqlx::query_scalar(
        "select i.uid from institution i
         where i.status_seq > $1
            or i.config_seq > $2 and i.config_seq <= $3
            or i.institution_id in (select institution_id from config_resource where uid = any($4))
            or i.institution_id in (select a.institution_id
                                    from association a
                                    join station s using (station_id)
                                    join broker b on b.fiscal_code = s.broker_fiscal_code
                                    where not a.removed and (s.uid = any($4) or b.uid = any($4)))
         limit $5",
    )
    .bind(status_seq)
    .bind(above)
    .bind(up_to)
    .bind(refused)
    .bind(i64::try_from(UIDS_MAX + 1).unwrap_or(i64::MAX))
    .fetch_all(conn)
    .await
}
