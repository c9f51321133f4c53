//! What the Backoffice external API answers (`openapi_backoffice_external_ec.json`), and what of it tenant is told.

use fiorino_proto::config::v1::{RegisteredAssociation, RegisteredIban};
use serde::{Deserialize, de::IgnoredAny};

/// `GET /brokers/{brokerCode}/creditor_institutions`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InstitutionsPage {
    creditor_institutions: Vec<Line<BrokerInstitution>>,
    page_info: PageInfo,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct BrokerInstitution {
    tax_code: String,
    // Optional in the contract: an institution without a station has no association to tell of.
    station_id: Option<String>,
    aux_digit: String,
    segregation_code: Option<String>,
    application_code: Option<String>,
    #[serde(default)]
    broadcast: Option<bool>,
    ci_status: bool,
    station_state: String,
    primitive_version: Option<u32>,
}

/// `GET /brokers/{brokerCode}/ibans`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IbansPage {
    ibans: Vec<Line<InstitutionIban>>,
    page_info: PageInfo,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InstitutionIban {
    ci_fiscal_code: String,
    iban: String,
    status: String,
    validity_date: String,
}

/// How much a listing has at present.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PageInfo {
    pub(crate) total_elements: u64,
    pub(crate) total_pages: u64,
}

/// A line, or one that breaks the contract: it must not hide the others.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Line<T> {
    Read(T),
    Unreadable(IgnoredAny),
}

/// What was read of a listing so far.
#[derive(Debug)]
pub(crate) struct Listing<T> {
    pub(crate) items: Vec<T>,
    /// Lines as the registry counts them, also those that tell nothing or cannot be read.
    pub(crate) lines: u64,
    /// Lines that break the contract.
    pub(crate) unreadable: u64,
}

/// One page of a listing.
pub(crate) trait Page: serde::de::DeserializeOwned {
    type Item;
    /// Last path segment of the listing.
    const LISTING: &'static str;

    fn page_info(&self) -> PageInfo;
    fn add_to(self, listing: &mut Listing<Self::Item>);
}

// === impl Listing ===

impl<T> Default for Listing<T> {
    fn default() -> Self {
        Self { items: Vec::new(), lines: 0, unreadable: 0 }
    }
}

impl<T> Listing<T> {
    /// Counts every line; `item`: what it tells, if anything.
    fn add<L>(&mut self, lines: Vec<Line<L>>, item: impl Fn(L) -> Option<T>) {
        for line in lines {
            self.lines += 1;
            match line {
                Line::Read(line) => self.items.extend(item(line)),
                Line::Unreadable(_) => self.unreadable += 1,
            }
        }
    }
}

// === impl Page ===

impl Page for InstitutionsPage {
    type Item = RegisteredAssociation;
    const LISTING: &'static str = "creditor_institutions";

    fn page_info(&self) -> PageInfo {
        self.page_info
    }

    fn add_to(self, listing: &mut Listing<RegisteredAssociation>) {
        listing.add(self.creditor_institutions, BrokerInstitution::into_association);
    }
}

impl Page for IbansPage {
    type Item = RegisteredIban;
    const LISTING: &'static str = "ibans";

    fn page_info(&self) -> PageInfo {
        self.page_info
    }

    fn add_to(self, listing: &mut Listing<RegisteredIban>) {
        listing.add(self.ibans, |iban| Some(iban.into_registered()));
    }
}

// === impl BrokerInstitution ===

impl BrokerInstitution {
    fn into_association(self) -> Option<RegisteredAssociation> {
        Some(RegisteredAssociation {
            institution: self.tax_code,
            station_id: self.station_id.filter(|station| !station.is_empty())?,
            enabled: self.ci_status && is_enabled(&self.station_state),
            aux_digit: self.aux_digit,
            segregation_code: self.segregation_code.unwrap_or_default(),
            application_code: self.application_code.unwrap_or_default(),
            broadcast: self.broadcast.unwrap_or_default(),
            primitive_version: self.primitive_version.unwrap_or_default(),
        })
    }
}

// === impl InstitutionIban ===

