//! Status: written by the operator alone, read by people and tools.

use kube_derive::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    condition::{Condition, ConditionType},
    institution::Phase,
    lenient,
    waiting::WaitingFor,
};

/// How far an institution is and who must act next.
/// Example: `{stage: Associated, waitingFor: {party: Institution, action: RegisterAccounts}}`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(crates(kube_core = "::kube_core"))]
pub struct InstitutionStatus {
    /// Generation of the manifest that this status speaks of. Unit: generation number. Example: `4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Highest step of the onboarding whose predecessors all hold. One of: Requested, AgreementSigned, Associated,
    /// AccountsRegistered, Tested, Live. Example: `Tested`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::word")]
    #[schemars(with = "Stage")]
    pub stage: Option<Stage>,
    /// Who must do what, so that the institution gets further; absent = nothing is waited for.
    /// Example: `{party: PagoPA, action: AssociateStation, since: "2026-11-22T10:42:00Z"}`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "WaitingFor::known")]
    pub waiting_for: Option<WaitingFor>,
    /// The phase in effect at tenant. One of: Testing, Live, Suspended, Leaving, Closed. Example: `Live`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::word")]
    #[schemars(with = "Phase")]
    pub phase: Option<Phase>,
    /// The services in effect at tenant, by code. Example: `[{code: MENSA, state: Active}]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::list")]
    #[schemars(length(max = 1000))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["code".into()]))]
    pub services: Vec<EffectiveServiceStatus>,
    /// What is true of the institution. Example: `[{type: Ready, status: "True", reason: Acknowledged}]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::list")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// Whether an object is right, as the operator found it.
/// Example: `{conditions: [{type: Validated, status: "True", reason: Valid}]}`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(crates(kube_core = "::kube_core"))]
pub struct ObjectStatus {
    /// Generation of the manifest that this status speaks of. Unit: generation number. Example: `4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// What is true of the object. Example: `[{type: Validated, status: "True", reason: Valid}]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient::list")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// Steps of the onboarding, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Stage {
    /// The manifest exists.
    Requested,
    /// The adhesion has a date.
    AgreementSigned,
    /// pagoPA shows the associations.
    Associated,
    /// pagoPA shows the account numbers.
    AccountsRegistered,
    /// A real call of the node was seen.
    Tested,
    /// The phase is Live.
    Live,
}

/// A service as tenant has it in effect.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveServiceStatus {
    /// Code of the service. Example: `MENSA`.
    #[schemars(length(max = 35))]
    pub code: String,
    /// Profile and revision that brought the service; absent = the institution's own. Example: `comune-standard/7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 80))]
    pub profile_revision: Option<String>,
    /// Whether new debts may be created. One of: Active, Inactive. Example: `Active`.
    pub state: ServiceState,
}

/// Whether new debts of a service may be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum ServiceState {
    /// New debts may be created.
    Active,
    /// Only existing debts are served.
    Inactive,
}

// === impl InstitutionStatus ===

impl InstitutionStatus {
    /// The condition of a type.
    pub fn condition(&self, kind: ConditionType) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }
}

// === impl ObjectStatus ===

impl ObjectStatus {
    /// The condition of a type.
    pub fn condition(&self, kind: ConditionType) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }
}
