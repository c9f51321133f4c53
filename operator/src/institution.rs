//! One reconcile per institution: its children, and what it refers to, are looked at together.
//!
//! ```text
//! dereference --> validate --> tell what is wrong --> plan --> apply --> status
//!  (caches,        (pure)       (within a second)     (pure)   (tenant)   (pure)
//!   Secrets)
//! ```
//!
//! Steps are data ([`plan::Step`]): what is going to happen can be printed without doing it.

pub mod absent;
pub mod apply;
pub mod bundle;
mod caches;
pub mod dereference;
mod memory;
pub mod plan;
pub mod reconcile;
pub mod secrets;
pub mod status;
pub mod subject;
pub mod unreadable;
pub mod unused;
pub mod validate;

pub use self::{
    caches::{Caches, Feeds},
    memory::{Memory, Remembered},
    reconcile::{Context, Error, Slots, reconcile},
    secrets::Secrets,
};
