//! Reporting on a real PostgreSQL and a real Kafka.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod ahead;
mod anew;
mod consume;
mod parked;
mod plans;
mod process;
mod replicas;
mod rpc;
mod schema;
mod support;
mod texts;
mod traces;
