//! The account's rights are enough for everything that the operator does, and for nothing else.

use std::{collections::BTreeSet, fmt::Write as _};

use anyhow::{Context as _, Result, ensure};
use fiorino_crds::condition::{ConditionStatus, ConditionType};
use fiorino_proto::config::v1::DistributionState;
use fiorino_test_support::{Parts, eventually};
use k8s_openapi::api::{
    authorization::v1::{
        ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SelfSubjectRulesReview,
        SelfSubjectRulesReviewSpec,
    },
    rbac::v1::{ClusterRole, PolicyRule, Role},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, PostParams},
};
use serde_json::{Value, json};

use super::installed::Installed;
use crate::{
    cluster::{Cluster, SOON, account},
    tenant::Call,
    world::ODD_IBAN,
};

/// A verb and a resource: `patch creditorinstitutions/status.fiorino.dev`.
type Right = String;

#[tokio::test]
async fn in_cluster_mode_what_is_granted_is_what_is_used() -> Result<()> {
    let cluster = Cluster::new().await?;
    let elsewhere = Parts::get().create_namespace(&cluster.client).await?;
    let installed = Installed::new(&cluster, &[]).await?;
    let name = format!("{0}.{0}-operator", cluster.platform);
    let cluster_role = Api::<ClusterRole>::all(cluster.client.clone()).get(&name).await?;
    let mut granted = rights(cluster_role.rules.unwrap_or_default());
    granted.extend(of_roles(&cluster, &cluster.platform).await?);
    assert!(of_roles(&cluster, &cluster.comune).await?.is_empty());
    onboarding(&cluster, &installed).await?;
    assert_eq!(used(&installed.account)?, granted);
    insta::assert_snapshot!(listed(&installed, [&cluster.platform, &cluster.comune, &elsewhere]).await?);
    refused(&cluster, &installed, &elsewhere, false).await?;
    installed.uninstall().await
}

#[tokio::test]
async fn in_namespace_mode_what_is_granted_is_what_is_used() -> Result<()> {
    let cluster = Cluster::new().await?;
    let elsewhere = Parts::get().create_namespace(&cluster.client).await?;
    let watched = format!("--set=watchNamespaces={{{}}}", cluster.comune);
    let installed = Installed::new(&cluster, &[&watched]).await?;
    let name = format!("{0}.{0}-operator", cluster.platform);
    assert!(Api::<ClusterRole>::all(cluster.client.clone()).get_opt(&name).await?.is_none());
    let mut granted = of_roles(&cluster, &cluster.platform).await?;
    granted.extend(of_roles(&cluster, &cluster.comune).await?);
    onboarding(&cluster, &installed).await?;
    assert_eq!(used(&installed.account)?, granted);
    insta::assert_snapshot!(listed(&installed, [&cluster.platform, &cluster.comune, &elsewhere]).await?);
    refused(&cluster, &installed, &elsewhere, true).await?;
    installed.uninstall().await
}

