//! The reporting service: payments as tenant told them, for those who account for them.
//!
//! ```text
//!  tenant --outbox relay--> Kafka --> consumer --one transaction--> PostgreSQL: payments, offsets, parked messages
//!  tenant --ConfigStream--> configuration                              |
//!  dev, software of institutions <--Payments (gRPC)-- rpc <------------+
//! ```
//!
//! It changes no position: what it finds out about payments is evidence for tenant. [`Service`] puts the parts together; `main.rs`
//! runs one.

#![deny(clippy::float_arithmetic)]

mod cases;
pub mod config;
mod configuration;
mod consumer;
mod error;
pub mod fuzz;
mod numbers;
mod page;
mod parked;
mod payment;
mod rpc;
mod service;
pub mod store;

pub use config::Options;
pub use error::{Error, Result};
pub use payment::{Payment, Transfer, Unreadable};
pub use rpc::ALLOWED;
pub use service::{CONDITIONS, Error as ServiceError, Service, run};

/// The schema of reporting's database.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();
