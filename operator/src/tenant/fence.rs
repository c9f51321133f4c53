//! The number by which tenant tells the leader from a deposed one (ARCHITECTURE.md 3.2).

use std::{sync::Arc, time::Duration};

use fiorino_kit::rpc::Channel;
use fiorino_proto::config::v1::{AcquireFenceRequest, config_apply_client::ConfigApplyClient};
use tokio::sync::Mutex;

use super::{Result, deadline};
use crate::runtime::lease::Held;

const TIMEOUT: Duration = Duration::from_secs(2);

/// Asked of tenant when it is first needed; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Fence {
    client: ConfigApplyClient<Channel>,
    held: Arc<Held>,
    platform: String,
    number: Arc<Mutex<Option<i64>>>,
}

// === impl Fence ===

impl Fence {
    pub(super) fn new(client: ConfigApplyClient<Channel>, held: Held, platform: String) -> Self {
        Self { client, held: Arc::new(held), platform, number: Arc::default() }
    }

    /// The fence; one caller asks, the others wait for his answer.
    pub(super) async fn current(&self) -> Result<i64> {
        let mut number = self.number.lock().await;
        if let Some(number) = *number {
            return Ok(number);
        }
        let message = AcquireFenceRequest {
            lease_uid: self.held.uid.clone(),
            lease_transitions: self.held.transitions,
            platform: self.platform.clone(),
        };
        let fence = self.client.clone().acquire_fence(deadline(message, TIMEOUT)).await?.into_inner().fence;
        tracing::info!(fence, "acquired the fence");
        *number = Some(fence);
        Ok(fence)
    }

    /// Tenant does not know this number any more.
    pub(super) async fn forget(&self, stale: i64) {
        let mut number = self.number.lock().await;
        if *number == Some(stale) {
            *number = None;
        }
    }
}
