//! `CreditorInstitution`: the public body, its associations with stations and the point it has reached in its life.

use jiff::civil::Date;
use kube_derive::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    reference::{PlatformReference, ProfileReference, StationReference},
    schema,
    status::InstitutionStatus,
};

/// The public body whose notices citizens pay.
/// Example: `{fiscalCode: "80012340560", legalName: Comune di Fontechiara, kind: Municipality, associations:
/// [{stationRef: {namespace: fiorino, name: regione-01}, segregationCode: "12"}]}`.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "fiorino.dev",
    version = "v1alpha1",
    kind = "CreditorInstitution",
    namespaced,
    crates(kube_core = "::kube_core"),
    category = "payments",
    shortname = "enti",
    derive = "PartialEq",
    status = "InstitutionStatus",
    selectable = ".spec.fiscalCode",
    selectable = ".spec.lifecycle.phase",
    doc = "A creditor institution (ente creditore) and how far it is from being payable. Example: examples/comune.yaml.",
    printcolumn(name = "Stage", type_ = "string", json_path = ".status.stage"),
    printcolumn(name = "Waiting For", type_ = "string", json_path = ".status.waitingFor.party"),
    printcolumn(name = "Since", type_ = "date", json_path = ".status.waitingFor.since"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Payable", type_ = "string", json_path = ".status.conditions[?(@.type==\"Payable\")].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Action", type_ = "string", priority = 1, json_path = ".status.waitingFor.action"),
    printcolumn(name = "Message", type_ = "string", priority = 1, json_path = ".status.waitingFor.detail")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    crates(kube_core = "::kube_core"),
    validation = Rule::new("has(self.platformRef) || (has(self.associations) && self.associations.size() > 0)")
        .message("an institution without associations must name its platform: set platformRef"),
    validation = Rule::new(
        "!has(self.platformRef) || !has(self.associations) || self.associations.all(a, a.stationRef.__namespace__ == self.platformRef.__namespace__)"
    ).message("platformRef names another namespace than the stations do"),
    validation = Rule::new("self.role.kind == 'Full' || !has(self.associations) || self.associations.size() == 0")
        .message("only an institution with role Full has associations")
)]
pub struct InstitutionSpec {
    /// Fiscal code of the institution (codice fiscale, 11 digits); it is its identity and cannot change.
    /// Example: `"80012340560"`.
    #[schemars(schema_with = "schema::fiscal_code")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("fiscalCode cannot change: create another CreditorInstitution"))]
    pub fiscal_code: String,
    /// Code in the index of public administrations (IPA). Example: `c_x999`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40), regex(pattern = "^[A-Za-z0-9_]+$"))]
    pub ipa_code: Option<String>,
    /// Legal name, as it stands on notices and at PSPs. Example: `Comune di Fontechiara`.
    #[schemars(schema_with = "schema::text_140")]
    pub legal_name: String,
    /// Office that is named beside the institution on notices and at PSPs. Example: `Ufficio tributi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text_140")]
    pub office_name: Option<String>,
    /// What the institution is. One of: Municipality, UnionOfMunicipalities, Province, MetropolitanCity, Region,
    /// HealthAuthority, School, University, Chamber, Ministry, PublicCompany, Other. Example: `Municipality`.
    pub kind: InstitutionKind,
    /// Residents, for institutions that have some: it sizes what they need. Unit: inhabitants. Example: `9850`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000_000))]
    pub population: Option<u32>,
    /// Code by which home banking finds the institution (CBILL, once SIA). Example: `BTX42`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 5, max = 5), regex(pattern = "^[A-Z0-9]{5}$"))]
    pub cbill_code: Option<String>,
    /// What the institution does on this platform. Example: `{kind: Full}`.
    #[serde(default)]
    pub role: Role,
    /// Point of its life; only this stops payments. Example: `{phase: Testing}`.
    #[serde(default)]
    pub lifecycle: Lifecycle,
    /// The agreement between institution and broker. Example: `{date: "2026-01-15"}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adhesion: Option<Adhesion>,
    /// The platform that serves the institution; absent = that of its stations. Example: `{namespace: fiorino}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform_ref: Option<PlatformReference>,
    /// Associations with stations, as pagoPA registered them.
    /// Example: `[{stationRef: {namespace: fiorino, name: regione-01}, segregationCode: "12"}]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["auxDigit".into(), "segregationCode".into(), "applicationCode".into(), "navPrefix".into()]),
        validation = Rule::new("self.all(a, a.stationRef.__namespace__ == self[0].stationRef.__namespace__)")
            .message("all stations of an institution belong to one platform: their namespaces differ"),
        validation = Rule::new(
            "self.all(a, self.filter(b, b.auxDigit == a.auxDigit && b.segregationCode == a.segregationCode && b.applicationCode == a.applicationCode && a.navPrefix.startsWith(b.navPrefix)).size() == 1)"
        ).message("ranges overlap: with the same code one navPrefix begins with the other")
    )]
    pub associations: Vec<Association>,
    /// First number of the sequence from which notice numbers are made: an institution that comes from another system, or
    /// back from a backup, starts above what was issued. Unit: count of notices. Example: `250000`.
    #[serde(default)]
    #[schemars(range(min = 0, max = 9_999_999_999_999_u64))]
    pub nav_floor: i64,
    /// Revisions of the catalogue's profiles that bring services. Example: `[{name: comune-standard, revision: 7}]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub profiles: Vec<ProfileReference>,
    /// The citizens' portal of the institution. Example: `{hostnames: [fontechiara.pagamenti.example]}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub portal: Option<Portal>,
}

