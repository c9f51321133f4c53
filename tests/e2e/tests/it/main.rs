//! The whole as processes on a real API server, PostgreSQL and Kafka; driven by kubectl, the simulated node and gRPC.
//! Every test has a world, a namespace and a fiscal code of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod cases;
mod clusters;
mod conflict;
mod crowd;
mod distribution;
mod inbox;
mod manifests;
mod operators;
mod portal;
mod profiles;
mod quiet;
mod spine;
mod telemetry;
mod tidy;
mod zeep;
