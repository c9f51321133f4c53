//! The front-office in this process, on a real database, with a scripted tenant over real gRPC; and its pages in a real browser.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod browser;
mod configuration;
mod hostile;
mod limits;
mod notices;
mod pages;
mod process;
mod support;