/// Kinds of institutions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum InstitutionKind {
    /// Comune.
    Municipality,
    /// Unione di comuni.
    UnionOfMunicipalities,
    /// Provincia.
    Province,
    /// Città metropolitana.
    MetropolitanCity,
    /// Regione or autonomous province.
    Region,
    /// Azienda sanitaria or ospedaliera.
    HealthAuthority,
    /// Istituto scolastico.
    School,
    /// Università.
    University,
    /// Camera di commercio.
    Chamber,
    /// Ministero.
    Ministry,
    /// Società a controllo pubblico, gestore di pubblico servizio.
    PublicCompany,
    /// Any other body.
    Other,
}

/// What the institution does on this platform.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    crates(kube_core = "::kube_core"),
    validation = Rule::new("has(self.externalUrl) == (self.kind == 'CatalogueOnly')")
        .message("externalUrl goes with kind: CatalogueOnly, and only with it")
)]
pub struct Role {
    /// The role. One of: Full (issues notices), BeneficiaryOnly (receives shares of others' payments), CatalogueOnly (is
    /// listed, and pays elsewhere). Example: `Full`.
    #[serde(default)]
    pub kind: RoleKind,
    /// Where citizens pay an institution that is only listed. Example: `https://pagamenti.comune.example`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::url")]
    pub external_url: Option<String>,
}

/// Roles of an institution on a platform.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RoleKind {
    /// Issues notices and is paid.
    #[default]
    Full,
    /// Receives shares of other institutions' payments.
    BeneficiaryOnly,
    /// Is listed; its citizens pay elsewhere.
    CatalogueOnly,
}

/// The point of its life at which the institution is.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    crates(kube_core = "::kube_core"),
    validation = Rule::new("self.phase != 'Leaving' || has(self.leaving)").message("phase Leaving needs the object leaving"),
    validation = Rule::new("!has(self.leaving) || self.phase in ['Leaving', 'Closed']")
        .message("leaving goes with the phases Leaving and Closed only")
)]
pub struct Lifecycle {
    /// The phase. One of: Testing (answers the node like Live), Live, Suspended (no new notice, existing ones stay payable),
    /// Leaving (served until the association disappears at pagoPA), Closed (no longer payable). Example: `Live`.
    #[serde(default)]
    pub phase: Phase,
    /// When and to whom the institution leaves. Example: `{date: "2027-01-01", to: "80087670016"}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaving: Option<Leaving>,
}

/// Phases of an institution's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Being tested: answers the node like [`Phase::Live`].
    #[default]
    Testing,
    /// In production.
    Live,
    /// No new notice; the existing ones stay payable.
    Suspended,
    /// Served until the association disappears at pagoPA.
    Leaving,
    /// No longer payable; receipts are still taken.
    Closed,
}

/// When and to whom the institution leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Leaving {
    /// Day on which the other broker takes over. Unit: legal date, Europe/Rome. Example: `"2027-01-01"`.
    #[schemars(schema_with = "schema::date")]
    pub date: Date,
    /// Fiscal code of the broker that takes over, if one does. Example: `"80087670016"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::fiscal_code")]
    pub to: Option<String>,
}

