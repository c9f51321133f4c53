//! `Station`: a station of the broker, and who may use it.

use kube_derive::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{reference::LocalReference, schema, status::ObjectStatus};

/// A station of a broker: the address behind which the pagoPA node finds its institutions.
/// Example: `{id: "80087670016_01", brokerRef: {name: regione}, allowedNamespaces: {from: All}}`.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "fiorino.dev",
    version = "v1alpha1",
    kind = "Station",
    namespaced,
    crates(kube_core = "::kube_core"),
    category = "payments",
    derive = "PartialEq",
    status = "ObjectStatus",
    selectable = ".spec.id",
    doc = "A station of the broker; lives in the platform's namespace. Example: examples/platform.yaml.",
    printcolumn(name = "Station", type_ = "string", json_path = ".spec.id"),
    printcolumn(name = "Primitives", type_ = "integer", json_path = ".spec.primitiveVersion"),
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
pub struct StationSpec {
    /// Identifier of the station at pagoPA: `<fiscal code of the broker>_NN`; it cannot change.
    /// Example: `"80087670016_01"`.
    #[schemars(length(max = 14), regex(pattern = "^[0-9]{11}_[0-9]{2}$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("id cannot change: create another Station"))]
    pub id: String,
    /// The Broker of the same namespace to which the station belongs. Example: `{name: regione}`.
    pub broker_ref: LocalReference,
    /// Version of the primitives as registered at pagoPA: 1 = paGetPayment and paSendRT, 2 = paGetPaymentV2 and paSendRTV2.
    /// Unit: version number. Example: `2`.
    #[serde(default = "default_primitive_version")]
    #[schemars(range(min = 1, max = 2))]
    pub primitive_version: u32,
    /// Namespaces whose institutions may be associated with this station. Example: `{from: Names, names: [comune]}`.
    #[serde(default)]
    pub allowed_namespaces: AllowedNamespaces,
}

/// Who may refer to an object of the platform.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    crates(kube_core = "::kube_core"),
    validation = Rule::new("has(self.names) == (self.from == 'Names')").message("names goes with from: Names, and only with it")
)]
pub struct AllowedNamespaces {
    /// Which namespaces. One of: Same (the platform's own), All, Names (those listed). Example: `All`.
    #[serde(default)]
    pub from: NamespaceSource,
    /// The namespaces that are allowed when `from` is Names. Example: `[comune]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::label_set")]
    pub names: Option<Vec<String>>,
}

/// How allowed namespaces are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NamespaceSource {
    /// The namespace of the object itself.
    #[default]
    Same,
    /// Every namespace of the cluster.
    All,
    /// The listed ones.
    Names,
}

// === impl StationSpec ===

const fn default_primitive_version() -> u32 {
    2
}

// === impl AllowedNamespaces ===

impl AllowedNamespaces {
    /// Whether an object of `namespace` may refer to one of `own`.
    pub fn allow(&self, own: &str, namespace: &str) -> bool {
        match self.from {
            NamespaceSource::Same => own == namespace,
            NamespaceSource::All => true,
            NamespaceSource::Names => self.names.iter().flatten().any(|name| name == namespace),
        }
    }
}
