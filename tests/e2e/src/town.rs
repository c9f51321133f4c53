//! A municipality in a world of its own: its manifests, its registration at the simulated pagoPA, its debts.

mod names;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fiorino_proto::{
    payments::v1::{ListPaymentsRequest, PaymentRecorded, payments_client::PaymentsClient},
    positions::v1::{
        CreatePositionRequest, Debtor, GetPositionRequest, NewInstalment, NewOption, NewPosition, PersonKind, Position,
        get_position_request::By, positions_client::PositionsClient,
    },
};
use fiorino_test_support::eventually;
use fiorino_world::{Options, World};
use serde_json::{Value, json};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

pub use self::names::Names;
use self::names::SUBSCRIPTION_KEY;

/// Long enough for a busy machine; a broken system is found by the assertion, not by the clock.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// A running world with one municipality.
#[derive(Debug)]
pub struct Town {
    /// The processes.
    pub world: World,
    /// What it is called.
    pub names: Names,
    /// Logs and certificates; removed at the end.
    _dir: tempfile::TempDir,
}

// === impl Town ===

impl Town {
    /// A world in which the intermediary's manifests are applied and pagoPA knows it, but not the municipality.
    pub async fn empty() -> Self {
        Self::with(|options, _| options).await
    }

    /// As [`Town::payable`], with a station of these primitives.
    pub async fn payable_by_version(primitive_version: u8) -> Self {
        let town = Self::start(primitive_version, |options, _| options).await;
        town.onboard().await;
        town
    }

    /// The same in a world that is other than usual.
    pub async fn with(adjust: impl FnOnce(Options, &Names) -> Options) -> Self {
        Self::start(2, adjust).await
    }

    async fn start(primitive_version: u8, adjust: impl FnOnce(Options, &Names) -> Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let names = Names::new(primitive_version);
        let options = Options::for_test(dir.path().to_owned()).unwrap().watching(&names.namespace);
        let world = World::start(adjust(options, &names)).await.unwrap();
        let town = Self { world, names, _dir: dir };
        let manifest = town.names.platform_manifest(town.platform(), &town.world.addresses().backoffice_url);
        town.apply(&manifest).await.unwrap();
        let broker = json!({"fiscalCode": town.names.broker, "subscriptionKeys": [SUBSCRIPTION_KEY]});
        town.simulator("registry/brokers", &broker).await.unwrap();
        town
    }

    /// ... applied too, registered at pagoPA, and payable.
    pub async fn payable() -> Self {
        Self::payable_by_version(2).await
    }

    /// Applies the municipality's manifest, registers it, and waits until it is payable.
    pub async fn onboard(&self) {
        self.apply(&self.names.town_manifest(self.platform(), "Comune di Roccafiorina")).await.unwrap();
        self.register().await;
        self.condition("Payable", "True").await;
    }

    /// Namespace of the platform.
    pub fn platform(&self) -> &str {
        &self.world.options().platform
    }

    /// Applies a manifest.
    ///
    /// # Errors
    /// What `kubectl` complains about.
    pub async fn apply(&self, manifest: &str) -> Result<String> {
        self.world.kubectl(&["apply", "-f", "-"], manifest).await
    }

    /// The municipality as the API server has it.
    ///
    /// # Errors
    /// What `kubectl` complains about.
    pub async fn institution(&self) -> Result<Value> {
        self.institution_in(&self.names.namespace).await
    }

    async fn institution_in(&self, namespace: &str) -> Result<Value> {
        let args = ["get", "creditorinstitution", "town", "-n", namespace, "-o", "json"];
        Ok(serde_json::from_str(&self.world.kubectl(&args, "").await?)?)
    }

    /// Waits until an object such as `iban/posta` is found right as it is now, and in effect at tenant.
    pub async fn right(&self, object: &str) {
        let args = ["get", object, "-n", &self.names.namespace, "-o", "json"];
        eventually(PATIENCE, async || {
            let object: Value = serde_json::from_str(&self.world.kubectl(&args, "").await?)?;
            let validated = condition_of(&object, "Validated").context("not looked at")?;
            let current = validated["observedGeneration"] == object["metadata"]["generation"];
            ensure!(validated["status"] == "True" && current, "{validated}");
            Ok::<_, anyhow::Error>(())
        })
        .await
        .unwrap();
    }

    /// A value of tenant's database.
    pub async fn in_tenant<T>(&self, query: &'static str) -> T
    where
        T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        let pool = sqlx::PgPool::connect(&self.world.addresses().database_urls["tenant"]).await.unwrap();
        sqlx::query_scalar(query).fetch_one(&pool).await.unwrap()
    }

    /// Waits until a condition has a status, and returns the condition.
    pub async fn condition(&self, kind: &str, status: &str) -> Value {
        self.condition_in(&self.names.namespace, kind, status).await
    }

    /// The same of the institution of another namespace.
    pub async fn condition_in(&self, namespace: &str, kind: &str, status: &str) -> Value {
        eventually(PATIENCE, async || {
            let institution = self.institution_in(namespace).await?;
            let found = condition_of(&institution, kind).cloned().context("no such condition")?;
            ensure!(found["status"] == status, "{kind} is {found}, all: {}", institution["status"]);
            Ok::<_, anyhow::Error>(found)
        })
        .await
        .unwrap()
    }

    /// Waits until every service has the manifest as it is now.
    pub async fn settled(&self) -> Value {
        eventually(PATIENCE, async || self.as_settled().await).await.unwrap()
    }

    /// The municipality, if every service has its manifest as it is now.
    ///
    /// # Errors
    /// When one has not.
    pub async fn as_settled(&self) -> Result<Value> {
        let institution = self.institution().await?;
        let ready = condition_of(&institution, "Ready").cloned().context("not looked at")?;
        let current = ready["observedGeneration"] == institution["metadata"]["generation"];
        ensure!(ready["status"] == "True" && current, "{ready}, all: {}", institution["status"]);
        Ok(institution)
    }

