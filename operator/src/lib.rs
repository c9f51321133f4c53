//! The operator: custom resources to configured services.
//!
//! ```text
//! [ watches of 6 kinds ] --> [ Caches ] --+                         +--> [ tenant: ApplyBundle, MarkUnmanaged ]
//!           |                             |                         |
//!           +--> [ Queue ] --> [ controller: reconcile one institution ] --> [ statuses, Events, finalizers ]
//!                    ^                                              |
//! [ tenant: WatchChanges ] ----------------------------------------- [ tenant: GetInstitution ]
//! ```
//!
//! One replica leads ([`runtime::lease`]); the others hold warm caches. [`institution`] is where the rules are.

pub mod backoff;
pub mod conditions;
pub mod config;
pub mod events;
pub mod institution;
pub mod metrics;
mod operator;
pub mod runtime;
pub mod seal;
pub mod tenant;

pub use self::{
    config::{Environment, Options},
    operator::{Error, Operator},
};
