//! Objects that were stored by the definitions before this version: they are applied again, in both ways, under the new ones.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use fiorino_test_support::{Parts, eventually, namespace};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

use crate::cluster::{Cluster, definition, established};

const PATIENCE: Duration = Duration::from_secs(30);

/// The definition of institutions in a group of its own: the shared one stays as it is while others test with it.
struct Definition {
    client: Client,
    group: String,
}

// === impl Definition ===

impl Definition {
    fn of(client: &Client) -> Self {
        Self { client: client.clone(), group: format!("{}.example", namespace()) }
    }

    fn resource(&self) -> ApiResource {
        let gvk = GroupVersionKind::gvk(&self.group, fiorino_crds::VERSION, "CreditorInstitution");
        ApiResource::from_gvk_with_plural(&gvk, "creditorinstitutions")
    }

    async fn install(&self, mut definition: CustomResourceDefinition) -> Result<()> {
        let name = format!("creditorinstitutions.{}", self.group);
        definition.metadata.name = Some(name.clone());
        definition.spec.group.clone_from(&self.group);
        // Names of others: they may be claimed once.
        definition.spec.names.categories = None;
        definition.spec.names.short_names = None;
        let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        let params = PatchParams::apply("fiorino-crds").force();
        api.patch(&name, &params, &Patch::Apply(&definition)).await?;
        eventually(PATIENCE, async || established(&api, &name).await).await
    }

    async fn remove(&self) -> Result<()> {
        let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        api.delete(&format!("creditorinstitutions.{}", self.group), &DeleteParams::default()).await?;
        Ok(())
    }

    fn manifest(&self, namespace: &str, name: &str, associations: Value) -> Value {
        let mut manifest = json!({
            "apiVersion": format!("{}/{}", self.group, fiorino_crds::VERSION), "kind": "CreditorInstitution",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"fiscalCode": "80041780356", "legalName": "Comune di Roccafiorina", "kind": "Municipality"},
        });
        manifest["spec"]["associations"] = associations;
        manifest
    }
}

