//! The sink as its users see it: OTLP in by gRPC, JSON out by HTTP, Zipkin on to a viewer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod forward;
mod query;
mod rig;
