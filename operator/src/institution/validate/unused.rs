//! Objects that no institution uses yet, judged by what they say alone: whoever creates the platform first, or an account before its
//! institution, is told what is wrong with it all the same.

use fiorino_crds::{
    Broker, Iban, PaymentService, ServiceProfile, Station,
    expand::{Problem, expand},
};

use super::{
    Rules, accounts,
    findings::Judged,
    platform::{self, Keys},
    services,
};
use crate::institution::{
    dereference::Found,
    subject::{Kinded, Subject},
};

/// What no institution uses.
#[derive(Debug, Clone, Default)]
pub struct Unused {
    /// Brokers.
    pub brokers: Vec<Broker>,
    /// Their subscription keys.
    pub keys: Keys,
    /// Stations with their brokers.
    pub stations: Vec<(Station, Found<Broker>)>,
    /// Profiles.
    pub profiles: Vec<ServiceProfile>,
    /// Accounts in namespaces without institution.
    pub ibans: Vec<Iban>,
    /// Services in namespaces without institution.
    pub services: Vec<PaymentService>,
}

/// What is wrong with each of them.
pub fn unused(unused: &Unused, rules: &Rules) -> Vec<Judged> {
    let Unused { brokers, keys, stations, profiles, ibans, services } = unused;
    let mut all = Vec::new();
    all.extend(brokers.iter().map(|broker| judge(broker, |it| platform::broker(broker, keys, rules, it))));
    all.extend(
        stations.iter().map(|(station, broker)| judge(station, |it| platform::station(station, Some(broker), it))),
    );
    all.extend(profiles.iter().map(|profile| judge(profile, |_| ())));
    all.extend(ibans.iter().map(|iban| judge(iban, |it| accounts::account(iban, it))));
    all.extend(services.iter().map(|service| judge(service, |it| alone(service, it))));
    all
}

fn judge<K: Kinded, T>(object: &K, rule: impl FnOnce(&mut Judged) -> T) -> Judged {
    let mut judged = Judged::new(Subject::of(object));
    rule(&mut judged);
    judged
}

/// What a profile, an account or another institution may bring later is not missed yet.
fn alone(service: &PaymentService, judged: &mut Judged) {
    let mut complaints = Vec::new();
    if let Some(code) = &service.spec.taxonomy_code {
        services::taxonomy(code, "spec.taxonomyCode", &mut complaints);
    }
    if expand(&[], &[&service.spec]).problems.iter().any(|problem| matches!(problem, Problem::Amount { .. })) {
        complaints.push(services::amount());
    }
    for complaint in &complaints {
        judged.error(complaint);
    }
}
