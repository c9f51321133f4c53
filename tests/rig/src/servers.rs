//! Private servers on loopback, which end with their owner: for `xtask`, and for tests that stop, crash or fill them.

mod backup;
mod kafka;
mod postgres;
mod volume;

use std::time::Duration;

pub use backup::BaseBackup;
pub use kafka::{Kafka, Listener};
pub use postgres::Postgres;
pub use volume::Volume;

/// Longer than any server needs on a busy small machine; a server that ends is noticed at once.
pub const READY_DEADLINE: Duration = Duration::from_secs(90);

/// How careful a server is with what it stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing is worth keeping: no fsync.
    Fast,
    /// As in production.
    Durable,
    /// Its write-ahead log is archived, so that it can be brought back to any moment.
    Archived,
}
