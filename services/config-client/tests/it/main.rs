//! The client against a tenant that does as the test says, and a real PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod copy;
mod follow;
mod refuse;
mod script;
mod start;
