//! Debts, made by the hundred, whatever is away meanwhile: the same references until it works.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use fiorino_e2e::town::{PATIENCE, Town, new_position};
use fiorino_proto::positions::v1::{
    CreatePositionsRequest, create_outcome::Outcome, positions_client::PositionsClient,
};
use fiorino_rig::Stopwatch;
use tokio::time::{sleep, timeout};
use tonic::transport::Endpoint;

/// For one attempt.
const ATTEMPT: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(200);

/// Makes debts of one institution.
#[derive(Debug, Clone)]
pub struct Debts {
    tenant: Endpoint,
    institution: String,
}

// === impl Debts ===

impl Debts {
    /// Of the town's municipality.
    ///
    /// # Errors
    /// When its certificates cannot be read.
    pub fn of(town: &Town) -> Result<Self> {
        let tenant = town.endpoint(&town.world.addresses().tenant_grpc, "tenant")?;
        Ok(Self { tenant, institution: town.names.fiscal_code.clone() })
    }

    /// Tries until the debts are there; their notice numbers.
    ///
    /// # Errors
    /// The last one, when a minute was not enough.
    pub async fn create(&self, references: &[String]) -> Result<Vec<String>> {
        let begun = Stopwatch::start();
        loop {
            match timeout(ATTEMPT, self.attempt(references)).await.map_err(Into::into).flatten() {
                Err(_) if begun.elapsed() < PATIENCE => sleep(RETRY).await,
                outcome => return outcome,
            }
        }
    }

    async fn attempt(&self, references: &[String]) -> Result<Vec<String>> {
        let channel = self.tenant.connect().await?;
        let positions = references.iter().map(|reference| new_position(reference)).collect();
        let request = CreatePositionsRequest { institution: self.institution.clone(), positions };
        let outcomes = PositionsClient::new(channel).create_positions(request).await?.into_inner().outcomes;
        let notice = |outcome| match outcome {
            Some(Outcome::Created(created)) => created.notice_numbers.into_iter().next().context("without a notice"),
            Some(Outcome::Refused(refused)) => bail!("refused: {refused:?}"),
            None => bail!("without an outcome"),
        };
        outcomes.into_iter().map(|outcome| notice(outcome.outcome)).collect()
    }
}
