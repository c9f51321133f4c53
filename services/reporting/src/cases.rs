//! Cases of this service: its kinds, and those of messages that the version before parked. What people do with them is
//! `fiorino_cases`.

use std::time::Duration;

use fiorino_domain::case::CaseKind;
use sqlx::PgPool;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::store;

/// Kinds that this service opens.
pub(crate) const KINDS: &[CaseKind] = &[CaseKind::MessagePoison, CaseKind::MessagesExpired, CaseKind::TopicReplaced];

/// How often it is looked whether a replica of the version before parked something.
const PERIOD: Duration = Duration::from_secs(15);

/// Gives their cases to messages that a replica of the version before parks during a rollout, until `token` is cancelled.
pub(crate) async fn adopt(pool: PgPool, token: CancellationToken) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while token.run_until_cancelled(ticks.tick()).await.is_some() {
        if let Err(error) = store::adopt(&pool).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "failed to open the cases of parked messages");
        }
    }
}
