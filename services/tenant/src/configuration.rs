//! Institutions' configuration as applied, and how it reaches the services (ARCHITECTURE.md 3).
//!
//! ```text
//!  operator --> apply: bundle (read) -> plan (pure) -> write, all under the head's row lock
//!                 |                                       |
//!                 +-- watch: uids whose status changed    +--> stream: snapshot, deltas --> replicas
//!  node-connector --> readback: what pagoPA shows --> registered, associated          |
//!  anybody --> read: status, with what live replicas acknowledged <-- watermark <-----+
//! ```
//!
//! One sequence per bundle: a replica takes a bundle over as a whole. Whoever writes holds the head's row until commit, so
//! commit order is sequence order and a reader that saw sequence n misses nothing below.

mod apply;
mod bundle;
mod distribution;
mod fence;
pub mod fuzz;
mod head;
mod node;
mod plan;
mod read;
mod readback;
mod rules;
mod spec;
mod status;
mod stream;
mod used;
mod wake;
mod watch;
mod watermark;
mod write;

pub use apply::Apply;
pub(crate) use fence::check as check_fence;
pub use fence::{Allowed, allow_lease};
pub(crate) use head::Head;
pub use node::{mark_node_connected, mark_status_changed};
pub use read::Read;
pub use readback::Readback;
pub use stream::Stream;
pub use wake::Wake;
