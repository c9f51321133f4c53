//! Tests of the tenant service on a real PostgreSQL, over the real mesh.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod access;
mod again;
mod ahead;
mod apply;
mod bulkheads;
mod cases;
mod changes;
mod conflict;
mod display;
mod distribution;
mod fence;
mod fixture;
mod manifest;
mod money;
mod notices;
mod numbers;
mod payable;
mod plans;
mod positions;
mod process;
mod read;
mod readback;
mod receipts;
mod restore;
mod restored;
mod schema;
mod sequences;
mod shares;
mod stream;
mod texts;
mod topics;
mod watch;
