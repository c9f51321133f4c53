//! Bodies in which no receipt was found.

use fiorino_kit::telemetry::identifier;

use super::{Arrival, NotWritten, Receipts};

// === impl Receipts ===

impl Receipts {
    /// Keeps a body in which no receipt was found, if there is room: alarm.
    pub(crate) async fn keep_unreadable(&self, arrival: Arrival, reason: &str) -> Result<(), &'static str> {
        self.metrics.unreadable();
        let deadline = arrival.deadline;
        let message = self.raw(arrival);
        let keep = || async { Ok(self.inbox.unreadable(&message, reason, self.unreadable_bytes).await?) };
        let kept = self.write(deadline, self.write_within, keep).await;
        // What could not be written has been told.
        let (told, answered) = if kept.map_err(|NotWritten(reason)| reason)? {
            ("in unreadable_message", Ok(()))
        } else {
            self.metrics.not_taken("no_room");
            ("nowhere: unreadable_message has no room", Err("too many messages that cannot be read are kept"))
        };
        // The reason may name elements, which a caller can call what he likes: it stands in the row alone.
        tracing::error!(
            request_id = identifier(&message.request_id),
            bytes = message.body.len(),
            path_station = identifier(&message.path_station),
            kept = told,
            "unreadable message"
        );
        answered
    }
}
