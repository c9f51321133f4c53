//! A whole Fiorino as processes: operator, tenant, two node-connectors, reporting, front-office, the simulated node and the OTLP sink.
//!
//! ```text
//! kubectl --> API server (given) <-- operator --> tenant <-- node-connector-1, -2 <-- simulator
//!                                                   |               |
//!                     PostgreSQL, Kafka (given) <---+---------------+--> reporting
//! ```
//! The servers are given; databases, roles, certificates, namespace and topic prefix are the world's own, so that several worlds
//! share the servers.

mod command;
mod crowd;
mod databases;
mod options;
mod processes;
mod ways;
mod world;

pub use crowd::{Appeared, Crowd};
pub use databases::SERVICES_WITH_DATABASE;
pub use options::Options;
pub use ways::Way;
pub use world::{Addresses, World};
