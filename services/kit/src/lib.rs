//! What every service needs and no service owns.
//!
//! ```text
//!  main = process::run: ring -> clap (options) -> telemetry -> probes beside the service's work, until a signal
//!  work = tls::Identity, store::connect, kafka::producer -> rpc::Server, outbox::Relay, .. under one token
//! ```
//!
//! | module | gives |
//! |---|---|
//! | [`clock`] | the only time in the product: system or manual |
//! | [`options`] | clap groups that every process shares, printed redacted |
//! | [`telemetry`], [`trace`] | traces, metrics, JSON logs; W3C context through HTTP, gRPC, Kafka and tables |
//! | [`crypto`], [`tls`], [`seal`] | one rustls provider, the mesh's certificates, sealed values |
//! | [`rpc`] | gRPC between the parts: mTLS, an allow-list per method, balanced channels |
//! | [`http`] | HTTP/1.1 for strangers: bounded connections, heads, answers |
//! | [`store`], [`lease`], [`outbox`], [`kafka`] | PostgreSQL pools, leased shards, the relay to Kafka |
//! | [`batch`], [`backoff`], [`error`] | natural batching, jittered delays, errors as one line |
//! | [`process`], [`admin`], [`shutdown`] | the life of a process, probes and metrics over HTTP, signals |
//! | [`fault`] | what tests break in a debug build |
//!
//! Kit knows nothing of payments: whatever names a domain term belongs to a service or to `fiorino-domain`.

pub mod admin;
pub mod backoff;
pub mod batch;
pub mod clock;
pub mod copies;
pub mod crypto;
pub mod error;
pub mod fault;
pub mod http;
pub mod kafka;
pub mod lease;
pub mod options;
pub mod outbox;
pub mod process;
pub mod rpc;
pub mod seal;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod trace;
