//! `fiorino-tenant restore-check`: a person ends a restore (docs/backup.md). It talks to tenant and reporting over the mesh, as `restore`.

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use fiorino_kit::{
    clock::Clock,
    crypto, error,
    options::TlsOptions,
    rpc::{self, Channel},
    tls::{self, Identity},
};
use fiorino_proto::{
    payments::v1::{ListNumbersRequest, payments_client::PaymentsClient},
    restore::v1::{
        FinishRequest, GetStateRequest, GetStateResponse, Number, ObserveRequest, Raised, restore_client::RestoreClient,
    },
};
use tonic::{Request, Status};

/// Name in the mesh, and the actor.
const NAME: &str = "restore";

/// Between looks at what is waited for.
const LOOK: Duration = Duration::from_secs(1);

/// Longest wait for one answer.
const CALL: Duration = Duration::from_secs(30);

/// Ends a restore of tenant's database: waits for the operator and the node-connectors, then raises every sequence of notice numbers
#[derive(Debug, Clone, Parser)]
#[command(name = "fiorino-tenant restore-check", version)]
pub struct Options {
    /// Replicas of tenant, comma-separated `https://host:port`
    #[arg(long, env = "FIORINO_TENANT_ENDPOINTS", value_delimiter = ',', required = true, value_name = "URLS")]
    pub tenant_endpoints: Vec<String>,
    /// Replicas of reporting, comma-separated `https://host:port`
    #[arg(
        long,
        env = "FIORINO_REPORTING_ENDPOINTS",
        value_delimiter = ',',
        required_unless_present = "without_reporting",
        value_name = "URLS"
    )]
    pub reporting_endpoints: Vec<String>,
    /// Reporting is lost: do not ask it which numbers were paid
    #[arg(long, conflicts_with = "reporting_endpoints")]
    pub without_reporting: bool,
    /// The node-connectors are lost, or a receipt cannot be applied: do not wait until all were sent again
    #[arg(long)]
    pub without_receipts: bool,
    /// Longest wait for the operator and the node-connectors, in seconds
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    pub wait_seconds: u64,
    /// Identity in the mesh, whose name is `restore`
    #[command(flatten)]
    pub tls: TlsOptions,
}

/// Why a restore could not be ended: nothing was changed, and it can be tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Certificates.
    #[error("failed to load the identity in the mesh")]
    Identity(#[from] tls::Error),
    /// Endpoints.
    #[error("failed to use the endpoints")]
    Endpoints(#[from] rpc::Error),
    /// Somebody did not answer, or refused.
    #[error("failed to ask {whom}: {}", .status.message())]
    Call {
        /// Who was asked.
        whom: &'static str,
        /// What it said.
        status: Status,
    },
    /// What has to come first did not come.
    #[error("{missing} within {seconds} s")]
    Waited {
        /// What is missing, and what to do.
        missing: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// Nobody reads what is told.
    #[error("failed to write")]
    Write(#[from] io::Error),
}

/// All of the subcommand, from its command line to its exit code.
pub async fn main() -> ExitCode {
    crypto::install_ring();
    let options = Options::parse_from(std::env::args_os().skip(1));
    let mut told = io::stdout();
    match run(&options, &Clock::system(), &mut told).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where this cannot be written, the exit code tells.
            drop(writeln!(io::stderr(), "error: {}", error::chain(&error)));
            ExitCode::FAILURE
        }
    }
}

/// Ends the restore, telling each step.
///
/// # Errors
/// What is missing, or who does not answer.
pub async fn run(options: &Options, clock: &Clock, told: &mut (impl io::Write + Send)) -> Result<(), Error> {
    let identity = Identity::load(&options.tls)?;
    let mut tenant = RestoreClient::new(rpc::connect(&options.tenant_endpoints, "tenant", &identity, NAME)?);
    let state = state(&mut tenant).await?;
    if !state.restored {
        writeln!(told, "the database is not a restored one: there is nothing to do")?;
        return Ok(());
    }
    writeln!(told, "restored: {}", state.reason)?;
    writeln!(told, "what was written after {} may be lost", state.since)?;
    let state = ready(options, clock, &mut tenant, told).await?;
    if !options.without_reporting {
        let reporting = rpc::connect(&options.reporting_endpoints, "reporting", &identity, NAME)?;
        let numbers = observe(reporting, &mut tenant).await?;
        writeln!(told, "reporting knows {numbers} paid numbers")?;
    }
    let request = FinishRequest { store_id: state.store_id, without_receipts: options.without_receipts };
    let finished = tenant.finish(deadline(request)).await.map_err(|status| Error::Call { whom: "tenant", status })?;
    for Raised { institution, code, prefix, from, to } in finished.into_inner().raised {
        writeln!(told, "institution {institution} code {code} prefix {prefix:?}: {from} -> {to}")?;
    }
    writeln!(told, "the restore has ended: numbers are issued again")?;
    Ok(())
}

/// Waits until everything is configured and sent again.
async fn ready(
    options: &Options,
    clock: &Clock,
    tenant: &mut RestoreClient<Channel>,
    told: &mut impl io::Write,
) -> Result<GetStateResponse, Error> {
    let until = clock.monotonic() + Duration::from_secs(options.wait_seconds);
    let mut last = String::new();
    loop {
        let state = state(tenant).await?;
        let Some(missing) = missing(&state, options.without_receipts) else {
            if state.held_back > 0 {
                let held_back = state.held_back;
                writeln!(
                    told,
                    "{held_back} manifests are not applied: their receipts are refused until they are corrected"
                )?;
            }
            return Ok(state);
        };
        if missing != last {
            writeln!(told, "waiting: {missing}")?;
        }
        if clock.monotonic() >= until {
            return Err(Error::Waited { missing, seconds: options.wait_seconds });
        }
        last = missing;
        tokio::time::sleep(LOOK).await;
    }
}

fn missing(state: &GetStateResponse, without_receipts: bool) -> Option<String> {
    if !state.configured {
        return Some("the operator has not looked at every manifest: does it lead, and reach tenant?".to_owned());
    }
    if without_receipts || state.sent_again {
        return None;
    }
    Some(match state.remaining {
        0 => "no node-connector has sent its receipts again: do they run, and reach tenant?".to_owned(),
        remaining => {
            format!("{remaining} receipts are still to be applied: one that cannot be is in node-connector's log")
        }
    })
}

/// Tells tenant every number that reporting knows.
async fn observe(reporting: Channel, tenant: &mut RestoreClient<Channel>) -> Result<usize, Error> {
    let mut reporting = PaymentsClient::new(reporting);
    let (mut page_token, mut count) = (String::new(), 0);
    loop {
        let request = deadline(ListNumbersRequest { page_token });
        let page = reporting.list_numbers(request).await.map_err(|status| Error::Call { whom: "reporting", status })?;
        let page = page.into_inner();
        count += page.numbers.len();
        let numbers = page.numbers.into_iter();
        let numbers =
            numbers.map(|paid| Number { institution: paid.issuer, notice_number: paid.notice_number }).collect();
        let observed = tenant.observe(deadline(ObserveRequest { numbers })).await;
        observed.map_err(|status| Error::Call { whom: "tenant", status })?;
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(count);
        }
    }
}

async fn state(tenant: &mut RestoreClient<Channel>) -> Result<GetStateResponse, Error> {
    let state = tenant.get_state(deadline(GetStateRequest {})).await;
    state.map(tonic::Response::into_inner).map_err(|status| Error::Call { whom: "tenant", status })
}

fn deadline<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL);
    request
}
