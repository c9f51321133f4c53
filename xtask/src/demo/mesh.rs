//! Tenant and reporting as the person at the keyboard calls them: certificate `dev`.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fiorino_proto::cases::v1::ListCasesRequest;
use fiorino_proto::cases::v1::cases_client::CasesClient;
use fiorino_proto::payments::v1::payments_client::PaymentsClient;
use fiorino_proto::payments::v1::{ListPaymentsRequest, PaymentRecorded};
use fiorino_proto::positions::v1::positions_client::PositionsClient;
use fiorino_proto::positions::v1::{
    CreatePositionRequest, Debtor, GetPositionRequest, InstalmentState, MapEntry, NewInstalment, NewOption,
    NewPosition, NewTransfer, PersonKind, get_position_request,
};
use fiorino_rig::certs::Identity;
use fiorino_rig::eventually;
use jiff::ToSpan as _;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

/// How long an effect may take to be seen.
const EFFECT_DEADLINE: Duration = Duration::from_secs(30);

/// What the demo asks for: 120.00 euro.
pub(crate) const AMOUNT_CENTS: i64 = 12_000;
/// Of these, what is the province's.
const TEFA_CENTS: i64 = 2_000;

/// Clients of both services.
#[derive(Debug, Clone)]
pub(crate) struct Services {
    tenant: Channel,
    reporting: Channel,
}

// === impl Services ===

impl Services {
    /// Connects when first used.
    pub(crate) fn new(tenant: &str, reporting: &str, identity: &Identity) -> Result<Self> {
        Ok(Self { tenant: channel(tenant, "tenant", identity)?, reporting: channel(reporting, "reporting", identity)? })
    }

    /// Creates a debt of a citizen and answers with its notice number; without transfers its service divides it.
    pub(crate) async fn create_debt(
        &self,
        institution: &str,
        service: &str,
        reference: &str,
        transfers: Vec<NewTransfer>,
    ) -> Result<String> {
        let instalment = NewInstalment {
            amount_cents: AMOUNT_CENTS,
            due_date: due_date()?,
            description: "Tassa sui rifiuti, prima rata".to_owned(),
            transfers,
            ..NewInstalment::default()
        };
        let position = NewPosition {
            client_reference: reference.to_owned(),
            service_code: service.to_owned(),
            description: "Tassa sui rifiuti".to_owned(),
            debtor: Some(debtor()),
            options: vec![NewOption { description: "Rata unica".to_owned(), instalments: vec![instalment] }],
            ..NewPosition::default()
        };
        let request = CreatePositionRequest { institution: institution.to_owned(), position: Some(position) };
        let answer = PositionsClient::new(self.tenant.clone()).create_position(request).await?.into_inner();
        let position = answer.position.context("tenant answered without the position")?;
        let notice = position.options.first().and_then(|option| option.instalments.first());
        Ok(notice.context("the position has no instalment")?.notice_number.clone())
    }

    /// Waits until the debt of a notice is paid by `receipt_id`.
    pub(crate) async fn debt_paid(&self, institution: &str, notice: &str, receipt_id: &str) -> Result<()> {
        let read = async || {
            let by = get_position_request::By::NoticeNumber(notice.to_owned());
            let request = GetPositionRequest { institution: institution.to_owned(), by: Some(by) };
            let answer = PositionsClient::new(self.tenant.clone()).get_position(request).await?.into_inner();
            let position = answer.position.context("no position")?;
            let mut instalments = position.options.iter().flat_map(|option| &option.instalments);
            let ours = instalments.find(|instalment| instalment.notice_number == notice).context("no such notice")?;
            ensure!(ours.state() == InstalmentState::Paid, "the notice is {}", ours.state().as_str_name());
            ensure!(ours.receipt_id == receipt_id, "paid by receipt {}, not {receipt_id}", ours.receipt_id);
            Ok(())
        };
        eventually(EFFECT_DEADLINE, read).await
    }

    /// Waits until reporting tells the payment of a notice.
    pub(crate) async fn payment(&self, institution: &str, notice: &str) -> Result<PaymentRecorded> {
        let read = async || {
            let request = ListPaymentsRequest {
                institution: institution.to_owned(),
                notice_number: notice.to_owned(),
                page_size: 10,
                page_token: String::new(),
            };
            let answer = PaymentsClient::new(self.reporting.clone()).list_payments(request).await?.into_inner();
            answer.payments.into_iter().next().context("reporting does not know the payment yet")
        };
        eventually(EFFECT_DEADLINE, read).await
    }

    /// Looks whether something odd waits for a person, in either service.
    pub(crate) async fn no_cases(&self) -> Result<()> {
        for (name, service) in [("tenant", &self.tenant), ("reporting", &self.reporting)] {
            let request = ListCasesRequest::default();
            let cases = CasesClient::new(service.clone()).list_cases(request).await?.into_inner().cases;
            let kinds: Vec<_> = cases.iter().map(|case| case.kind.as_str()).collect();
            ensure!(kinds.is_empty(), "{name} has cases: {}", kinds.join(", "));
        }
        Ok(())
    }
}

/// The waste tax, and TEFA on top of it for a province: parts to the cent, with the metadata that both are to carry.
pub(crate) fn tari_and_tefa(province: &str) -> Vec<NewTransfer> {
    let metadata = |id: u32, tribute: &str| {
        vec![MapEntry { key: format!("TARI-TEFA-{id}"), value: format!("A000|2026|{tribute}") }]
    };
    let tari = NewTransfer {
        amount_cents: AMOUNT_CENTS - TEFA_CENTS,
        metadata: metadata(1, "3944"),
        ..NewTransfer::default()
    };
    let tefa = NewTransfer {
        amount_cents: TEFA_CENTS,
        beneficiary: province.to_owned(),
        account: "tefa".to_owned(),
        taxonomy_code: "9/0201102IM/".to_owned(),
        remittance: "TEFA 2026".to_owned(),
        metadata: metadata(2, "TEFA"),
        ..NewTransfer::default()
    };
    vec![tari, tefa]
}

fn channel(url: &str, name: &str, identity: &Identity) -> Result<Channel> {
    let tls = ClientTlsConfig::new()
        .domain_name(name)
        .ca_certificate(Certificate::from_pem(fs_err::read(&identity.ca)?))
        .identity(tonic::transport::Identity::from_pem(fs_err::read(&identity.cert)?, fs_err::read(&identity.key)?));
    let endpoint = Endpoint::from_shared(url.to_owned())?.timeout(Duration::from_secs(10)).tls_config(tls)?;
    Ok(endpoint.connect_lazy())
}

/// A citizen of a test: pagoPA's own example of a fiscal code.
fn debtor() -> Debtor {
    Debtor {
        kind: PersonKind::Natural.into(),
        fiscal_code: "RSSMRA85T10A562S".to_owned(),
        full_name: "Mario Rossi".to_owned(),
        ..Debtor::default()
    }
}

/// In a month.
#[expect(clippy::disallowed_methods, reason = "the demo's debt is due a month after the real today")]
fn due_date() -> Result<String> {
    let today = jiff::Zoned::now().in_tz("Europe/Rome")?.date();
    Ok(today.checked_add(1.month())?.to_string())
}
