//! Tells the streams of this process that there may be news; behind it stands each stream's own poll.

use std::{convert::Infallible, sync::Arc};

use fiorino_kit::backoff::Backoff;
use sqlx::{PgConnection, PgPool, postgres::PgListener};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Channel of `notify`: one message per change of configuration, by any replica. Never used where money is written.
const CHANNEL: &str = "fiorino_config";

/// Wakes whoever waits for news; cheap to clone.
#[derive(Debug, Clone)]
pub struct Wake {
    news: Arc<watch::Sender<()>>,
}

// === impl Wake ===

impl Wake {
    /// Something was committed by this process.
    pub fn wake(&self) {
        self.news.send_replace(());
    }

    /// Sees every wake from now on.
    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// Tells the other replicas at commit.
    pub(super) async fn notify(conn: &mut PgConnection) -> sqlx::Result<()> {
        sqlx::query("select pg_notify($1, '')").bind(CHANNEL).execute(conn).await?;
        Ok(())
    }

    /// Passes on what other replicas tell, until `token` is cancelled.
    pub async fn listen(self, pool: PgPool, token: CancellationToken) {
        let mut retry = Backoff::BACKGROUND.retry();
        let follow = async {
            loop {
                let Err(error) = self.follow(&pool, &mut retry).await;
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "notifications of the database are away, polling"
                );
                retry.wait().await;
            }
        };
        token.run_until_cancelled(follow).await;
    }

    async fn follow(&self, pool: &PgPool, retry: &mut fiorino_kit::backoff::Retry) -> sqlx::Result<Infallible> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.ignore_pool_close_event(false);
        listener.listen(CHANNEL).await?;
        loop {
            // `None` = the connection broke and is made again: something may have been missed.
            listener.try_recv().await?;
            retry.reset();
            self.wake();
        }
    }
}

impl Default for Wake {
    fn default() -> Self {
        Self { news: Arc::new(watch::Sender::new(())) }
    }
}
