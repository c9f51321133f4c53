//! What leaves for an SRE: traces, metrics, logs. Enough to follow a payment and to see trouble, and nothing personal.

mod canary;
mod databases;
mod documented;
mod kafka;
mod messages;
mod personal;
mod red;
mod scrape;
mod sink;
mod trace;
mod visitors;

use fiorino_e2e::town::{PATIENCE, Town};
