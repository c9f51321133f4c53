//! The node-connector against a strict fake of tenant, a real PostgreSQL and the official schema.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod bulkheads;
mod client_certificates;
mod configuration;
mod deadlines;
mod dispatch;
mod faults;
mod hostile;
mod http_rules;
mod late_answers;
mod mtls;
mod notices;
mod process;
mod readback;
mod receipts;
mod renewal;
mod rig;
mod storage;
mod telemetry;
mod witness;
