//! The node-connector: what the pagoPA node calls.
//!
//! ```text
//!  node --paVerify, paGetPayment--> http --> notices --VerifyMany, ActivateMany--> tenant
//!  node --paSendRT(V2)-----------> http --> receipts --> PostgreSQL inbox --> dispatcher --ApplyReceipts--> tenant
//!  pagoPA's Backoffice <--read-- backoffice --RecordReadback--> tenant
//!  tenant --ConfigStream--> projection: whose is a message?
//! ```
//!
//! It never decides whether a debt is payable: tenant does. A receipt is committed before it is judged and answered after.
//! [`Service`] puts the parts together; `main.rs` runs one.

mod addressee;
mod backoffice;
mod config;
mod database;
mod dispatcher;
pub mod fuzz;
mod http;
mod metrics;
mod notices;
mod parse;
pub mod projection;
mod receipts;
mod refused;
pub mod service;
mod witness;

pub use backoffice::Intervals;
pub use config::{NodeOptions, Options};
pub use http::{Limits, client_auth, listener, listener::Bounds, tls};
pub use service::{Addresses, Error, Service, Tuning};

/// The statement that takes receipts in, for whoever wants to see its plan.
pub const RECEIPTS_STATEMENT: &str = receipts::insert::INSERT_BATCH;

/// The schema of the node-connector's database.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();
