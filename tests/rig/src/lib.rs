//! What `xtask` and the tests share, without a client of anything, so that `xtask` builds in seconds.

pub mod certs;
mod corpus;
mod host;
pub mod kubernetes;
mod pace;
mod poll;
mod ports;
mod process;
pub mod proxy;
pub mod servers;
mod stopwatch;

pub use corpus::{
    binary, contracts, grpcurl_bin, helm_bin, kubernetes_bin, python, samples, variable, web, workspace_root,
};
pub use host::{chromium, postgres_bin};
pub use kubernetes::Kubernetes;
pub use poll::{eventually, within};
pub use ports::free_port;
pub use process::{Process, Signal, Spec};
pub use stopwatch::Stopwatch;
