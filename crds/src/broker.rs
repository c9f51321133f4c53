//! `Broker`: the intermediary towards pagoPA.

use kube_derive::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{reference::SecretKeyReference, schema, status::ObjectStatus};

/// The intermediary (broker) towards pagoPA: who it is, where pagoPA answers and with which keys it is asked.
/// Example: `{fiscalCode: "80087670016"}`.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "fiorino.dev",
    version = "v1alpha1",
    kind = "Broker",
    namespaced,
    crates(kube_core = "::kube_core"),
    category = "payments",
    derive = "PartialEq",
    status = "ObjectStatus",
    selectable = ".spec.fiscalCode",
    doc = "The intermediary (broker) towards pagoPA; lives in the platform's namespace. Example: examples/platform.yaml.",
    printcolumn(name = "Fiscal Code", type_ = "string", json_path = ".spec.fiscalCode"),
    printcolumn(
        name = "Validated",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Validated\")].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        priority = 1,
        json_path = ".status.conditions[?(@.type==\"Validated\")].message"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(crates(kube_core = "::kube_core"))]
pub struct BrokerSpec {
    /// Fiscal code of the broker, as registered at pagoPA; it cannot change. Example: `"80087670016"`.
    #[schemars(schema_with = "schema::fiscal_code")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("fiscalCode cannot change: create another Broker"))]
    pub fiscal_code: String,
    /// Addresses of pagoPA's services where they differ from those of the environment.
    /// Example: `{backoffice: "https://api.uat.platform.pagopa.it/backoffice/external/ec/v1"}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Endpoints>,
    /// Subscription keys of the broker, one entry per product of pagoPA.
    /// Example: `[{product: BackofficeExternal, primary: {name: pagopa-keys, key: backoffice-primary}}]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["product".into()]))]
    pub subscription_keys: Vec<SubscriptionKeys>,
}

/// Addresses of pagoPA's services; absent = those of the platform's environment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    /// Base URL of the Backoffice external API, without trailing slash: stations and accounts are read back from it.
    /// Example: `https://api.uat.platform.pagopa.it/backoffice/external/ec/v1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::url")]
    pub backoffice: Option<String>,
}

/// The key pair of a product, as the Backoffice of pagoPA issues it: either key is accepted, so that they rotate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionKeys {
    /// Product of pagoPA that the keys open. One of: BackofficeExternal. Example: `BackofficeExternal`.
    pub product: Product,
    /// The key that is tried first. Example: `{name: pagopa-keys, key: backoffice-primary}`.
    pub primary: SecretKeyReference,
    /// The key that is tried when the primary one is refused. Example: `{name: pagopa-keys, key: backoffice-secondary}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secondary: Option<SecretKeyReference>,
}

/// Products of pagoPA for which a broker has subscription keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Product {
    /// Backoffice External (EC): read-back of stations, associations and accounts.
    BackofficeExternal,
}
