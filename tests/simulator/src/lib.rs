//! The pagoPA node and a payment service provider, as far as a station of ours can tell the difference.
//!
//! ```text
//!  tests, demo --HTTP--> [control] --> [node] --SOAP, mTLS--> station (ours)
//!                            |            |                      |
//!                        [registry]   [delivery: receipts]   [judge] <- raw bytes of every answer
//!                            |
//!                       [backoffice] <--REST, subscription key-- node-connector (ours)
//! ```
//!
//! The registry starts empty: nothing is payable until somebody registers broker, station, institution and accounts, as in
//! pagoPA's Backoffice. The judge shares no code with our writer: it knows the contract from the documents alone.

pub mod backoffice;
pub mod clock;
pub mod control;
pub mod judge;
pub mod messages;
pub mod node;
pub mod registry;
pub mod station;

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{node::Node, registry::Registry, station::StationClient};

/// What the simulator needs to know at start; everything else comes through the control API.
#[derive(Debug, Clone)]
pub struct Options {
    /// Time between two attempts to deliver a receipt; one hour at the real node.
    pub receipt_retry: Duration,
    /// Attempts after which a receipt stays pending; 48 at the real node.
    pub receipt_attempts: u32,
    /// How long a payment token is valid; 30 minutes at the real node.
    pub token_validity: Duration,
    /// How long a station may take to answer a verify or a request of payment; 7 s at the real node.
    pub notice_timeout: Duration,
    /// How long a station may take to answer a receipt; 15 s at the real node.
    pub receipt_timeout: Duration,
    /// The node's client certificate, its key and the authority of the stations' certificates: PEM.
    pub client_identity: Option<station::ClientIdentity>,
}

/// The running simulator.
#[derive(Debug, Clone)]
pub struct Simulator {
    /// Institutions, stations, accounts as registered at pagoPA.
    pub registry: Arc<Registry>,
    /// The node itself.
    pub node: Arc<Node>,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            receipt_retry: Duration::from_hours(1),
            receipt_attempts: 48,
            token_validity: Duration::from_mins(30),
            notice_timeout: Duration::from_secs(7),
            receipt_timeout: Duration::from_secs(15),
            client_identity: None,
        }
    }
}

// === impl Simulator ===

impl Simulator {
    /// Builds the simulator and starts its delivery of receipts, which ends with `token`.
    ///
    /// # Errors
    /// When the client certificate cannot be read.
    pub fn start(options: &Options, token: &CancellationToken) -> anyhow::Result<Self> {
        let registry = Arc::new(Registry::default());
        let client = StationClient::new(options)?;
        let node = Arc::new(Node::new(Arc::clone(&registry), client, options));
        tokio::spawn(node::delivery::run(Arc::clone(&node), token.clone()));
        Ok(Self { registry, node })
    }

    /// Control API and Backoffice external API.
    pub fn router(&self) -> axum::Router {
        control::router(self.clone()).merge(backoffice::router(Arc::clone(&self.registry)))
    }
}
