//! A release on the real API server: the operator under its account, its pods, its admission policy.

use anyhow::{Context as _, Result, ensure};
use clap::Parser as _;
use fiorino_crds::condition::{ConditionStatus, ConditionType};
use fiorino_operator::Options;
use fiorino_test_support::{Parts, eventually};
use k8s_openapi::api::{
    apps::v1::Deployment,
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::{Namespace, Pod, ServiceAccount},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    config::{AuthInfo, Config, KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};

use super::{LEAST, Rendered, arguments, chart, helm};
use crate::{
    cluster::{Cluster, Running, SOON},
    world::SEAL_KEY,
};

/// A release of the chart, named after its namespace, which is the platform's.
pub(super) struct Installed<'a> {
    cluster: &'a Cluster,
    /// A client that is the operator's account.
    pub(super) client: Client,
    /// The account, as the API server calls it.
    pub(super) account: String,
    /// The mesh's files as the pod has them.
    files: tempfile::TempDir,
}

// === impl Installed ===

impl<'a> Installed<'a> {
    pub(super) async fn new(cluster: &'a Cluster, more: &[&str]) -> Result<Self> {
        let (name, chart) = (cluster.platform.as_str(), chart("fiorino"));
        let kubeconfig = format!("--kubeconfig={}", Parts::get().kubeconfig().display());
        let key = format!("--set=seal.publicKey={SEAL_KEY}");
        let endpoint = format!("--set=tenant.endpoints={{{}}}", cluster.tenant_endpoint());
        let namespace = format!("--namespace={name}");
        let fixed = ["install", name, chart.as_str(), &namespace, &kubeconfig, &key];
        helm(&[&fixed, &LEAST[..], &[&endpoint], more].concat()).await?;
        let account = format!("{name}-operator");
        let client = as_account(&cluster.client, name, &account).await?;
        let files = tempfile::tempdir()?;
        let identity = cluster.mesh.identity("operator");
        for (from, to) in [(identity.cert, "tls.crt"), (identity.key, "tls.key"), (identity.ca, "ca.crt")] {
            fs_err::copy(from, files.path().join(to))?;
        }
        Ok(Self { cluster, client, account: format!("system:serviceaccount:{name}:{account}"), files })
    }

    /// The operator as the Deployment starts it, with the rights of its account.
    pub(super) async fn operator(&self) -> Result<Running> {
        let deployments: Api<Deployment> = Api::namespaced(self.cluster.client.clone(), &self.cluster.platform);
        let deployment = deployments.get(&format!("{}-operator", self.cluster.platform)).await?;
        let files = self.files.path().display().to_string();
        let arguments = arguments(&serde_json::to_value(deployment)?);
        let arguments = arguments.iter().map(|argument| argument.replace("/etc/fiorino/tls", &files));
        let options = Options::parse_from([String::from("operator")].into_iter().chain(arguments));
        Cluster::operator_as(self.client.clone(), options)
    }

    /// Removes the release.
    pub(super) async fn uninstall(self) -> Result<()> {
        let kubeconfig = format!("--kubeconfig={}", Parts::get().kubeconfig().display());
        let namespace = format!("--namespace={}", self.cluster.platform);
        helm(&["uninstall", &self.cluster.platform, &namespace, &kubeconfig]).await?;
        Ok(())
    }
}

/// A client with a token of a service account, and nothing else.
async fn as_account(admin: &Client, namespace: &str, account: &str) -> Result<Client> {
    let accounts: Api<ServiceAccount> = Api::namespaced(admin.clone(), namespace);
    let request = TokenRequest {
        spec: Some(TokenRequestSpec { expiration_seconds: Some(3_600), ..TokenRequestSpec::default() }),
        ..TokenRequest::default()
    };
    let issued = accounts.create_token_request(account, &PostParams::default(), &request).await?;
    let token = issued.status.and_then(|status| status.token).context("no token")?;
    let mut kubeconfig = Kubeconfig::read_from(Parts::get().kubeconfig())?;
    for user in &mut kubeconfig.auth_infos {
        user.auth_info = Some(AuthInfo { token: Some(token.clone().into()), ..AuthInfo::default() });
    }
    Ok(Client::try_from(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)?)
}

