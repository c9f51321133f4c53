//! The whole as processes on a real API server, PostgreSQL and Kafka; driven by kubectl, the simulated node and gRPC.
//! Every test has a world, a namespace and a fiscal code of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod distribution;
mod inbox;
mod manifests;
mod portal;
mod quiet;
mod spine;
mod tidy;
mod town;
mod zeep;
