//! Kit against real parts: PostgreSQL, Kafka, TLS, an OTLP receiver.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod admin;
mod batch;
mod copies;
mod lease;
mod mesh;
mod outbox;
mod rpc_access;
mod rpc_failover;
mod rpc_limits;
mod schema;
mod stale;
mod store;
mod telemetry;
mod tls;
