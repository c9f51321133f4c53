//! Tells what is wrong with objects that no institution uses: nobody's reconcile looks at them.

use std::{sync::Arc, time::Duration};

use fiorino_kit::{backoff::Backoff, error::chain};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Context, apply::Result, status, validate::unused::unused};

/// Changes that come together are one look; an account that is applied together with its institution is the institution's at once.
const DEBOUNCE: Duration = Duration::from_millis(500);

/// After a status that could not be written.
const DELAYS: Backoff = Backoff { min: Duration::from_secs(1), max: Duration::from_mins(1), jitter: 25 };

/// Looks at the start, after each change, and now and then (Secrets are not watched), until `token` is cancelled.
pub async fn run(ctx: Arc<Context>, changed: Arc<Notify>, token: CancellationToken) {
    let mut retry = DELAYS.retry();
    loop {
        let looked = Box::pin(async {
            tokio::time::sleep(DEBOUNCE).await;
            ctx.tell_unused().await
        });
        let wait = match token.run_until_cancelled(looked).await {
            None => return,
            Some(Ok(())) => {
                retry.reset();
                ctx.resync()
            }
            Some(Err(error)) => {
                tracing::warn!(error = chain(&error), "failed to tell what is wrong with unused objects");
                retry.next_delay()
            }
        };
        // Nothing changed meanwhile: it is time for a look all the same.
        let news = tokio::time::timeout(wait, changed.notified());
        if token.run_until_cancelled(news).await.is_none() {
            return;
        }
    }
}

// === impl Context ===

impl Context {
    async fn tell_unused(&self) -> Result<()> {
        let objects = self.dereferencer.unused().await;
        let mut outcome = Ok(());
        for judged in unused(&objects, &self.rules) {
            let fixed = judged.subject.fixed_numbers.clone();
            let Some((patch, notices)) = status::object(&judged, fixed, self.clock.now()) else { continue };
            if let Err(error) = self.executor.patch(patch).await {
                // The others are told all the same.
                outcome = Err(error);
                continue;
            }
            for notice in notices {
                self.executor.events.publish(&notice).await;
            }
        }
        outcome
    }
}
