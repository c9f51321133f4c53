//! What keeps the operator running: who leads, what is watched, what is to be reconciled.

pub mod cache;
pub mod call;
pub mod lease;
pub mod queue;
