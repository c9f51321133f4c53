//! `ServiceProfile`: a revision of the catalogue's standard services for a kind of institution.

use kube_derive::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    schema,
    service::{AmountRule, DueDateRule, LocalizedText},
    status::ObjectStatus,
};

/// Standard services for a kind of institution. One object per revision, which never changes: a change is a new revision.
/// Example: `{profile: comune-standard, revision: 7, services: [{code: TARI, title: {it: Tassa sui rifiuti},
/// taxonomyCode: 9/0101101IM/, account: tesoreria}]}`.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "fiorino.dev",
    version = "v1alpha1",
    kind = "ServiceProfile",
    namespaced,
    crates(kube_core = "::kube_core", kube = "::kube_derive"),
    attr = "x_kube(crates(kube_core = \"::kube_core\"))",
    category = "payments",
    derive = "PartialEq",
    status = "ObjectStatus",
    selectable = ".spec.profile",
    selectable = ".spec.revision",
    doc = "A revision of the catalogue's standard services; lives in the platform's namespace. Example: examples/platform.yaml.",
    validation = Rule::new(
        "self.metadata.name.startsWith(self.spec.profile + '-') && self.metadata.name.substring(self.spec.profile.size() + 1).matches('^[1-9][0-9]*$') && int(self.metadata.name.substring(self.spec.profile.size() + 1)) == self.spec.revision"
    ).message("metadata.name must be <profile>-<revision>, so that a revision exists once"),
    printcolumn(name = "Profile", type_ = "string", json_path = ".spec.profile"),
    printcolumn(name = "Revision", type_ = "integer", json_path = ".spec.revision"),
    printcolumn(name = "Validated", type_ = "string", json_path = ".status.conditions[?(@.type==\"Validated\")].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        priority = 1,
        json_path = ".status.conditions[?(@.type==\"Validated\")].message"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    crates(kube_core = "::kube_core"),
    validation = Rule::new("self == oldSelf").message("a revision never changes: create the next one")
)]
pub struct ServiceProfileSpec {
    /// Name of the profile that this is a revision of. Example: `comune-standard`.
    #[schemars(schema_with = "schema::label")]
    pub profile: String,
    /// The revision; institutions pin it. Unit: revision number. Example: `7`.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub revision: u32,
    /// The services that an institution with this profile has.
    /// Example: `[{code: TARI, title: {it: Tassa sui rifiuti}, taxonomyCode: 9/0101101IM/, account: tesoreria}]`.
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["code".into()]))]
    pub services: Vec<ServiceTemplate>,
}

/// A service as a profile brings it; a PaymentService with the same code overrides field by field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceTemplate {
    /// Code of the service within each institution. Example: `TARI`.
    #[schemars(schema_with = "schema::service_code")]
    pub code: String,
    /// What citizens read about the service. Example: `{it: Tassa sui rifiuti (TARI), en: Waste tax}`.
    pub title: LocalizedText,
    /// Code of PagoPA's taxonomy, with or without routing prefix. Example: `9/0101101IM/`.
    #[schemars(schema_with = "schema::taxonomy_code")]
    pub taxonomy_code: String,
    /// `metadata.name` of the institution's Iban that collects. Example: `tesoreria`.
    #[schemars(schema_with = "schema::label")]
    pub account: String,
    /// Limits of an instalment's amount; absent = none but the node's. Example: `{minimumCents: 100}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<AmountRule>,
    /// What the due date means; absent = payable after it too. Example: `{expiryPolicy: NotPayableAfterDueDate}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_date: Option<DueDateRule>,
    /// Whether new debts may be created unless a PaymentService says otherwise. Example: `true`.
    #[serde(default = "default_active")]
    pub active: bool,
}

// === impl ServiceTemplate ===

const fn default_active() -> bool {
    true
}
