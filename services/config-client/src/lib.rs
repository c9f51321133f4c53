//! A service's side of the configuration stream (ARCHITECTURE.md 3).
//!
//! ```text
//!  tenant --snapshot, deltas--> session --> Holding --view--> Handle::current (one atomic load)
//!     ^                           |            |
//!     +------- Ack, NACKs --------+            +--> saved copy in the service's own PostgreSQL
//! ```
//!
//! The service says what it makes of a resource ([`Projection`]). What it refuses stays as it was and is told to tenant; what
//! it accepts is in effect when it is acknowledged. Without tenant the service starts from the saved copy and serves on.

mod client;
mod copy;
mod follower;
pub mod fuzz;
mod handle;
mod holding;
mod metrics;
mod projection;
mod session;

pub use client::{Client, Options};
pub use copy::COPY_DDL;
pub use handle::{Handle, Progress};
pub use projection::{Projection, decode, known};
