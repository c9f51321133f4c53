//! A database that went back in time: how it is known, what is not done until it is whole again, and what brings it there
//! (ARCHITECTURE.md 4.2, docs/backup.md).
//!
//! ```text
//!  origin: server of PostgreSQL, timeline --+
//!  stream: a saved copy is ahead -----------+--> suspected --> no number, "not yet known"
//!  blocks: a witness is ahead --------------+        |
//!                                                    +-- operator: Complete; node-connector: receipts again
//!                                                    +-- restore-check: Finish raises every sequence --> over
//! ```

mod blocks;
pub mod check;
mod finish;
mod gate;
mod monitor;
mod origin;
mod points;
mod rpc;
mod witness;

pub use blocks::Blocks;
pub use gate::Gated;
pub(crate) use gate::guard;
pub use monitor::Monitor;
pub(crate) use origin::{compare_copy, complete};
pub use rpc::Restore;
pub use witness::Witness;
