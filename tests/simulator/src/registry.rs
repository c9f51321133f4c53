//! What pagoPA knows: brokers, stations, institutions, their associations and accounts. Empty at start.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

/// An intermediary with the keys of its subscriptions.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Broker {
    /// 11 digits.
    pub fiscal_code: String,
    /// Keys accepted in `Ocp-Apim-Subscription-Key`.
    #[serde(skip_serializing)]
    pub subscription_keys: Vec<String>,
}

/// A station with the addresses behind its one URL.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Station {
    /// `<broker fiscal code>_NN`
    pub station_id: String,
    /// 11 digits.
    pub broker_fiscal_code: String,
    /// Complete URLs. A load balancer is simulated: calls go round, and to the next one when a connection is refused.
    pub urls: Vec<String>,
    /// 1 or 2.
    #[serde(default = "two")]
    pub primitive_version: u8,
    /// Switched on at pagoPA.
    #[serde(default = "yes")]
    pub enabled: bool,
}

/// A creditor institution.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Institution {
    /// 11 digits.
    pub fiscal_code: String,
    /// As pagoPA shows it.
    pub company_name: String,
    /// Switched on at pagoPA.
    #[serde(default = "yes")]
    pub enabled: bool,
}

/// Institution and station.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Association {
    /// Of the institution.
    pub fiscal_code: String,
    /// Of the station.
    pub station_id: String,
    /// 0-3.
    #[serde(default = "three")]
    pub aux_digit: u8,
    /// Two digits; for aux digit 3.
    #[serde(default)]
    pub segregation_code: Option<String>,
    /// Two digits; for aux digit 0.
    #[serde(default)]
    pub application_code: Option<String>,
    /// Receives copies of the receipts of every payment that its institution has a share in.
    #[serde(default)]
    pub broadcast: bool,
}

/// A registered account number.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegisteredIban {
    /// Of the institution.
    pub fiscal_code: String,
    /// Without spaces.
    pub iban: String,
    /// RFC 3339.
    pub validity_date: jiff::Timestamp,
    /// Switched on at pagoPA.
    #[serde(default = "yes")]
    pub enabled: bool,
}

/// Everything that is registered.
#[derive(Debug, Default, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Contents {
    /// By fiscal code.
    pub brokers: BTreeMap<String, Broker>,
    /// By id.
    pub stations: BTreeMap<String, Station>,
    /// By fiscal code.
    pub institutions: BTreeMap<String, Institution>,
    /// One per (institution, station).
    pub associations: Vec<Association>,
    /// One per (institution, number).
    pub ibans: Vec<RegisteredIban>,
}

/// [`Contents`] behind a lock.
#[derive(Debug, Default)]
pub struct Registry(Mutex<Contents>);

/// Where a notice of an institution is served.
#[derive(Debug, Clone)]
pub struct Route {
    /// The institution.
    pub institution: Institution,
    /// The station that answers for the notice.
    pub station: Station,
}

fn yes() -> bool {
    true
}

fn two() -> u8 {
    2
}

fn three() -> u8 {
    3
}

// === impl Registry ===

impl Registry {
    /// The contents, locked. Held for moments only, never across an await.
    pub fn lock(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Contents ===

impl Contents {
    /// Adds or replaces an association.
    pub fn put_association(&mut self, new: Association) {
        self.associations.retain(|a| (&a.fiscal_code, &a.station_id) != (&new.fiscal_code, &new.station_id));
        self.associations.push(new);
    }

    /// Ends an association; `false` when there was none.
    pub fn remove_association(&mut self, fiscal_code: &str, station_id: &str) -> bool {
        let before = self.associations.len();
        self.associations.retain(|a| (a.fiscal_code.as_str(), a.station_id.as_str()) != (fiscal_code, station_id));
        self.associations.len() < before
    }

    /// Adds or replaces an account number.
    pub fn put_iban(&mut self, new: RegisteredIban) {
        self.ibans.retain(|i| (&i.fiscal_code, &i.iban) != (&new.fiscal_code, &new.iban));
        self.ibans.push(new);
    }

    /// The station that serves a notice: by aux digit, and by the code inside the number for aux digits 0 and 3.
    pub fn route(&self, fiscal_code: &str, notice_number: &str) -> Option<Route> {
        let institution = self.institutions.get(fiscal_code).filter(|i| i.enabled)?;
        let aux = notice_number.get(..1)?.parse::<u8>().ok()?;
        let code = notice_number.get(1..3)?;
        let association = self.associations.iter().find(|a| {
            a.fiscal_code == fiscal_code
                && a.aux_digit == aux
                && match aux {
                    3 => a.segregation_code.as_deref() == Some(code),
                    0 => a.application_code.as_deref() == Some(code),
                    _ => true,
                }
        })?;
        let station = self.stations.get(&association.station_id).filter(|s| s.enabled)?;
        Some(Route { institution: institution.clone(), station: station.clone() })
    }

    /// Every (addressee, station) that gets a receipt: the primary one, and the broadcast stations of all who have a share.
    pub fn addressees(&self, primary: &Route, beneficiaries: &[String]) -> Vec<(String, Station)> {
        let mut found = vec![(primary.institution.fiscal_code.clone(), primary.station.clone())];
        for association in self.associations.iter().filter(|a| a.broadcast && beneficiaries.contains(&a.fiscal_code)) {
            let Some(station) = self.stations.get(&association.station_id) else { continue };
            let entry = (association.fiscal_code.clone(), station.clone());
            if !found.iter().any(|(code, s)| *code == entry.0 && s.station_id == entry.1.station_id) {
                found.push(entry);
            }
        }
        found
    }

    /// Whether a payment may be credited there today.
    pub fn iban_usable(&self, fiscal_code: &str, iban: &str, now: jiff::Timestamp) -> bool {
        self.ibans.iter().any(|i| i.fiscal_code == fiscal_code && i.iban == iban && i.enabled && i.validity_date <= now)
    }
}
