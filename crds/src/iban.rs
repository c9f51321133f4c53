//! `Iban`: a named collection account.

use jiff::civil::Date;
use kube_derive::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{schema, status::IbanStatus};

/// What the operator's status calls fixed stays as it is. Which numbers these are is tenant's to say, which refuses it too: this rule
/// says so at `kubectl apply`.
const FIXED_STAY: &str = "!has(oldSelf.status) || !has(oldSelf.status.fixedNumbers) || \
    oldSelf.spec.numbers.all(o, !(o.validFrom in oldSelf.status.fixedNumbers) || \
    self.spec.numbers.exists(n, n.validFrom == o.validFrom && n.iban == o.iban))";

const WITHDRAWN_STAY: &str = "oldSelf.numbers.all(o, !o.withdrawn || \
    self.numbers.all(n, n.validFrom != o.validFrom || n.iban != o.iban || n.withdrawn))";

/// Of the entries that stay the earliest remains the earliest; where none stays, nothing was decided yet, or the rule above refuses.
const NONE_EARLIER: &str = "!oldSelf.numbers.exists(o, self.numbers.exists(k, k.validFrom == o.validFrom)) || \
    self.numbers.all(n, oldSelf.numbers.exists(o, o.validFrom <= n.validFrom && \
    self.numbers.exists(k, k.validFrom == o.validFrom)))";

/// ISO 7064 modulo 97: the characters from the fifth on, then the first four, letters counting 10 to 35; remainder 1. CEL knows no fold,
/// so each character is multiplied with the power of ten of its place, taken from a list of 10^n mod 97.
const CHECK_DIGITS: &str = "(27 * [4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, \
    30, 31, 32, 33].map(i, i < size(self) ? '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ'.indexOf(self.substring(i, i + 1)) * \
    [1, 10, 3, 30, 9, 90, 27, 76, 81, 34, 49, 5, 50, 15, 53, 45, 62, 38, 89, 17, 73, 51, 25, 56, 75, 71, 31, 19, 93, 57, 85, 74, \
    61, 28, 86, 84, 64, 58, 95, 77, 91, 37, 79, 14, 43, 42, 32, 29, 96, 87, 94, 67, 88, 7, 70, 21, 16, 63, 48]\
    [size(self) - 1 - i + size(self.substring(i + 1).findAll('[A-Z]'))] : 0).sum() + \
    10000 * '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ'.indexOf(self.substring(0, 1)) + \
    100 * '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ'.indexOf(self.substring(1, 2)) + int(self.substring(2, 4))) % 97 == 1";

/// A collection account of the institution; services name the account, never its number.
/// Example: `{holder: Comune di Fontechiara, numbers: [{validFrom: "2026-01-01", iban: IT60X0542811101000000123456}]}`.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "fiorino.dev",
    version = "v1alpha1",
    kind = "Iban",
    plural = "ibans",
    namespaced,
    crates(kube_core = "::kube_core", kube = "::kube_derive"),
    attr = "x_kube(crates(kube_core = \"::kube_core\"))",
    category = "payments",
    derive = "PartialEq",
    status = "IbanStatus",
    validation = Rule::new(FIXED_STAY).message(
        "a number that was paid to, shown by pagoPA or attested is never edited or removed: withdraw its entry and add another with its own validFrom"
    ),
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
    validation = Rule::new(WITHDRAWN_STAY)
        .message("a withdrawn number is never taken back: add it with a later validFrom if it shall be used again"),
    validation = Rule::new(NONE_EARLIER)
        .message("no entry is earlier than the account's earliest, by which it was decided where payments go: give it a later validFrom"),
    validation = Rule::new("self.numbers.exists(n, !n.withdrawn)")
        .message("every number is withdrawn, and nobody could pay: add the number that follows")
)]
pub struct IbanSpec {
    /// Holder of the account, as registered at the bank. Example: `Comune di Fontechiara`.
    #[schemars(schema_with = "schema::text_140")]
    pub holder: String,
    /// The account's numbers over time: each is used from its `validFrom`, once pagoPA shows it enabled or it is attested; the first of
    /// all at once. A wrong one can be corrected until it was paid to, shown by pagoPA or attested; from then on entries are only
    /// withdrawn, and one that can be paid to must remain. Example: `[{validFrom: "2026-01-01", iban: IT60X0542811101000000123456}]`.
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
#[derive(KubeSchema, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    crates(kube_core = "::kube_core"),
    validation = Rule::new("!has(oldSelf.attestation) || has(self.attestation) && self.attestation == oldSelf.attestation")
        .message("an attestation never changes: withdraw the entry and add another with its own validFrom")
)]
pub struct AccountNumber {
    /// First day on which payments go to this number. Unit: legal date, Europe/Rome. Example: `"2026-01-01"`.
    #[schemars(schema_with = "schema::date")]
    pub valid_from: Date,
    /// The IBAN, upper case, without spaces; postal accounts too. Example: `IT60X0542811101000000123456`.
    #[schemars(length(min = 15, max = 34), regex(pattern = "^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$"))]
    #[x_kube(validation = Rule::new(CHECK_DIGITS).message("the check digits do not fit: compare the number with the bank's letter"))]
    pub iban: String,
    /// The number is no longer used, from now on; it cannot be taken back. Example: `true`.
    #[serde(default)]
    pub withdrawn: bool,
    /// Who vouches for the number, only for an institution that pagoPA does not let the platform read back: it is then used from its
    /// `validFrom`. Where pagoPA's registry is read, pagoPA alone says so.
    /// Example: `{by: Ragioneria, date: "2026-05-20", document: prot. 1234/2026}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attestation: Option<Attestation>,
}

/// Who vouches for a number, since when, and by which document.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attestation {
    /// Office or person who vouches. Example: `Ragioneria`.
    #[schemars(schema_with = "schema::text_140")]
    pub by: String,
    /// Day of the document. Unit: legal date, Europe/Rome. Example: `"2026-05-20"`.
    #[schemars(schema_with = "schema::date")]
    pub date: Date,
    /// Where the document is found, e.g. its protocol number. Example: `prot. 1234/2026`.
    #[schemars(schema_with = "schema::text_140")]
    pub document: String,
}

// === impl AccountNumber ===

impl std::fmt::Debug for AccountNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountNumber")
            .field("valid_from", &self.valid_from)
            .field("iban", &"***")
            .field("withdrawn", &self.withdrawn)
            .field("attestation", &self.attestation)
            .finish()
    }
}

// === impl Attestation ===

impl std::fmt::Debug for Attestation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attestation").field("date", &self.date).finish_non_exhaustive()
    }
}
