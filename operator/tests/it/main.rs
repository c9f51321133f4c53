//! The operator: its rules as tables and properties, the whole of it against a real API server and a strict tenant.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod chart;
mod cluster;
mod complaining;
mod elections;
mod examples;
mod lifecycle;
mod passes;
mod planning;
mod postal;
mod publishing;
mod reconciling;
mod stating;
mod tenant;
mod validating;
mod watching;
mod world;