#[tokio::test]
async fn the_pod_is_one_that_a_restricted_namespace_takes() -> Result<()> {
    let client = Parts::get().kube_client().await?;
    let namespace = Parts::get().create_namespace(&client).await?;
    let label = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.patch(&namespace, &PatchParams::default(), &Patch::Merge(label)).await?;
    let template = Rendered::new(&[]).await?.one("Deployment")["spec"]["template"].clone();
    let pods: Api<Pod> = Api::namespaced(client, &namespace);
    let pod = |name: &str, change: fn(&mut Value)| {
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": template["spec"]});
        change(&mut pod["spec"]);
        serde_json::from_value::<Pod>(pod)
    };
    pods.create(&PostParams::default(), &pod("as-is", |_| {})?).await?;
    let container = |spec: &mut Value| spec["containers"][0]["securityContext"]["capabilities"] = json!({});
    let refused = pods.create(&PostParams::default(), &pod("weaker", container)?).await.unwrap_err().to_string();
    assert!(refused.contains("violates PodSecurity"), "{refused}");
    Ok(())
}

#[tokio::test]
async fn the_account_cannot_write_a_manifest() -> Result<()> {
    let cluster = Cluster::new().await?;
    let installed = Installed::new(&cluster, &[]).await?;
    cluster.platform().await?;
    cluster.municipality().await?;
    let api: Api<fiorino_crds::CreditorInstitution> = Api::namespaced(installed.client.clone(), &cluster.comune);
    let patch = async |patch: Value| {
        api.patch("roccafiorina", &PatchParams::default(), &Patch::Merge(patch)).await.map_err(|it| it.to_string())
    };
    let told = "the operator writes status and its own finalizer, never a manifest";
    // A policy takes effect a moment after it was made; what was written until then is no change a second time.
    let mut attempt = 0;
    eventually(SOON, async || {
        attempt += 1;
        let answer = patch(json!({"spec": {"legalName": format!("Nobody's {attempt}")}})).await;
        ensure!(answer.as_ref().is_err_and(|error| error.contains(told)), "{answer:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    let foreign = json!({"metadata": {"finalizers": ["example.org/other"]}});
    let refused =
        [json!({"metadata": {"labels": {"a": "b"}}}), json!({"metadata": {"annotations": {"a": "b"}}}), foreign];
    for change in refused {
        let error = patch(change.clone()).await.unwrap_err();
        assert!(error.contains(told), "{change}: {error}");
    }
    patch(json!({"metadata": {"finalizers": [fiorino_crds::FINALIZER]}})).await.map_err(anyhow::Error::msg)?;
    patch(json!({"metadata": {"finalizers": []}})).await.map_err(anyhow::Error::msg)?;
    // Whoever else may write does.
    cluster.institution(&json!({"legalName": "Roccafiorina Terme"})).await?;
    installed.uninstall().await
}

#[tokio::test]
async fn a_secret_that_is_not_listed_is_told_with_the_value_to_set() -> Result<()> {
    let cluster = Cluster::new().await?;
    let installed = Installed::new(&cluster, &["--set=subscriptionKeySecrets={another}"]).await?;
    let operator = installed.operator().await?;
    cluster.platform().await?;
    cluster.municipality().await?;
    let wrong = cluster.reads(ConditionType::Validated, ConditionStatus::False).await?;
    let told = format!("may not read Secret {}/pagopa: name it in subscriptionKeySecrets", cluster.platform);
    assert!(wrong.message.contains(&told), "{}", wrong.message);
    operator.stop().await?;
    installed.uninstall().await
}
