//! Tests of the tenant service on a real PostgreSQL, over the real mesh.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod access;
mod apply;
mod conflict;
mod distribution;
mod fence;
mod fixture;
mod manifest;
mod read;
mod readback;
mod schema;
mod stream;
mod watch;
mod money;
mod positions;
