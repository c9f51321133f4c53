//! `PaymentService`: a service of the institution, or the override of one that a profile brings.

use kube_derive::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{schema, status::ObjectStatus};

/// A service (tipo dovuto) of the institution; where a profile brings the same code, what is absent here is inherited.
/// Example: `{code: MENSA, title: {it: Mensa scolastica}, taxonomyCode: 9/0107101TS/, account: tesoreria}`.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "fiorino.dev",
    version = "v1alpha1",
    kind = "PaymentService",
    namespaced,
    crates(kube_core = "::kube_core"),
    category = "payments",
    shortname = "psvc",
    derive = "PartialEq",
    status = "ObjectStatus",
    selectable = ".spec.code",
    doc = "A service (tipo dovuto) of a creditor institution, or the override of one of its profile. Example: examples/comune.yaml.",
    printcolumn(name = "Code", type_ = "string", json_path = ".spec.code"),
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
pub struct PaymentServiceSpec {
    /// Code of the service within the institution; debts name it, so it cannot change. Example: `MENSA`.
    #[schemars(schema_with = "schema::service_code")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("code cannot change: create another PaymentService"))]
    pub code: String,
    /// What citizens read; absent = as in the profile. Example: `{it: Mensa scolastica, en: School canteen}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<LocalizedText>,
    /// Code of PagoPA's taxonomy, with or without routing prefix; absent = as in the profile. Example: `9/0107101TS/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::taxonomy_code")]
    pub taxonomy_code: Option<String>,
    /// `metadata.name` of the Iban that collects; absent = as in the profile. Example: `tesoreria`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::label")]
    pub account: Option<String>,
    /// Limits of an instalment's amount; absent = as in the profile. Example: `{minimumCents: 100, maximumCents: 50000}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<AmountRule>,
    /// What the due date means; absent = as in the profile. Example: `{expiryPolicy: NotPayableAfterDueDate}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_date: Option<DueDateRule>,
    /// Other institutions that share in every payment; what is left goes to the institution itself. A part that is no share of the whole is
    /// given with each debt, to the cent, as a transfer: TEFA, which comes on top of the tax, is 1/21 of the notice.
    /// Example: `[{fiscalCode: "80012340560", account: sanzioni, shareBasisPoints: 5000, taxonomyCode: 9/0201121SA/}]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["fiscalCode".into(), "account".into()]),
        validation = Rule::new("self.map(b, b.shareBasisPoints).sum() <= 10000")
            .message("the shares of all beneficiaries exceed 10000 basis points (100 %)"),
        validation = Rule::new("self.size() < 5 || self.map(b, b.shareBasisPoints).sum() == 10000")
            .message("a payment has 5 transfers at most: with 5 beneficiaries nothing may be left for the institution")
    )]
    pub beneficiaries: Vec<Beneficiary>,
    /// Whether new debts may be created; existing ones stay payable. Absent = as in the profile, else `true`. Example: `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
}

/// A text in the languages of the portal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalizedText {
    /// Italian: on notices, at PSPs and on the portal. Example: `Mensa scolastica`.
    #[schemars(schema_with = "schema::text_140")]
    pub it: String,
    /// English, on the portal; absent = the Italian text. Example: `School canteen`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text_140")]
    pub en: Option<String>,
}

/// Limits of an instalment's amount.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    crates(kube_core = "::kube_core"),
    validation = Rule::new("!has(self.minimumCents) || !has(self.maximumCents) || self.minimumCents <= self.maximumCents")
        .message("minimumCents is greater than maximumCents")
)]
pub struct AmountRule {
    /// Smallest amount of an instalment; absent = 1 cent. Unit: euro cents. Example: `100`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 99_999_999_999_u64))]
    pub minimum_cents: Option<i64>,
    /// Largest amount of an instalment; absent = the node's own limit. Unit: euro cents. Example: `50000`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 99_999_999_999_u64))]
    pub maximum_cents: Option<i64>,
}

/// What happens around the due date of an instalment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DueDateRule {
    /// Whether the notice is payable after its due date. One of: PayableAfterDueDate, NotPayableAfterDueDate (the node is
    /// told that it expired). Example: `NotPayableAfterDueDate`.
    #[serde(default)]
    pub expiry_policy: ExpiryPolicy,
}

/// Whether a notice is payable after its due date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ExpiryPolicy {
    /// Payable after the due date too.
    #[default]
    PayableAfterDueDate,
    /// `PAA_PAGAMENTO_SCADUTO` from the day after the due date.
    NotPayableAfterDueDate,
}

/// A share of every payment that goes to an account of another institution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Beneficiary {
    /// Fiscal code of the beneficiary, a CreditorInstitution of the same platform. Example: `"80012340560"`.
    #[schemars(schema_with = "schema::fiscal_code")]
    pub fiscal_code: String,
    /// `metadata.name` of the beneficiary's Iban; its owner must have published it. Example: `sanzioni`.
    #[schemars(schema_with = "schema::label")]
    pub account: String,
    /// Share of the instalment's amount, before costs and interest; rounded to the cent. TEFA cannot be said with it: debts give that as a
    /// transfer. Unit: basis points (1 = 0.01 %). Example: `5000`.
    #[schemars(range(min = 1, max = 10_000))]
    pub share_basis_points: u32,
    /// Taxonomy code of the beneficiary's transfer; absent = the service's. Example: `9/0201121SA/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::taxonomy_code")]
    pub taxonomy_code: Option<String>,
}
