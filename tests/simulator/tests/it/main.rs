//! The judge against the official samples and their mutations; the node against a station of this test's own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod command;
mod judge;
mod node;
mod oddity;
mod samples;