/// From nothing to Ready, a change, a mistake, an outage, a deletion: all that the operator calls the API server for.
async fn onboarding(cluster: &Cluster, installed: &Installed<'_>) -> Result<()> {
    let operator = installed.operator().await?;
    cluster.platform().await?;
    cluster.municipality().await?;
    cluster.reads(ConditionType::Ready, ConditionStatus::True).await?;
    cluster.apply("Iban", &cluster.comune, "wrong", account(ODD_IBAN)).await?;
    cluster.reads(ConditionType::Validated, ConditionStatus::False).await?;
    cluster.delete("Iban", "wrong").await?;
    cluster.reads(ConditionType::Ready, ConditionStatus::True).await?;
    // Told before, and counted then.
    cluster.tenant.change(|world| world.distribution = DistributionState::NoReplica);
    cluster.reads(ConditionType::Ready, ConditionStatus::Unknown).await?;
    cluster.tenant.change(|world| world.distribution = DistributionState::Acknowledged);
    cluster.reads(ConditionType::Ready, ConditionStatus::True).await?;
    cluster.delete("CreditorInstitution", "roccafiorina").await?;
    eventually(SOON, async || {
        let found = cluster.institutions(&cluster.comune).get_opt("roccafiorina").await?;
        ensure!(found.is_none() && cluster.tenant.count(Call::Unmanaged) == 1, "{found:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    let notes = cluster.events(&cluster.comune).await?;
    assert!(notes.iter().any(|note| note.starts_with("Ready is True")), "{notes:?}");
    departures(cluster).await?;
    operator.stop().await
}

/// One that cannot be read goes, and one that went without tenant's knowledge is found.
async fn departures(cluster: &Cluster) -> Result<()> {
    cluster.institution(&json!({})).await?;
    cluster.reads(ConditionType::Ready, ConditionStatus::True).await?;
    let mut absent = cluster.tenant.stored(&cluster.fiscal_code).context("stored")?;
    cluster.make_unreadable().await?;
    cluster.delete("CreditorInstitution", "roccafiorina").await?;
    let api = cluster.api("CreditorInstitution", &cluster.comune);
    eventually(SOON, async || {
        let found = api.get_opt("roccafiorina").await?;
        ensure!(found.is_none() && cluster.tenant.count(Call::Unmanaged) == 2, "{found:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    absent.spec.fiscal_code = Parts::get().fiscal_code();
    "gone".clone_into(&mut absent.name);
    "gone".clone_into(&mut absent.uid);
    cluster.tenant.change(|world| drop(world.institutions.insert(absent.spec.fiscal_code.clone(), absent)));
    eventually(SOON, async || {
        ensure!(cluster.tenant.count(Call::Unmanaged) == 3, "nobody looked");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

/// What the account has asked for and got, out of the API server's audit log; something that was refused fails.
fn used(account: &str) -> Result<BTreeSet<Right>> {
    let log = fs_err::read_to_string(Parts::get().audit_log()?)?;
    let mut used = BTreeSet::new();
    // The last line may be half written.
    let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    for event in events.filter(|event| event["user"]["username"] == account && event["stage"] != "RequestReceived") {
        ensure!(event["responseStatus"]["code"] != 403, "refused: {event}");
        let object = &event["objectRef"];
        let text = |field: &str| object[field].as_str().unwrap_or_default();
        let verb = event["verb"].as_str().unwrap_or_default();
        used.insert(right(verb, text("apiGroup"), text("resource"), text("subresource")));
    }
    Ok(used)
}

async fn of_roles(cluster: &Cluster, namespace: &str) -> Result<BTreeSet<Right>> {
    let roles: Api<Role> = Api::namespaced(cluster.client.clone(), namespace);
    let roles = roles.list(&ListParams::default()).await?;
    let ours = roles.items.into_iter().filter(|role| role.name_any().starts_with(&cluster.platform));
    Ok(rights(ours.flat_map(|role| role.rules.unwrap_or_default())))
}

fn rights(rules: impl IntoIterator<Item = PolicyRule>) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    for rule in rules {
        for (group, resource) in rule
            .api_groups
            .iter()
            .flatten()
            .flat_map(|group| rule.resources.iter().flatten().map(move |it| (group, it)))
        {
            let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
            rights.extend(rule.verbs.iter().map(|verb| right(verb, group, resource, subresource)));
        }
    }
    rights
}

fn right(verb: &str, group: &str, resource: &str, subresource: &str) -> Right {
    let slash = if subresource.is_empty() { "" } else { "/" };
    format!("{verb} {resource}{slash}{subresource}.{group}")
}

/// Everything that the API server says the account may do in namespaces: the platform's, the municipality's, another.
async fn listed(installed: &Installed<'_>, namespaces: [&String; 3]) -> Result<String> {
    let mut text = String::new();
    for (namespace, what) in namespaces.into_iter().zip(["platform", "institution", "elsewhere"]) {
        let review = SelfSubjectRulesReview {
            spec: SelfSubjectRulesReviewSpec { namespace: Some(namespace.clone()) },
            ..SelfSubjectRulesReview::default()
        };
        let api: Api<SelfSubjectRulesReview> = Api::all(installed.client.clone());
        let status = api.create(&PostParams::default(), &review).await?.status.unwrap_or_default();
        ensure!(!status.incomplete, "incomplete: {:?}", status.evaluation_error);
        let rules = status.resource_rules.into_iter().map(|rule| {
            let words = |words: Option<Vec<String>>| words.unwrap_or_default().join(",");
            format!(
                "{} {}.{} {}",
                rule.verbs.join(","),
                words(rule.resources),
                words(rule.api_groups),
                words(rule.resource_names)
            )
        });
        let rules: BTreeSet<String> = rules.map(|rule| rule.trim().to_owned()).collect();
        writeln!(text, "# {what}")?;
        for rule in rules {
            writeln!(text, "{rule}")?;
        }
    }
    Ok(text)
}

/// What must not be possible whatever the rules say.
async fn refused(cluster: &Cluster, installed: &Installed<'_>, elsewhere: &str, namespace_mode: bool) -> Result<()> {
    let (platform, comune) = (cluster.platform.as_str(), cluster.comune.as_str());
    let of_fiorino = |verb, resource| (verb, "fiorino.dev", resource, comune, "");
    let mut attempts = vec![
        ("list", "", "secrets", platform, ""),
        ("watch", "", "secrets", platform, ""),
        ("get", "", "secrets", platform, "operator-tls"),
        ("get", "", "secrets", comune, "pagopa"),
        ("list", "", "secrets", "", ""),
        ("update", "", "secrets", platform, "pagopa"),
        ("get", "", "configmaps", platform, ""),
        ("list", "", "namespaces", "", ""),
        ("create", "", "pods", platform, ""),
        ("create", "", "pods/exec", platform, ""),
        ("create", "", "serviceaccounts/token", platform, ""),
        ("impersonate", "", "users", "", "admin"),
        ("get", "coordination.k8s.io", "leases", platform, "another"),
        ("update", "coordination.k8s.io", "leases", platform, "another"),
        ("delete", "coordination.k8s.io", "leases", platform, "fiorino-operator"),
        ("create", "coordination.k8s.io", "leases", comune, ""),
        ("list", "events.k8s.io", "events", comune, ""),
        ("delete", "events.k8s.io", "events", comune, ""),
        ("bind", "rbac.authorization.k8s.io", "clusterroles", "", "cluster-admin"),
        ("escalate", "rbac.authorization.k8s.io", "roles", platform, ""),
        ("delete", "admissionregistration.k8s.io", "validatingadmissionpolicies", "", ""),
        ("update", "apiextensions.k8s.io", "customresourcedefinitions", "", ""),
        ("patch", "fiorino.dev", "brokers/status", comune, ""),
        of_fiorino("update", "creditorinstitutions"),
        of_fiorino("create", "creditorinstitutions"),
        of_fiorino("delete", "creditorinstitutions"),
        of_fiorino("get", "creditorinstitutions"),
        of_fiorino("patch", "ibans"),
        of_fiorino("patch", "paymentservices"),
        of_fiorino("patch", "stations"),
        of_fiorino("patch", "brokers"),
        of_fiorino("patch", "serviceprofiles"),
    ];
    if namespace_mode {
        attempts.push(("list", "fiorino.dev", "creditorinstitutions", "", ""));
        attempts.push(("watch", "fiorino.dev", "ibans", elsewhere, ""));
        attempts.push(("patch", "fiorino.dev", "creditorinstitutions/status", elsewhere, ""));
        attempts.push(("create", "events.k8s.io", "events", elsewhere, ""));
    }
    for attempt in attempts {
        ensure!(!may(&installed.client, attempt).await?, "{attempt:?} is allowed");
    }
    // The question is asked rightly.
    ensure!(may(&installed.client, ("get", "", "secrets", platform, "pagopa")).await?, "not even what it must");
    Ok(())
}

async fn may(
    client: &Client,
    (verb, group, resource, namespace, name): (&str, &str, &str, &str, &str),
) -> Result<bool> {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let attributes: ResourceAttributes = serde_json::from_value(json!({
        "verb": verb, "group": group, "resource": resource, "subresource": subresource, "namespace": namespace, "name": name,
    }))?;
    let spec =
        SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..SelfSubjectAccessReviewSpec::default() };
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let status = api.create(&PostParams::default(), &review).await?.status.unwrap_or_default();
    Ok(status.allowed)
}