    /// Registers station, institution and account at the simulated pagoPA.
    pub async fn register(&self) {
        let Names { fiscal_code, broker, station, primitive_version, iban, .. } = &self.names;
        let urls: Vec<_> =
            self.world.addresses().node_urls.iter().map(|url| format!("{url}/node/v1/{station}")).collect();
        let entries = [
            (
                "stations",
                json!({
                    "stationId": station, "brokerFiscalCode": broker, "urls": urls,
                    "primitiveVersion": primitive_version,
                }),
            ),
            ("institutions", json!({"fiscalCode": fiscal_code, "companyName": "Comune di Roccafiorina"})),
            (
                "associations",
                json!({"fiscalCode": fiscal_code, "stationId": station, "segregationCode": self.names.segregation_code}),
            ),
            ("ibans", json!({"fiscalCode": fiscal_code, "iban": iban, "validityDate": "2026-01-01T00:00:00Z"})),
        ];
        for (kind, body) in entries {
            self.simulator(&format!("registry/{kind}"), &body).await.unwrap();
        }
    }

    /// Calls the simulator's control API.
    ///
    /// # Errors
    /// A fault of the node, or no answer.
    pub async fn simulator(&self, path: &str, body: &Value) -> Result<Value> {
        let url = format!("{}/{path}", self.world.addresses().simulator_url);
        let response = reqwest::Client::new().post(url).json(body).send().await?;
        let status = response.status();
        let text = response.text().await?;
        ensure!(status.is_success(), "{text}");
        Ok(if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? })
    }

    /// A list of the simulator's control API.
    pub async fn simulator_list(&self, path: &str) -> Vec<Value> {
        let url = format!("{}/{path}", self.world.addresses().simulator_url);
        reqwest::get(url).await.unwrap().json().await.unwrap()
    }

    /// A notice, as the simulator is told.
    pub fn notice(&self, notice_number: &str) -> Value {
        json!({"fiscalCode": self.names.fiscal_code, "noticeNumber": notice_number})
    }

    /// A debt of EUR 120.00; returns its notice number.
    pub async fn create_debt(&self, client_reference: &str) -> String {
        self.create(new_position(client_reference)).await
    }

    /// A debt; returns its first notice number.
    pub async fn create(&self, new: NewPosition) -> String {
        let request = CreatePositionRequest { institution: self.names.fiscal_code.clone(), position: Some(new) };
        let answer = self.positions().await.create_position(request).await.unwrap().into_inner();
        answer.position.unwrap().options[0].instalments[0].notice_number.clone()
    }

    /// The position of a notice.
    pub async fn position(&self, notice_number: &str) -> Position {
        let by = Some(By::NoticeNumber(notice_number.to_owned()));
        let request = GetPositionRequest { institution: self.names.fiscal_code.clone(), by };
        self.positions().await.get_position(request).await.unwrap().into_inner().position.unwrap()
    }

    /// Waits until reporting knows the payment of a notice.
    pub async fn reported(&self, notice_number: &str) -> PaymentRecorded {
        let request = ListPaymentsRequest {
            institution: self.names.fiscal_code.clone(),
            notice_number: notice_number.to_owned(),
            ..ListPaymentsRequest::default()
        };
        eventually(PATIENCE, async || {
            let channel = self.channel(&self.world.addresses().reporting_grpc, "reporting").await?;
            let listed = PaymentsClient::new(channel).list_payments(request.clone()).await?.into_inner();
            listed.payments.into_iter().next().context("not reported yet")
        })
        .await
        .unwrap()
    }

    /// Tenant's positions.
    pub async fn positions(&self) -> PositionsClient<Channel> {
        PositionsClient::new(self.channel(&self.world.addresses().tenant_grpc, "tenant").await.unwrap())
    }

    /// A channel to a part, as a person.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn channel(&self, endpoint: &str, server: &str) -> Result<Channel> {
        Ok(self.endpoint(endpoint, server)?.connect().await?)
    }

    /// Where a part is and how a person calls it, not connected.
    ///
    /// # Errors
    /// When the certificates cannot be read.
    pub fn endpoint(&self, endpoint: &str, server: &str) -> Result<Endpoint> {
        let dev = self.world.mesh().identity("dev");
        let tls = ClientTlsConfig::new()
            .domain_name(server)
            .ca_certificate(Certificate::from_pem(fs_err::read(&dev.ca)?))
            .identity(Identity::from_pem(fs_err::read(&dev.cert)?, fs_err::read(&dev.key)?));
        Ok(Endpoint::from_shared(endpoint.to_owned())?.tls_config(tls)?)
    }
}

/// The condition of a type.
pub fn condition_of<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|c| c["type"] == kind)
}

/// A debt of EUR 120.00 of a fictitious citizen.
pub fn new_position(client_reference: &str) -> NewPosition {
    let debtor = Debtor {
        kind: PersonKind::Natural.into(),
        fiscal_code: "RSSMRA80A01H501U".to_owned(),
        full_name: "Mario Rossi".to_owned(),
        ..Debtor::default()
    };
    let instalment = NewInstalment {
        amount_cents: 12_000,
        due_date: "2027-06-16".to_owned(),
        description: "TARI 2026 rata 1".to_owned(),
        ..NewInstalment::default()
    };
    NewPosition {
        client_reference: client_reference.to_owned(),
        service_code: "TARI".to_owned(),
        description: "TARI 2026".to_owned(),
        debtor: Some(debtor),
        options: vec![NewOption { description: "Unica rata".to_owned(), instalments: vec![instalment] }],
        ..NewPosition::default()
    }
}
