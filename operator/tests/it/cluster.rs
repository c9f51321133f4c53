//! The operator in this process, against the shared API server and a tenant of its own.

use std::{
    sync::{Mutex, OnceLock},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use clap::Parser as _;
use fiorino_crds::{
    CreditorInstitution, InstitutionStatus,
    condition::{Condition, ConditionStatus, ConditionType},
};
use fiorino_kit::{
    admin::Readiness,
    clock::Clock,
    options::{TelemetryOptions, TlsOptions},
    telemetry::{self, Telemetry},
    tls::Identity,
};
use fiorino_operator::{Operator, Options};
use fiorino_test_support::{Parts, certs::Mesh, eventually, free_port, within};
use k8s_openapi::{
    api::{core::v1::Secret, events::v1::Event},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};
use tokio::{sync::OnceCell, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    tenant::{FakeTenant, Listening},
    world::{self, IBAN, SEAL_KEY},
};

/// Long enough for a busy machine; what must be quick is measured by itself.
pub(crate) const SOON: Duration = Duration::from_secs(30);

static INSTALLED: OnceCell<()> = OnceCell::const_new();

pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) platform: String,
    pub(crate) comune: String,
    pub(crate) fiscal_code: String,
    pub(crate) tenant: FakeTenant,
    pub(crate) mesh: Mesh,
    port: u16,
    listening: Mutex<Option<Listening>>,
}

/// An operator under way.
pub(crate) struct Running {
    pub(crate) token: CancellationToken,
    pub(crate) ended: JoinHandle<Result<(), fiorino_operator::Error>>,
}

/// The process's telemetry, shared by the tests.
pub(crate) fn telemetry() -> &'static Telemetry {
    static TELEMETRY: OnceLock<Telemetry> = OnceLock::new();
    TELEMETRY.get_or_init(|| {
        let options = TelemetryOptions { log_filter: "off".to_owned(), ..TelemetryOptions::quiet() };
        telemetry::init("operator", &options).unwrap()
    })
}

// === impl Cluster ===

impl Cluster {
    pub(crate) async fn new() -> Result<Self> {
        let parts = Parts::get();
        let client = parts.kube_client().await?;
        telemetry();
        INSTALLED.get_or_try_init(|| install(client.clone())).await?;
        let platform = parts.create_namespace(&client).await?;
        let comune = parts.create_namespace(&client).await?;
        let tenant = FakeTenant::new(&platform);
        let cluster = Self {
            client,
            platform,
            comune,
            fiscal_code: parts.fiscal_code(),
            tenant,
            mesh: Mesh::new()?,
            port: free_port()?,
            listening: Mutex::new(None),
        };
        cluster.start_tenant().await?;
        Ok(cluster)
    }

    pub(crate) async fn start_tenant(&self) -> Result<()> {
        let listening = self.tenant.listen(&self.identity("tenant")?, self.port).await?;
        *self.listening.lock().unwrap() = Some(listening);
        Ok(())
    }

    pub(crate) async fn stop_tenant(&self) {
        let listening = self.listening.lock().unwrap().take();
        if let Some(listening) = listening {
            listening.stop().await;
        }
    }

