//! Conditions: what is true of an object, since when, and why.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// One statement about an object (KEP-1623).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What is stated. One of: Ready, Payable, Validated, Distributed, AccountsRegistered, StationAssociated, NodeConnected,
    /// Reconciling, Stalled, Paused. Example: `Ready`.
    #[serde(rename = "type")]
    pub kind: ConditionType,
    /// Whether it holds. One of: True, False, Unknown. Example: `"True"`.
    pub status: ConditionStatus,
    /// The generation of the object that this was found for. Unit: generation number. Example: `4`.
    #[schemars(range(min = 0))]
    pub observed_generation: i64,
    /// When `status` last changed. Unit: instant, RFC 3339, UTC. Example: `"2026-11-22T10:42:00Z"`.
    #[schemars(schema_with = "schema::instant")]
    pub last_transition_time: Timestamp,
    /// Why, as a code of a closed list. Example: `Acknowledged`.
    pub reason: Reason,
    /// Why, in words: what is wrong and who can mend it. Example: `spec.numbers[0].iban: check digits (mod 97) do not match`.
    #[schemars(length(max = 8192))]
    pub message: String,
}

/// What a condition states. `Reconciling`, `Stalled` and `Paused` are absent unless they hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum ConditionType {
    /// Configured here: validated and acknowledged by every service.
    Ready,
    /// What the node would be answered now: notices can be paid. A mistake in the manifest does not unset it.
    Payable,
    /// The manifest and what it refers to are right.
    Validated,
    /// Every live replica of every expected service holds the configuration.
    Distributed,
    /// pagoPA shows the account numbers enabled.
    AccountsRegistered,
    /// pagoPA shows the associations as the manifest has them.
    StationAssociated,
    /// A real call of the node was seen.
    NodeConnected,
    /// Work is under way.
    Reconciling,
    /// Nothing more happens until somebody acts.
    Stalled,
    /// Held by annotation.
    Paused,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Nobody can tell at present.
    Unknown,
}

/// Why a condition is as it is: a closed list, so that tools can rely on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Reason {
    /// Nothing is wrong with the object and its references.
    Valid,
    /// Nothing breaks a rule, but a person should compare what the message names with its source.
    Doubtful,
    /// A field of the object is wrong.
    InvalidField,
    /// A referenced object is missing, does not allow it or is wrong itself.
    InvalidReference,
    /// An account or service of the institution is wrong; the rest is applied.
    InvalidChild,
    /// Nothing was applied so far.
    NotApplied,
    /// Every service acknowledged.
    Acknowledged,
    /// A service has not acknowledged yet.
    Pending,
    /// A replica refused a resource.
    Refused,
    /// No live replica of an expected service.
    NoReplica,
    /// Tenant does not answer: what it knows is unknown.
    TenantUnreachable,
    /// Another object holds the identity.
    Conflict,
    /// Tenant has a higher generation of the same object.
    StaleGeneration,
    /// Tenant refused the resource by a rule of its own.
    RefusedByTenant,
    /// pagoPA shows every account number.
    Registered,
    /// pagoPA does not show an account number as enabled.
    NotRegistered,
    /// The institution has no account.
    NoAccount,
    /// pagoPA shows every association.
    Associated,
    /// pagoPA does not show an association.
    NotAssociated,
    /// pagoPA shows an association differently.
    Differs,
    /// The institution has no association.
    NoAssociation,
    /// pagoPA's registry was not read yet.
    NeverRead,
    /// The node called.
    CallSeen,
    /// The node has not called yet.
    NoCallYet,
    /// Notices can be paid.
    Payable,
    /// The institution's phase is Closed.
    Closed,
    /// The annotation `fiorino.dev/paused` is set.
    PausedByAnnotation,
}

// === impl Condition ===

impl Condition {
    /// Whether the condition holds.
    pub fn is_true(&self) -> bool {
        self.status == ConditionStatus::True
    }
}

// === impl ConditionType ===

impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

// === impl ConditionStatus ===

impl fmt::Display for ConditionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

// === impl Reason ===

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
