//! The messages of paForNode, held against the official schema, the samples and the reference.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod answers;
mod arbitrary;
mod conformance;
mod examples;
mod facets;
mod faults;
mod hash;
mod hostile;
mod messages;
mod receipts;
mod samples;
mod structure;
mod tolerance;
mod xsd;
