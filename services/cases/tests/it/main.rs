//! What people do with cases, on a real PostgreSQL with the tables of a service; and the page that says what each kind is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod documented;
mod service;
