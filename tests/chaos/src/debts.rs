//! Debts, made by the hundred, whatever is away meanwhile: the same references until it works.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use fiorino_e2e::town::{PATIENCE, Town, new_position};
use fiorino_proto::positions::v1::{
    CreatePositionsRequest, NewPosition, create_outcome::Outcome, positions_client::PositionsClient,
};
use fiorino_rig::Stopwatch;
use tokio::time::{sleep, timeout};
use tonic::transport::Endpoint;

use crate::institution::Institution;

/// For one attempt.
const ATTEMPT: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(200);

/// Makes debts.
#[derive(Debug, Clone)]
pub struct Debts {
    tenant: Endpoint,
}

// === impl Debts ===

impl Debts {
    /// In a town's tenant.
    ///
    /// # Errors
    /// When its certificates cannot be read.
    pub fn of(town: &Town) -> Result<Self> {
        Ok(Self { tenant: town.endpoint(&town.world.addresses().tenant_grpc, "tenant")? })
    }

    /// Tries until the debts are there; their notice numbers.
    ///
    /// # Errors
    /// The last one, when a minute was not enough.
    pub async fn create(&self, institution: &Institution, references: &[String]) -> Result<Vec<String>> {
        let begun = Stopwatch::start();
        loop {
            match timeout(ATTEMPT, self.attempt(institution, references)).await.map_err(Into::into).flatten() {
                Err(_) if begun.elapsed() < PATIENCE => sleep(RETRY).await,
                outcome => return outcome,
            }
        }
    }

    /// Tries once.
    ///
    /// # Errors
    /// When they cannot be made, or not all of them.
    pub async fn attempt(&self, institution: &Institution, references: &[String]) -> Result<Vec<String>> {
        let channel = self.tenant.connect().await?;
        let positions = references.iter().map(|reference| position(reference, institution.cents)).collect();
        let request = CreatePositionsRequest { institution: institution.names.fiscal_code.clone(), positions };
        let outcomes = PositionsClient::new(channel).create_positions(request).await?.into_inner().outcomes;
        let notice = |outcome| match outcome {
            Some(Outcome::Created(created)) => created.notice_numbers.into_iter().next().context("without a notice"),
            Some(Outcome::Refused(refused)) => bail!("refused: {refused:?}"),
            None => bail!("without an outcome"),
        };
        outcomes.into_iter().map(|outcome| notice(outcome.outcome)).collect()
    }
}

fn position(reference: &str, cents: i64) -> NewPosition {
    let mut position = new_position(reference);
    for instalment in position.options.iter_mut().flat_map(|option| &mut option.instalments) {
        instalment.amount_cents = cents;
    }
    position
}
