//! Bad days: every outage of ARCHITECTURE.md 5.1 as a test, death at every point, and a short run of everything.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod clocks;
mod disk;
mod outages;
mod points;
mod restored;
mod short;
