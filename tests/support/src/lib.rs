//! What a test needs and must not share: a database, a topic prefix, a namespace, a fiscal code, certificates. And HTTP by hand.
//!
//! The servers behind them are started once for all tests by `cargo xtask test`; everything here is safe to use from many
//! tests and processes at the same time.

mod database;
mod names;
mod parts;
pub mod raw;
pub mod schema;
mod texts;

pub use database::{TestDatabase, template_key};
pub use fiorino_rig::{
    Kubernetes, Process, Signal, Spec, Stopwatch, binary, certs, contracts, eventually, free_port, grpcurl_bin,
    helm_bin, kubernetes_bin, postgres_bin, proxy, samples, servers, within, workspace_root,
};
pub use names::{check_digit, fiscal_code, namespace, topic_prefix};
pub use parts::Parts;
pub use texts::{Judged, TextField, judge_texts, text_fields};
