//! From a manifest to Ready.

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

use crate::report::{Report, Row};

const SINGLE: usize = 40;
const AT_ONCE: usize = 200;
/// Manifests that are sent at the same time.
const SENDERS: usize = 8;
const PATIENCE_SECONDS: u32 = 120;
const PATIENCE: Duration = Duration::from_secs(PATIENCE_SECONDS as u64);

/// A client of the API server, and the platform's namespace.
struct Platform {
    client: Client,
    namespace: String,
}

pub(crate) async fn run(world: &World, report: &mut Report) -> Result<()> {
    let platform = Platform::of(world).await?;
    platform.apply_shared().await?;
    let clock = Clock::system();
    let mut took = Vec::new();
    for index in 0..SINGLE {
        let start = clock.monotonic();
        platform.apply_town(index).await?;
        platform.ready(index..index + 1).await?;
        took.push(clock.monotonic().saturating_sub(start));
    }
    took.sort_unstable();
    let ms = |part: usize| took[took.len() * part / 100].as_millis();
    report.add(Row {
        what: format!("from a manifest to Ready, {SINGLE} institutions one after the other"),
        figure: format!("p50 {} ms, p95 {} ms", ms(50), ms(95)),
        limit: String::new(),
        cpu: String::new(),
    });
    let start = clock.monotonic();
    let many = SINGLE..SINGLE + AT_ONCE;
    stream::iter(many.clone())
        .map(|index| platform.apply_town(index))
        .buffer_unordered(SENDERS)
        .try_collect::<()>()
        .await?;
    let applied = clock.monotonic().saturating_sub(start);
    platform.ready(many).await?;
    let ready = clock.monotonic().saturating_sub(start);
    report.add(Row {
        what: format!("{AT_ONCE} institutions at once, until all are Ready"),
        figure: format!("{:.1} s", ready.as_secs_f64()),
        limit: format!("the API server took their manifests in {:.1} s", applied.as_secs_f64()),
        cpu: String::new(),
    });
    Ok(())
}

// === impl Platform ===

impl Platform {
    async fn of(world: &World) -> Result<Self> {
        let kubeconfig = Kubeconfig::read_from(&world.addresses().kubeconfig)?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        Ok(Self { client: Client::try_from(config)?, namespace: world.options().platform.clone() })
    }

    /// Broker, station, catalogue.
    async fn apply_shared(&self) -> Result<()> {
        let services: Vec<_> = ["TARI", "MENSA", "MULTE"].map(|code| {
            json!({"code": code, "title": {"it": "Servizio"}, "taxonomyCode": "9/0101101IM/", "account": "tesoreria"})
        }).into();
        let broker = json!({"fiscalCode": "99999999990"});
        let station =
            json!({"id": "99999999990_01", "brokerRef": {"name": "broker"}, "allowedNamespaces": {"from": "All"}});
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
        let account = json!({"holder": "Comune", "numbers": [{"validFrom": "2026-01-01", "iban": "IT60X0542811101000000123456"}]});
        let institution = json!({
            "fiscalCode": format!("7{index:010}"), "legalName": "Comune", "kind": "Municipality",
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
        let mut missing: HashSet<String> = indices.map(town).collect();
        let api = Api::<DynamicObject>::all_with(self.client.clone(), &resource("CreditorInstitution"));
        let wait = async {
            let mut events = api.watch(&WatchParams::default().timeout(PATIENCE_SECONDS), "0").await?.boxed();
            while !missing.is_empty() {
                let event = events.try_next().await?.context("the watch ended")?;
                if let WatchEvent::Added(object) | WatchEvent::Modified(object) = event
                    && is_ready(&object)
                {
                    missing.remove(object.metadata.namespace.as_deref().unwrap_or_default());
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

fn resource(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("fiorino.dev", "v1alpha1", kind))
}

fn is_ready(object: &DynamicObject) -> bool {
    let conditions = object.data["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}
