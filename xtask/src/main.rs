//! Everything that a person runs: `cargo xtask demo`, `cargo xtask test` and their smaller sisters.
//!
//! ```text
//! cli -> test ---------------+-> tools (what is installed and built once, under the cache)
//!     -> demo, up -> world --+-> parts (PostgreSQL, Kafka, API server: private, on loopback, ended by pid)
//! ```

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line speaks")]

mod assets;
mod bench;
mod cache;
mod cargo;
mod chaos;
mod cli;
mod crds;
mod demo;
mod installation;
mod parts;
mod report;
mod run;
mod say;
mod servers;
mod test;
mod tools;
mod up;

use std::process::ExitCode;

use clap::Parser as _;

#[tokio::main]
async fn main() -> ExitCode {
    // reqwest and tonic find it; nobody else installs one before.
    rustls::crypto::ring::default_provider().install_default().unwrap_or_default();
    match cli::Cli::parse().run().await {
        Ok(code) => code,
        Err(error) => {
            say::failure(&error);
            ExitCode::FAILURE
        }
    }
}
