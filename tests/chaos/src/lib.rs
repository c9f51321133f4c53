//! Bad days, made to order: real processes are killed, hung, cut off and starved under load, and in the end what the node was
//! answered is compared with what is in the tables (docs/chaos.md).
//!
//! ```text
//!  [load] -- [node]: unique receipts, verify, get --> proxies --> node-connectors --> proxies --> tenant, databases, Kafka, reporting
//!     |         |                                        ^                               ^
//!     |      [ledger] what was answered, and when     [run] draws from [fault], injects, heals; [stage] has the servers
//!     +--------> [compare] answered = inbox = applied = reported, each once; nothing paid twice; nothing answered late
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a test fails by panicking"
)]

pub mod compare;
pub mod debts;
pub mod fault;
pub mod gate;
pub mod institution;
pub mod ledger;
pub mod load;
pub mod node;
pub mod restored;
pub mod run;
pub mod stage;
pub mod visitor;
