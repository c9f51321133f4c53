//! `Iban`: a named collection account.

use jiff::civil::Date;
use kube_derive::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{schema, status::ObjectStatus};

/// A collection account of the institution; services name the account, never its number.
/// Example: `{holder: Comune di Fontechiara, numbers: [{validFrom: "2026-01-01", iban: IT60X0542811101000000123456}]}`.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "fiorino.dev",
    version = "v1alpha1",
    kind = "Iban",
    plural = "ibans",
    namespaced,
    crates(kube_core = "::kube_core"),
    category = "payments",
    derive = "PartialEq",
    status = "ObjectStatus",
    doc = "A named collection account of a creditor institution. Example: examples/comune.yaml.",
    selectable = ".spec.published",
    printcolumn(name = "Holder", type_ = "string", json_path = ".spec.holder"),
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
#[x_kube(
    crates(kube_core = "::kube_core"),
    validation = Rule::new(
        "oldSelf.numbers.all(o, self.numbers.exists(n, n.validFrom == o.validFrom && n.iban == o.iban && (!o.withdrawn || n.withdrawn)))"
    ).message("numbers are never removed, edited or taken back: withdraw the entry and add another with its own validFrom")
)]
pub struct IbanSpec {
    /// Holder of the account, as registered at the bank. Example: `Comune di Fontechiara`.
    #[schemars(schema_with = "schema::text_140")]
    pub holder: String,
    /// The account's numbers over time: each is used from its `validFrom`, once pagoPA shows it enabled. Entries are never
    /// removed or edited, only withdrawn. Example: `[{validFrom: "2026-01-01", iban: IT60X0542811101000000123456}]`.
    #[schemars(length(min = 1, max = 50))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["validFrom".into()]))]
    pub numbers: Vec<AccountNumber>,
    /// Whether services and debts of other institutions may name this account as a beneficiary's. Example: `true`.
    #[serde(default)]
    pub published: bool,
    /// `metadata.name` of another Iban of the institution, a postal one: payments by postal slip go to its number, and pagoPA's own touch
    /// points are told of it. Its numbers have days and read-back of their own. Example: `posta`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::label")]
    pub postal_account: Option<String>,
}

/// A number of an account and the day from which it is used.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountNumber {
    /// First day on which payments go to this number. Unit: legal date, Europe/Rome. Example: `"2026-01-01"`.
    #[schemars(schema_with = "schema::date")]
    pub valid_from: Date,
    /// The IBAN, upper case, without spaces; postal accounts too. Example: `IT60X0542811101000000123456`.
    #[schemars(length(min = 15, max = 34), regex(pattern = "^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$"))]
    pub iban: String,
    /// The number is no longer used, from now on; it cannot be taken back. Example: `true`.
    #[serde(default)]
    pub withdrawn: bool,
}

// === impl AccountNumber ===

impl std::fmt::Debug for AccountNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountNumber")
            .field("valid_from", &self.valid_from)
            .field("iban", &"***")
            .field("withdrawn", &self.withdrawn)
            .finish()
    }
}
