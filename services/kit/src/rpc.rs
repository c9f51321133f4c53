//! gRPC between the parts: mTLS, an allow-list per method, deadlines, limits, health, reflection, trace context, metrics.
//!
//! ```text
//!  Channel -- mTLS, traceparent, actor --> accept -> observe -> guard -> service
//!     |  fewest calls in work                              |
//!     +--- a dead endpoint is out until it answers         +-- allow-list, concurrency, deadline
//! ```

mod balance;
mod channel;
mod connection;
mod guard;
mod methods;
mod observe;
mod server;
mod twice;

pub use channel::{Channel, connect};
pub use methods::every_method;
pub use server::{Limits, Server};
pub use twice::{call_twice, is_away};

/// Why a server or channel could not be made or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An endpoint is no `https://host:port`.
    #[error("failed to parse the endpoint {endpoint:?}: expected https://host:port")]
    Endpoint {
        /// What was given.
        endpoint: String,
    },
    /// A channel needs at least one endpoint and at most 64.
    #[error("failed to make a channel of {count} endpoints: expected 1 to 64")]
    Endpoints {
        /// How many were given.
        count: usize,
    },
    /// The name that servers must prove is no DNS name.
    #[error("failed to parse the server name {name:?}")]
    ServerName {
        /// What was given.
        name: String,
    },
    /// The actor is no visible ASCII, or longer than [`ACTOR_MAX`].
    #[error("failed to use the actor {actor:?} as a header: expected at most {ACTOR_MAX} visible ASCII characters")]
    Actor {
        /// What was given.
        actor: String,
    },
    /// The file descriptor set cannot be read.
    #[error("failed to decode the file descriptor set")]
    Descriptors(#[source] prost::DecodeError),
    /// Reflection could not be set up.
    #[error("failed to set up reflection")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// `Result` of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One line of a server's allow-list: who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allow {
    /// Full name as on the wire: `/fiorino.config.v1.ConfigApply/ApplyBundle`.
    pub method: &'static str,
    /// Names in the mesh: first DNS SANs.
    pub callers: &'static [&'static str],
}

/// Who called: the verified name in the mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// First DNS SAN of the client certificate.
    pub name: String,
}

/// Metadata key of the person or part on whose behalf a call is made.
pub const ACTOR: &str = "actor";

/// Longest actor, bytes: it is part of keys. A server refuses a longer one.
pub const ACTOR_MAX: usize = 128;

/// Who called. Requests that did not come through [`Server`] (unit tests of a service) have the peer `unverified`.
pub fn peer<T>(request: &tonic::Request<T>) -> Peer {
    request.extensions().get::<Peer>().cloned().unwrap_or_else(|| Peer { name: "unverified".to_owned() })
}

/// On whose behalf: metadata `actor`, else the peer's name.
pub fn actor<T>(request: &tonic::Request<T>) -> String {
    let named = request.metadata().get(ACTOR).and_then(|actor| actor.to_str().ok()).filter(|actor| !actor.is_empty());
    named.map_or_else(|| peer(request).name, str::to_owned)
}