/// The agreement between institution and broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Adhesion {
    /// Day on which the agreement was signed. Unit: legal date, Europe/Rome. Example: `"2026-01-15"`.
    #[schemars(schema_with = "schema::date")]
    pub date: Date,
}

/// An association between institution and station, as pagoPA models it.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    crates(kube_core = "::kube_core"),
    validation = Rule::new("(self.segregationCode != '') == (self.auxDigit == 3)")
        .message("segregationCode goes with auxDigit 3, and only with it"),
    validation = Rule::new("(self.applicationCode != '') == (self.auxDigit == 0)")
        .message("applicationCode goes with auxDigit 0, and only with it"),
    validation = Rule::new("self.state != 'Issuing' || self.auxDigit == 3")
        .message("new notices are issued with auxDigit 3 only: set state to AcceptingOnly")
)]
pub struct Association {
    /// The station through which the node reaches the institution. Example: `{namespace: fiorino, name: regione-01}`.
    pub station_ref: StationReference,
    /// First digit of the notice numbers. Unit: digit 0-3; 3 is the only one for new notices. Example: `3`.
    #[serde(default = "default_aux_digit")]
    #[schemars(range(min = 0, max = 3))]
    pub aux_digit: u32,
    /// Two digits that pagoPA assigned to the institution with this broker, for auxDigit 3. Example: `"12"`.
    #[serde(default)]
    #[schemars(schema_with = "schema::two_digits")]
    pub segregation_code: String,
    /// Two digits that pagoPA assigned to the station, for auxDigit 0. Example: `"01"`.
    #[serde(default)]
    #[schemars(schema_with = "schema::two_digits")]
    pub application_code: String,
    /// Whether the station also gets receipts of payments that others collect for the institution. Example: `false`.
    #[serde(default)]
    pub broadcast: bool,
    /// Who makes the notice numbers of this range. One of: Platform, SoftwareClient, Gpd, External. Example: `Platform`.
    #[serde(default)]
    pub issuer: Issuer,
    /// Digits with which the 13-digit base of each notice number of this range begins; may be empty. Example: `"1"`.
    #[serde(default)]
    #[schemars(length(max = 6), regex(pattern = "^[0-9]*$"))]
    pub nav_prefix: String,
    /// Whether new notices are issued. One of: Issuing, AcceptingOnly (existing notices stay payable). Example: `Issuing`.
    #[serde(default)]
    pub state: AssociationState,
}

/// Who makes the notice numbers of a range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Issuer {
    /// Fiorino.
    #[default]
    Platform,
    /// The institution's software house.
    SoftwareClient,
    /// PagoPA's GPD.
    Gpd,
    /// Another system.
    External,
}

/// Whether a range is still issued from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum AssociationState {
    /// New notices are issued.
    #[default]
    Issuing,
    /// Only existing notices are served.
    AcceptingOnly,
}

/// The citizens' portal of the institution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Portal {
    /// Host names under which the portal shows this institution. Example: `[fontechiara.pagamenti.example]`.
    #[schemars(schema_with = "schema::hostname_set")]
    pub hostnames: Vec<String>,
    /// Page on which citizens find whom to ask: pages of the portal link it. Example: `https://www.comune.example/contatti`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::page")]
    pub contact_url: Option<String>,
    /// Declaration of accessibility that public bodies publish for each site (law 4/2004, article 3-quater): pages of the portal link it.
    /// Example: `https://www.comune.example/accessibilita`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::page")]
    pub accessibility_url: Option<String>,
}

// === impl InstitutionSpec ===

impl InstitutionSpec {
    /// Namespace of the platform that serves the institution: that of its stations, else of `platformRef`.
    pub fn platform(&self) -> Option<&str> {
        let station = self.associations.first().map(|association| association.station_ref.namespace.as_str());
        station.or_else(|| self.platform_ref.as_ref().map(|platform| platform.namespace.as_str()))
    }
}

// === impl Association ===

const fn default_aux_digit() -> u32 {
    3
}

impl Association {
    /// The two digits of the range: segregation or application code; empty for the digits 1 and 2.
    pub fn code(&self) -> &str {
        if self.aux_digit == 0 { &self.application_code } else { &self.segregation_code }
    }
}
