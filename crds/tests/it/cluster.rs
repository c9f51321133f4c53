//! The shared API server with the kinds installed.

use std::time::Duration;

use anyhow::{Context as _, Result};
use fiorino_test_support::{Parts, eventually};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::Value;
use tokio::sync::OnceCell;

static INSTALLED: OnceCell<()> = OnceCell::const_new();

/// A client, and a namespace of the test's own.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) namespace: String,
}

// === impl Cluster ===

impl Cluster {
    pub(crate) async fn new() -> Result<Self> {
        let parts = Parts::get();
        let client = parts.kube_client().await?;
        INSTALLED.get_or_try_init(|| install(client.clone())).await?;
        let namespace = parts.create_namespace(&client).await?;
        Ok(Self { client, namespace })
    }

    pub(crate) fn api(&self, kind: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource(kind))
    }

    /// What the API server would make of a new object.
    pub(crate) async fn try_create(&self, kind: &str, manifest: &Value) -> kube::Result<DynamicObject> {
        let object = object(manifest);
        self.api(kind).create(&PostParams { dry_run: true, ..PostParams::default() }, &object).await
    }

    pub(crate) async fn create(&self, kind: &str, manifest: &Value) -> kube::Result<DynamicObject> {
        self.api(kind).create(&PostParams::default(), &object(manifest)).await
    }

    /// What the API server would make of a change of an existing object.
    pub(crate) async fn try_merge(&self, kind: &str, name: &str, change: &Value) -> kube::Result<DynamicObject> {
        let params = PatchParams { dry_run: true, ..PatchParams::default() };
        self.api(kind).patch(name, &params, &Patch::Merge(change)).await
    }
}

fn object(manifest: &Value) -> DynamicObject {
    serde_json::from_value(manifest.clone()).expect("a manifest is an object")
}

fn resource(kind: &str) -> ApiResource {
    let definition = definition(kind);
    let gvk = GroupVersionKind::gvk(&definition.spec.group, fiorino_crds::VERSION, kind);
    ApiResource::from_gvk_with_plural(&gvk, &definition.spec.names.plural)
}

pub(crate) fn definition(kind: &str) -> CustomResourceDefinition {
    let found = fiorino_crds::all().into_iter().find(|definition| definition.spec.names.kind == kind);
    found.unwrap_or_else(|| panic!("no kind {kind}"))
}

async fn install(client: Client) -> Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in fiorino_crds::all() {
        let name = definition.metadata.name.clone().context("a definition has a name")?;
        let params = PatchParams::apply("fiorino-crds").force();
        api.patch(&name, &params, &Patch::Apply(&definition))
            .await
            .with_context(|| format!("failed to install {name}"))?;
        eventually(Duration::from_secs(20), async || established(&api, &name).await).await?;
    }
    for document in serde_saphyr::from_multiple::<Value>(&fiorino_crds::warnings_yaml()?)? {
        let policy = object(&document);
        let types = policy.types.clone().context("a policy has a kind")?;
        let gvk = GroupVersionKind::try_from(&types)?;
        let plural = if gvk.kind.ends_with("Policy") {
            "validatingadmissionpolicies"
        } else {
            "validatingadmissionpolicybindings"
        };
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::from_gvk_with_plural(&gvk, plural));
        let name = policy.metadata.name.clone().context("a policy has a name")?;
        api.patch(&name, &PatchParams::apply("fiorino-crds").force(), &Patch::Apply(&policy)).await?;
    }
    Ok(())
}

async fn established(api: &Api<CustomResourceDefinition>, name: &str) -> Result<()> {
    let status = api.get(name).await?.status.context("no status yet")?;
    let conditions = status.conditions.unwrap_or_default();
    let established = conditions.iter().any(|condition| condition.type_ == "Established" && condition.status == "True");
    anyhow::ensure!(established, "{name} is not established: {conditions:?}");
    let structural = conditions.iter().all(|condition| condition.type_ != "NonStructuralSchema");
    anyhow::ensure!(structural, "{name} has no structural schema: {conditions:?}");
    Ok(())
}
