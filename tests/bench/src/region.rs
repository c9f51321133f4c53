//! A region as it is on an ordinary day: its institutions and their open notices.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use fiorino_proto::positions::v1::{
    CreatePositionsRequest, Debtor, NewInstalment, NewOption, NewPosition, PersonKind, create_outcome::Outcome,
    positions_client::PositionsClient,
};
use fiorino_world::World;
use rand::seq::SliceRandom as _;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::{
    load::{self, Caller, Pace},
    report::Report,
};

pub(crate) const BROKER: &str = "15376371009";
pub(crate) const STATION: &str = "15376371009_01";
pub(crate) const IBAN: &str = "IT60X0542811101000000123456";
pub(crate) const SERVICE: &str = "TARI";
/// Of every notice, in cents.
pub(crate) const AMOUNT_CENTS: i64 = 12_000;

/// Positions of one `CreatePositions`.
const BATCH: usize = 500;
/// Callers that load at the same time.
const LOADERS: usize = 4;

/// Institutions and notices in random order: whoever takes the next ones draws uniformly, and nobody draws one twice.
#[derive(Debug)]
pub(crate) struct Region {
    pub(crate) institutions: Vec<String>,
    notices: Vec<Notice>,
}

/// A notice that can be paid.
#[derive(Debug, Clone)]
pub(crate) struct Notice {
    /// Fiscal code.
    pub(crate) institution: Arc<str>,
    pub(crate) number: Box<str>,
}

/// Loads positions, a batch a call.
struct Loader {
    client: PositionsClient<Channel>,
    institutions: Arc<Vec<Arc<str>>>,
    made: Arc<Mutex<Vec<Notice>>>,
}

// === impl Region ===

impl Region {
    /// Loads notices of the institutions through the calls that everybody uses.
    ///
    /// # Errors
    /// When one of them is refused.
    pub(crate) async fn load(world: &World, codes: Vec<String>, notices: usize, report: &mut Report) -> Result<Self> {
        let shared: Arc<Vec<Arc<str>>> = Arc::new(codes.iter().map(|code| Arc::from(code.as_str())).collect());
        let made = Arc::new(Mutex::new(Vec::with_capacity(notices)));
        let mut loaders = Vec::new();
        for _ in 0..LOADERS {
            let client = PositionsClient::new(channel(world, "dev").await?);
            loaders.push(Loader { client, institutions: Arc::clone(&shared), made: Arc::clone(&made) });
        }
        let calls = notices.div_ceil(BATCH) as u64;
        let loaded = load::run(loaders, Pace::Closed, calls, Duration::MAX / 4).await?.all_well("loading notices")?;
        report.created_in_batches(loaded.rate() * BATCH as f64, BATCH, LOADERS);
        let mut notices = std::mem::take(&mut *made.lock().unwrap_or_else(PoisonError::into_inner));
        notices.shuffle(&mut rand::rng());
        Ok(Self { institutions: codes, notices })
    }

    /// Notices that nobody took before.
    ///
    /// # Errors
    /// When there are not so many.
    pub(crate) fn take(&self, range: std::ops::Range<usize>) -> Result<&[Notice]> {
        let loaded = self.notices.len();
        self.notices.get(range.clone()).with_context(|| format!("{range:?} of {loaded} notices: load more"))
    }
}

impl Caller for Loader {
    async fn call(&mut self, index: u64) -> Result<()> {
        let at = usize::try_from(index)? % self.institutions.len();
        let institution = Arc::clone(&self.institutions[at]);
        let positions = (0..BATCH).map(|place| position(&format!("load-{index}-{place}"))).collect();
        let request = CreatePositionsRequest { institution: institution.to_string(), positions };
        let outcomes = self.client.create_positions(request).await?.into_inner().outcomes;
        let mut numbers = Vec::with_capacity(BATCH);
        for outcome in outcomes {
            match outcome.outcome {
                Some(Outcome::Created(created)) => numbers.extend(created.notice_numbers),
                refused => anyhow::bail!("{refused:?}"),
            }
        }
        ensure!(numbers.len() == BATCH, "{} of {BATCH} created", numbers.len());
        let notice = |number: String| Notice { institution: Arc::clone(&institution), number: number.into() };
        self.made.lock().unwrap_or_else(PoisonError::into_inner).extend(numbers.into_iter().map(notice));
        Ok(())
    }
}

/// A client of tenant under a name of the mesh.
///
/// # Errors
/// When tenant does not answer.
pub(crate) async fn channel(world: &World, name: &str) -> Result<Channel> {
    let identity = world.mesh().identity(name);
    let tls = ClientTlsConfig::new()
        .domain_name("tenant")
        .ca_certificate(Certificate::from_pem(fs_err::read(&identity.ca)?))
        .identity(Identity::from_pem(fs_err::read(&identity.cert)?, fs_err::read(&identity.key)?));
    Ok(Endpoint::from_shared(world.addresses().tenant_grpc.clone())?.tls_config(tls)?.connect().await?)
}

/// A debt of one notice.
pub(crate) fn position(client_reference: &str) -> NewPosition {
    let debtor = Debtor {
        kind: PersonKind::Natural.into(),
        fiscal_code: "RSSMRA80A01H501U".to_owned(),
        full_name: "Mario Rossi".to_owned(),
        street_name: "Via Roma".to_owned(),
        civic_number: "1".to_owned(),
        postal_code: "00100".to_owned(),
        city: "Roma".to_owned(),
        province: "RM".to_owned(),
        country: "IT".to_owned(),
        email: "mario.rossi@example.org".to_owned(),
    };
    let instalment = NewInstalment {
        amount_cents: AMOUNT_CENTS,
        due_date: "2027-06-16".to_owned(),
        description: "TARI 2026 rata unica".to_owned(),
        ..NewInstalment::default()
    };
    NewPosition {
        client_reference: client_reference.to_owned(),
        service_code: SERVICE.to_owned(),
        description: "TARI 2026".to_owned(),
        debtor: Some(debtor),
        options: vec![NewOption { description: "Unica rata".to_owned(), instalments: vec![instalment] }],
        ..NewPosition::default()
    }
}
