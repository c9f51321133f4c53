//! The tenant service: institutions' configuration as applied, debt positions, notice numbers, payments, cases.
//!
//! ```text
//!  operator --ConfigApply--> configuration --ConfigStream--> node-connector, reporting
//!  node-connector --Notices, Receipts--> notices, receipts --+
//!  dev, front-office --Positions--> positions ---------------+--> PostgreSQL --outbox relay--> Kafka
//! ```
//!
//! [`Service`] puts the parts together; `main.rs` runs one.

pub mod admin;
pub mod cases;
pub mod config;
pub mod configuration;
mod context;
mod error;
mod key;
pub mod nav;
pub mod notices;
pub mod positions;
pub mod receipts;
pub mod restore;
mod rpc;
pub mod service;

pub use config::{Environment, Options};
pub use context::{Context, Pools};
pub use error::{Error, Result, Violation};
pub use rpc::ALLOWED;
pub use service::Service;

/// The schema of tenant's database.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();