/// Associations had no `entry`, and a code stood once.
fn before_entry() -> CustomResourceDefinition {
    let mut old = serde_json::to_value(definition("CreditorInstitution")).unwrap();
    let associations = &mut old["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
        ["associations"];
    let keys = associations["x-kubernetes-list-map-keys"].as_array_mut().unwrap();
    let count = keys.len();
    keys.retain(|key| key != "entry");
    assert_eq!(keys.len() + 1, count, "entry is a key");
    assert!(associations["items"]["properties"].as_object_mut().unwrap().remove("entry").is_some());
    serde_json::from_value(old).unwrap()
}

fn association(station: &str, code: &str, more: &[(&str, &str)]) -> Value {
    let mut association = json!({"stationRef": {"namespace": "fiorino", "name": station}, "segregationCode": code});
    for (field, value) in more {
        association[field] = (*value).into();
    }
    association
}

/// Who applies, and how.
#[derive(Debug, Clone, Copy)]
enum Way {
    ClientSide,
    ServerSide,
}

async fn apply(definition: &Definition, way: Way, manifest: &Value) -> Result<()> {
    match way {
        Way::ClientSide => kubectl(&["apply", "-f", "-"], manifest),
        Way::ServerSide => {
            let namespace = manifest["metadata"]["namespace"].as_str().context("a namespace")?;
            let name = manifest["metadata"]["name"].as_str().context("a name")?;
            let api: Api<DynamicObject> =
                Api::namespaced_with(definition.client.clone(), namespace, &definition.resource());
            // Not forced: what the same manager wrote before must not stand against it.
            api.patch(name, &PatchParams::apply("gitops"), &Patch::Apply(manifest)).await?;
            Ok(())
        }
    }
}

fn kubectl(arguments: &[&str], input: &Value) -> Result<()> {
    let mut child = Command::new("kubectl")
        .arg("--kubeconfig")
        .arg(Parts::get().kubeconfig())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    child.stdin.take().context("stdin")?.write_all(input.to_string().as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Station, code and entry of each association, as stored.
async fn associations(definition: &Definition, namespace: &str, name: &str) -> Result<Vec<[String; 3]>> {
    let api: Api<DynamicObject> = Api::namespaced_with(definition.client.clone(), namespace, &definition.resource());
    let object = api.get(name).await?;
    let text = |value: &Value| value.as_str().unwrap_or("absent").to_owned();
    let stored = object.data["spec"]["associations"].as_array().cloned().unwrap_or_default();
    Ok(stored.iter().map(|it| [&it["stationRef"]["name"], &it["segregationCode"], &it["entry"]].map(text)).collect())
}

#[tokio::test]
async fn objects_from_before_entry_are_applied_again_in_both_ways() -> Result<()> {
    let cluster = Cluster::new().await?;
    let definition = Definition::of(&cluster.client);
    definition.install(before_entry()).await?;
    let ways = [(Way::ClientSide, "client-side"), (Way::ServerSide, "server-side")];
    let namespace = cluster.namespace.as_str();
    let old = || json!([association("one", "12", &[]), association("one", "13", &[])]);
    for (way, name) in ways {
        let manifest = definition.manifest(namespace, name, old());
        eventually(PATIENCE, async || apply(&definition, way, &manifest).await).await?;
        let stored = associations(&definition, namespace, name).await?;
        assert_eq!(stored, [["one", "12", "absent"], ["one", "13", "absent"]], "{name}: stored by the old definition");
    }

    definition.install(crate::cluster::definition("CreditorInstitution")).await?;
    let is = |way: &'static str, expected: Vec<[&'static str; 3]>| {
        let definition = &definition;
        async move {
            // The new schema is served a moment after it was installed.
            eventually(PATIENCE, async || {
                let stored = associations(definition, namespace, way).await?;
                ensure!(stored == expected, "{way}: {stored:?}, not {expected:?}");
                Ok::<_, anyhow::Error>(())
            })
            .await
        }
    };
    for (way, name) in ways {
        is(name, vec![["one", "12", ""], ["one", "13", ""]]).await?;
        apply(&definition, way, &definition.manifest(namespace, name, old())).await.context(name)?;
        is(name, vec![["one", "12", ""], ["one", "13", ""]]).await?;

        // The code goes to another station: beside the old one first, then instead of it.
        let second = [("entry", "second"), ("state", "AcceptingOnly")];
        let both =
            json!([association("one", "12", &[]), association("one", "13", &[]), association("two", "12", &second)]);
        apply(&definition, way, &definition.manifest(namespace, name, both)).await.context(name)?;
        is(name, vec![["one", "12", ""], ["one", "13", ""], ["two", "12", "second"]]).await?;
        let moved = json!([association("one", "13", &[]), association("two", "12", &[("entry", "second")])]);
        apply(&definition, way, &definition.manifest(namespace, name, moved)).await.context(name)?;
        is(name, vec![["one", "13", ""], ["two", "12", "second"]]).await?;
    }
    definition.remove().await
}

/// The first apply under the new definition may also be one that removes an association. Client-side it goes. Server-side it stays: the API
/// server keeps under the old keys who owns it, and prunes by the new ones. Docs/install.md says to apply once without a removal first; here
/// is what helps whoever did not.
#[tokio::test]
async fn an_association_that_goes_with_the_first_server_side_apply_stays_until_it_was_applied_once() -> Result<()> {
    let cluster = Cluster::new().await?;
    let definition = Definition::of(&cluster.client);
    definition.install(before_entry()).await?;
    let ways = [(Way::ClientSide, "client-side"), (Way::ServerSide, "server-side")];
    let namespace = cluster.namespace.as_str();
    let both = || json!([association("one", "12", &[]), association("one", "13", &[])]);
    for (way, name) in ways {
        let manifest = definition.manifest(namespace, name, both());
        eventually(PATIENCE, async || apply(&definition, way, &manifest).await).await?;
    }
    definition.install(crate::cluster::definition("CreditorInstitution")).await?;
    for (way, name) in ways {
        eventually(PATIENCE, async || {
            let stored = associations(&definition, namespace, name).await?;
            ensure!(stored.iter().all(|[.., entry]| entry.is_empty()), "{stored:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        let one = || definition.manifest(namespace, name, json!([association("one", "12", &[])]));
        apply(&definition, way, &one()).await.context(name)?;
        let left = associations(&definition, namespace, name).await?;
        match way {
            Way::ClientSide => assert_eq!(left, [["one", "12", ""]]),
            Way::ServerSide => assert_eq!(left, [["one", "12", ""], ["one", "13", ""]]),
        }
        apply(&definition, way, &definition.manifest(namespace, name, both())).await.context(name)?;
        apply(&definition, way, &one()).await.context(name)?;
        assert_eq!(associations(&definition, namespace, name).await?, [["one", "12", ""]], "{name}");
    }
    definition.remove().await
}