    pub(crate) fn tenant_endpoint(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    fn tls(&self, name: &str) -> TlsOptions {
        let identity = self.mesh.identity(name);
        TlsOptions { tls_cert: identity.cert, tls_key: identity.key, tls_ca: identity.ca }
    }

    fn identity(&self, name: &str) -> Result<Identity> {
        Ok(Identity::load(&self.tls(name))?)
    }

    pub(crate) fn options(&self, more: &[&str]) -> Options {
        let tls = self.tls("operator");
        let files = [&tls.tls_cert, &tls.tls_key, &tls.tls_ca].map(|path| path.to_str().unwrap().to_owned());
        let namespaces = format!("--watch-namespaces={}", self.comune);
        let endpoint = format!("--tenant-endpoints={}", self.tenant_endpoint());
        let platform = format!("--platform={}", self.platform);
        let seal = format!("--seal-public-key={SEAL_KEY}");
        let [cert, key, ca] = files;
        let arguments = ["operator", "--environment=Uat", &platform, &endpoint, &seal, &namespaces];
        let identity = ["--tls-cert", &cert, "--tls-key", &key, "--tls-ca", &ca];
        Options::parse_from(arguments.iter().chain(&identity).chain(more))
    }

    /// An operator that watches the platform and the municipality.
    pub(crate) fn operator(&self) -> Result<Running> {
        self.operator_with(self.options(&[]))
    }

    pub(crate) fn operator_with(&self, options: Options) -> Result<Running> {
        Self::operator_as(self.client.clone(), options)
    }

    /// An operator with the rights of a client.
    pub(crate) fn operator_as(client: Client, options: Options) -> Result<Running> {
        let operator = Operator::new(options, client, Clock::system())?;
        let token = CancellationToken::new();
        let ended = tokio::spawn(operator.run(Readiness::new(&Operator::READINESS), token.clone()));
        Ok(Running { token, ended })
    }

    /// Station, Broker with its Secret, profile.
    pub(crate) async fn platform(&self) -> Result<()> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.platform);
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pagopa"}, "stringData": {"backoffice": "0123456789abcdef"}});
        secrets.patch("pagopa", &PatchParams::apply("test"), &Patch::Apply(secret)).await?;
        let objects = [
            ("Broker", "valdarda", serde_json::to_value(&world::broker(&json!({})).spec)?),
            ("Station", "valdarda-01", serde_json::to_value(&world::station(&json!({})).spec)?),
            ("ServiceProfile", "comune-standard-1", serde_json::to_value(&world::profile().spec)?),
        ];
        for (kind, name, spec) in objects {
            self.apply(kind, &self.platform, name, spec).await?;
        }
        Ok(())
    }

    /// The municipality with its account and service.
    pub(crate) async fn municipality(&self) -> Result<()> {
        self.apply("Iban", &self.comune, "tesoreria", account(IBAN)).await?;
        self.apply("PaymentService", &self.comune, "mensa", json!({"code": "MENSA"})).await?;
        self.institution(&json!({})).await
    }

    pub(crate) async fn institution(&self, change: &Value) -> Result<()> {
        self.institution_in(&self.comune, &self.fiscal_code, change).await
    }

    pub(crate) async fn institution_in(&self, namespace: &str, fiscal_code: &str, change: &Value) -> Result<()> {
        let mut spec = serde_json::to_value(&world::institution(&json!({})).spec)?;
        spec["fiscalCode"] = fiscal_code.into();
        spec["associations"][0]["stationRef"]["namespace"] = self.platform.clone().into();
        world::merge(&mut spec, change);
        self.apply("CreditorInstitution", namespace, "roccafiorina", spec).await
    }

    pub(crate) async fn apply(&self, kind: &str, namespace: &str, name: &str, spec: Value) -> Result<()> {
        let mut object = json!({"apiVersion": "fiorino.dev/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": namespace}});
        object["spec"] = spec;
        let params = PatchParams::apply("test").force();
        self.api(kind, namespace)
            .patch(name, &params, &Patch::Apply(object))
            .await
            .with_context(|| format!("{kind} {name}"))?;
        Ok(())
    }

    pub(crate) async fn annotate(&self, name: &str, value: Option<&str>) -> Result<()> {
        let mut annotations = json!({});
        annotations[name] = value.into();
        let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
        self.api("CreditorInstitution", &self.comune).patch("roccafiorina", &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// The API server knows one day more than we do: with it the municipality cannot be read, as one that a newer version wrote.
    pub(crate) async fn make_unreadable(&self) -> Result<()> {
        let waiting = json!({"party": "Broker", "action": "GoLive", "since": "9999-12-31T23:59:59Z", "textEn": "x", "textIt": "x"});
        let patch = Patch::Merge(json!({"status": {"waitingFor": waiting}}));
        let api = self.api("CreditorInstitution", &self.comune);
        api.patch_status("roccafiorina", &PatchParams::default(), &patch).await?;
        ensure!(self.institutions(&self.comune).get("roccafiorina").await.is_err(), "it can be read after all");
        Ok(())
    }

    pub(crate) async fn delete(&self, kind: &str, name: &str) -> Result<()> {
        self.api(kind, &self.comune).delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    pub(crate) fn api(&self, kind: &str, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &resource(kind))
    }

    pub(crate) fn institutions(&self, namespace: &str) -> Api<CreditorInstitution> {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub(crate) async fn status(&self) -> Result<InstitutionStatus> {
        Ok(self.institutions(&self.comune).get("roccafiorina").await?.status.unwrap_or_default())
    }

    /// Waits until a condition of the municipality reads so.
    pub(crate) async fn reads(&self, kind: ConditionType, status: ConditionStatus) -> Result<Condition> {
        eventually(SOON, async || {
            let all = self.status().await?;
            let condition = all.condition(kind).with_context(|| format!("no condition {kind} in {all:?}"))?;
            ensure!(condition.status == status, "{condition:?}");
            Ok::<_, anyhow::Error>(condition.clone())
        })
        .await
    }

    /// The condition `Validated` of an object.
    pub(crate) async fn validated(&self, kind: &str, namespace: &str, name: &str) -> Result<Value> {
        let object = self.api(kind, namespace).get(name).await?;
        let conditions = object.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions
            .into_iter()
            .find(|it| it["type"] == "Validated")
            .with_context(|| format!("{kind} {name} was not judged"))
    }

    /// Notes of the Events of a namespace.
    pub(crate) async fn events(&self, namespace: &str) -> Result<Vec<String>> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let events = api.list(&ListParams::default()).await?;
        Ok(events.items.into_iter().filter_map(|event| event.note).collect())
    }

    /// Version of every object of a kind that the operator could write, in both namespaces.
    pub(crate) async fn versions(&self) -> Result<Vec<String>> {
        let mut versions = Vec::new();
        for definition in fiorino_crds::all() {
            for namespace in [&self.platform, &self.comune] {
                let objects = self.api(&definition.spec.names.kind, namespace).list(&ListParams::default()).await?;
                let version = |object: DynamicObject| {
                    format!(
                        "{}/{} {}",
                        definition.spec.names.kind,
                        object.name_any(),
                        object.resource_version().unwrap_or_default()
                    )
                };
                versions.extend(objects.items.into_iter().map(version));
            }
        }
        Ok(versions)
    }

    /// The tenant saw nothing that the contract forbids.
    pub(crate) async fn finish(self, running: Running) -> Result<()> {
        running.stop().await?;
        self.stop_tenant().await;
        let violations = self.tenant.world().violations.clone();
        ensure!(violations.is_empty(), "{violations:?}");
        Ok(())
    }
}

// === impl Running ===

impl Running {
    pub(crate) async fn stop(self) -> Result<()> {
        self.token.cancel();
        within(SOON, self.ended).await???;
        Ok(())
    }
}

pub(crate) fn account(iban: &str) -> Value {
    json!({"holder": "Comune di Roccafiorina", "numbers": [{"validFrom": "2026-01-01", "iban": iban}]})
}

fn resource(kind: &str) -> ApiResource {
    let definition = fiorino_crds::all().into_iter().find(|it| it.spec.names.kind == kind).unwrap();
    let gvk = GroupVersionKind::gvk(fiorino_crds::GROUP, fiorino_crds::VERSION, kind);
    ApiResource::from_gvk_with_plural(&gvk, &definition.spec.names.plural)
}

async fn install(client: Client) -> Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(client);
    for definition in fiorino_crds::all() {
        let name = definition.metadata.name.clone().context("a name")?;
        api.patch(&name, &PatchParams::apply("fiorino-crds").force(), &Patch::Apply(&definition)).await?;
        eventually(SOON, async || {
            let conditions = api.get(&name).await?.status.and_then(|status| status.conditions).unwrap_or_default();
            let established = conditions.iter().any(|it| it.type_ == "Established" && it.status == "True");
            ensure!(established, "{name} is not established");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
    }
    Ok(())
}
