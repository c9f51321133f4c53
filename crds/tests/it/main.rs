//! The kinds, judged by a real API server.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod cluster;
mod examples;
mod expand;
mod generated;
mod install;
mod rules;
mod schema;
mod upgrade;
