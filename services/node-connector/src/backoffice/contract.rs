//! What the Backoffice external API answers (`openapi_backoffice_external_ec.json`), and what of it tenant is told.

use fiorino_proto::config::v1::{RegisteredAssociation, RegisteredIban};
use serde::Deserialize;

/// `GET /brokers/{brokerCode}/creditor_institutions`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InstitutionsPage {
    creditor_institutions: Vec<BrokerInstitution>,
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
    ibans: Vec<InstitutionIban>,
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

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageInfo {
    total_pages: u64,
}

/// One page of a listing.
pub(crate) trait Page: serde::de::DeserializeOwned {
    type Item;
    /// Last path segment of the listing.
    const LISTING: &'static str;

    /// How many pages the listing has at present.
    fn total_pages(&self) -> u64;
    fn into_items(self) -> Vec<Self::Item>;
}

// === impl Page ===

impl Page for InstitutionsPage {
    type Item = RegisteredAssociation;
    const LISTING: &'static str = "creditor_institutions";

    fn total_pages(&self) -> u64 {
        self.page_info.total_pages
    }

    fn into_items(self) -> Vec<RegisteredAssociation> {
        self.creditor_institutions.into_iter().filter_map(BrokerInstitution::into_association).collect()
    }
}

impl Page for IbansPage {
    type Item = RegisteredIban;
    const LISTING: &'static str = "ibans";

    fn total_pages(&self) -> u64 {
        self.page_info.total_pages
    }

    fn into_items(self) -> Vec<RegisteredIban> {
        self.ibans.into_iter().map(InstitutionIban::into_registered).collect()
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

    fn associations(institution: &str) -> Vec<RegisteredAssociation> {
        let page = format!(
            r#"{{"creditorInstitutions":[{institution}],"pageInfo":{{"limit":100,"page":0,"totalElements":1,"totalPages":1}}}}"#
        );
        serde_json::from_str::<InstitutionsPage>(&page).unwrap().into_items()
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
        let page: IbansPage = serde_json::from_str(&page).unwrap();
        assert!(!format!("{page:?}").contains("IT60X"), "the number must not be printed");
        assert_eq!(page.into_items()[0].enabled, enabled);
    }
}
