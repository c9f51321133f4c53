//! From a manifest to Ready: the region itself, and institutions that come to it.

use std::{collections::HashSet, time::Duration};

use anyhow::{Context as _, Result, ensure};
use fiorino_kit::clock::Clock;
use fiorino_world::World;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::{
    Api, Client, Config,
    api::{DynamicObject, Patch, PatchParams, WatchEvent, WatchParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

use crate::{
    machine,
    region::{BROKER, IBAN, SERVICE, STATION},
    report::{Limit, Report, Row},
};

const SINGLE: usize = 40;
const AT_ONCE: usize = 200;
/// Manifests that are sent at the same time.
const SENDERS: usize = 8;
const PATIENCE_SECONDS: u32 = 240;
const PATIENCE: Duration = Duration::from_secs(PATIENCE_SECONDS as u64);

/// A client of the API server, and the platform's namespace.
pub(crate) struct Platform {
    client: Client,
    namespace: String,
    clock: Clock,
}

/// How long a crowd took, from the first manifest on.
struct Appeared {
    /// Until the API server had taken the last manifest.
    applied: Duration,
    /// Until the last institution was Ready.
    ready: Duration,
}

/// Institutions that come to a region of `others`: one after the other, then many at once.
///
/// # Errors
/// When one does not become Ready.
pub(crate) async fn run(world: &mut World, platform: &Platform, others: usize, report: &mut Report) -> Result<()> {
    let singles = others..others + SINGLE;
    let mut took = Vec::with_capacity(SINGLE);
    for index in singles.clone() {
        took.push(platform.appear(index..index + 1).await?.ready);
    }
    took.sort_unstable();
    let ms = |part: usize| took[took.len() * part / 100].as_millis();
    report.add(Row::of(
        format!("from a manifest to Ready beside {others} others, {SINGLE} institutions one after the other"),
        format!("p50 {} ms, p95 {} ms", ms(50), ms(95)),
    ));
    let crowd = platform.appear(singles.end..singles.end + AT_ONCE).await?;
    crowd.tell(format!("{AT_ONCE} institutions at once beside {others} others, until all are Ready"), report);
    let operator = machine::memory(world.process("operator")?.pid())?.0 / 1024;
    report.add(Row::of("memory of the operator then".into(), format!("{operator} MiB")));
    Ok(())
}

// === impl Appeared ===

impl Appeared {
    fn tell(&self, what: String, report: &mut Report) {
        let limit = Limit::Told(format!("the API server took their manifests in {:.1} s", self.applied.as_secs_f64()));
        report.add(Row { limit, ..Row::of(what, format!("{:.1} s", self.ready.as_secs_f64())) });
    }
}

// === impl Platform ===

impl Platform {
    /// The world's platform with broker, station and catalogue.
    ///
    /// # Errors
    /// When the API server refuses something.
    pub(crate) async fn of(world: &World) -> Result<Self> {
        let kubeconfig = Kubeconfig::read_from(&world.addresses().kubeconfig)?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        let client = Client::try_from(config)?;
        let platform = Self { client, namespace: world.options().platform.clone(), clock: Clock::system() };
        platform.apply_shared().await?;
        Ok(platform)
    }

    /// The fiscal codes of the region's institutions, when all are Ready.
    ///
    /// # Errors
    /// When one does not become so.
    pub(crate) async fn region(&self, institutions: usize, report: &mut Report) -> Result<Vec<String>> {
        let crowd = self.appear(0..institutions).await?;
        crowd.tell(format!("a region of {institutions} institutions at once, until all are Ready"), report);
        Ok((0..institutions).map(fiscal_code).collect())
    }

    async fn appear(&self, towns: std::ops::Range<usize>) -> Result<Appeared> {
        let start = self.clock.monotonic();
        stream::iter(towns.clone())
            .map(|index| self.apply_town(index))
            .buffer_unordered(SENDERS)
            .try_collect::<()>()
            .await?;
        let applied = self.clock.monotonic().saturating_sub(start);
        self.ready(towns).await?;
        Ok(Appeared { applied, ready: self.clock.monotonic().saturating_sub(start) })
    }

    async fn apply_shared(&self) -> Result<()> {
        let services: Vec<_> = [SERVICE, "MENSA", "MULTE"].map(|code| {
            json!({"code": code, "title": {"it": "Servizio"}, "taxonomyCode": "9/0101101IM/", "account": "tesoreria"})
        }).into();
        let broker = json!({"fiscalCode": BROKER});
        let station = json!({"id": STATION, "brokerRef": {"name": "broker"}, "allowedNamespaces": {"from": "All"}});
        let profile = json!({"profile": "standard", "revision": 1, "services": services});
        self.apply("Broker", &self.namespace, "broker", broker).await?;
        self.apply("Station", &self.namespace, "station", station).await?;
        self.apply("ServiceProfile", &self.namespace, "standard-1", profile).await
    }

    async fn apply_town(&self, index: usize) -> Result<()> {
        let namespace = town(index);
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        let namespaces = Api::<k8s_openapi::api::core::v1::Namespace>::all(self.client.clone());
        namespaces.patch(&namespace, &PatchParams::apply("bench"), &Patch::Apply(object)).await?;
        let account = json!({"holder": "Comune", "numbers": [{"validFrom": "2026-01-01", "iban": IBAN}]});
        let institution = json!({
            "fiscalCode": fiscal_code(index), "legalName": "Comune", "kind": "Municipality",
            "associations": [{"stationRef": {"namespace": self.namespace, "name": "station"}, "segregationCode": "12"}],
            "profiles": [{"name": "standard", "revision": 1}],
        });
        self.apply("Iban", &namespace, "tesoreria", account).await?;
        self.apply("CreditorInstitution", &namespace, "comune", institution).await
    }

    async fn apply(&self, kind: &str, namespace: &str, name: &str, spec: Value) -> Result<()> {
        let object = json!({
            "apiVersion": "fiorino.dev/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec,
        });
        let api = Api::<DynamicObject>::namespaced_with(self.client.clone(), namespace, &resource(kind));
        api.patch(name, &PatchParams::apply("bench"), &Patch::Apply(object))
            .await
            .map(drop)
            .with_context(|| name.to_owned())
    }

    /// Waits until all of them are Ready.
    async fn ready(&self, indices: std::ops::Range<usize>) -> Result<()> {
        let mut missing: HashSet<String> = indices.clone().map(town).collect();
        let (client, kind) = (self.client.clone(), resource("CreditorInstitution"));
        let api = match indices.len() {
            1 => Api::<DynamicObject>::namespaced_with(client, &town(indices.start), &kind),
            _ => Api::<DynamicObject>::all_with(client, &kind),
        };
        let wait = async {
            // The API server ends the watch of who falls behind: a new one begins with all of them as they are now.
            while !missing.is_empty() {
                let mut events = api.watch(&WatchParams::default().timeout(PATIENCE_SECONDS), "0").await?.boxed();
                while !missing.is_empty()
                    && let Some(event) = events.try_next().await?
                {
                    if let WatchEvent::Added(object) | WatchEvent::Modified(object) = event
                        && is_ready(&object)
                    {
                        missing.remove(object.metadata.namespace.as_deref().unwrap_or_default());
                    }
                }
            }
            anyhow::Ok(())
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        ensure!(waited.is_ok(), "some institutions are not Ready after {PATIENCE:?}");
        waited?
    }
}

fn town(index: usize) -> String {
    format!("town-{index}")
}

/// Eleven digits; the check digit is not looked at in `Uat`.
fn fiscal_code(index: usize) -> String {
    format!("8{index:010}")
}

fn resource(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("fiorino.dev", "v1alpha1", kind))
}

fn is_ready(object: &DynamicObject) -> bool {
    let conditions = object.data["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}