impl std::fmt::Debug for InstitutionIban {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("InstitutionIban").field("ci_fiscal_code", &self.ci_fiscal_code).finish_non_exhaustive()
    }
}

impl InstitutionIban {
    fn into_registered(self) -> RegisteredIban {
        RegisteredIban {
            institution: self.ci_fiscal_code,
            enabled: is_enabled(&self.status),
            validity_date: self.validity_date,
            iban: self.iban,
        }
    }
}

/// The contract gives `enabled` (stations) and `ENABLED` (accounts) as examples, pagoPA's registry says `ACTIVE` too.
fn is_enabled(state: &str) -> bool {
    ["enabled", "active"].iter().any(|word| state.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const INSTITUTION: &str = r#"{
        "taxCode": "77777777777", "companyName": "Comune", "brokerTaxCode": "88888888888", "brokerCompanyName": "Regione",
        "model": 4, "auxDigit": "3", "segregationCode": "12", "ciStatus": true, "stationId": "88888888888_01",
        "stationState": "enabled", "version": "1", "intermediated": true, "broadcast": false, "primitiveVersion": 2
    }"#;

    fn read<P: Page>(page: &str) -> Listing<P::Item> {
        let mut listing = Listing::default();
        serde_json::from_str::<P>(page).unwrap().add_to(&mut listing);
        listing
    }

    fn associations(institution: &str) -> Vec<RegisteredAssociation> {
        let page = format!(
            r#"{{"creditorInstitutions":[{institution}],"pageInfo":{{"limit":100,"page":0,"totalElements":1,"totalPages":1}}}}"#
        );
        read::<InstitutionsPage>(&page).items
    }

    #[test]
    fn an_association_is_told_as_it_stands_at_pagopa() {
        assert_eq!(
            associations(INSTITUTION),
            [RegisteredAssociation {
                institution: "77777777777".into(),
                station_id: "88888888888_01".into(),
                aux_digit: "3".into(),
                segregation_code: "12".into(),
                application_code: String::new(),
                broadcast: false,
                enabled: true,
                primitive_version: 2,
            }]
        );
    }

    #[rstest]
    #[case::institution_disabled("\"ciStatus\": true", "\"ciStatus\": false")]
    #[case::station_disabled("\"stationState\": \"enabled\"", "\"stationState\": \"disabled\"")]
    fn both_must_be_enabled(#[case] from: &str, #[case] to: &str) {
        assert!(!associations(&INSTITUTION.replace(from, to))[0].enabled);
    }

    #[test]
    fn an_institution_without_station_is_no_association() {
        assert!(associations(&INSTITUTION.replace("\"stationId\": \"88888888888_01\",", "")).is_empty());
    }

    #[rstest]
    #[case("ENABLED", true)]
    #[case("ACTIVE", true)]
    #[case("DISABLED", false)]
    #[case("", false)]
    fn an_account_is_enabled_only_when_pagopa_says_so(#[case] status: &str, #[case] enabled: bool) {
        let page = format!(
            r#"{{"ibans":[{{"ciFiscalCode":"77777777777","ciName":"Comune","iban":"IT60X0542811101000000123456","status":"{status}",
                "validityDate":"2026-01-01T00:00:00Z"}}],"pageInfo":{{"limit":100,"page":0,"totalElements":1,"totalPages":1}}}}"#
        );
        let parsed: IbansPage = serde_json::from_str(&page).unwrap();
        assert!(!format!("{parsed:?}").contains("IT60X"), "the number must not be printed");
        assert_eq!(read::<IbansPage>(&page).items[0].enabled, enabled);
    }

    #[test]
    fn a_line_that_breaks_the_contract_hides_no_other() {
        let nameless = INSTITUTION.replace("\"77777777777\"", "null");
        let page = format!(
            r#"{{"creditorInstitutions":[{nameless},{INSTITUTION},7],"pageInfo":{{"totalElements":3,"totalPages":1}}}}"#
        );
        let listing = read::<InstitutionsPage>(&page);
        assert_eq!((listing.items.len(), listing.lines, listing.unreadable), (1, 3, 2));
    }
}
