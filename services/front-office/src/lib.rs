//! The front-office: the citizens' portal of every institution, rendered on the server.
//!
//! ```text
//!  browser --GET--> http: client's address, rate, institution by host name --> pages --askama--> HTML
//!                                                     |                          |
//!  tenant --ConfigStream--> site <--------------------+                        debt --ShowNotice--> tenant
//! ```
//!
//! It keeps no payment state: a debt is asked of tenant each time. What the browser says is never proof of anything. Pages are
//! Italian, and work without JavaScript and without cookies. [`Service`] puts the parts together; `main.rs` runs one.

mod asked;
mod config;
mod debt;
pub mod fuzz;
mod http;
mod italian;
mod metrics;
pub mod service;
pub mod site;

pub use config::Options;
pub use service::{Error, Service};

/// The schema of the front-office's database.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();
