//! The fuzz targets in the tests.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod targets;
