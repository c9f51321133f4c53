//! Stations and brokers that the institution refers to. Wrong ones are left out: tenant keeps what it has of them.

use std::collections::BTreeMap;

use fiorino_crds::{Broker, Reason, Station, broker::Product, reference::SecretKeyReference};
use fiorino_proto::config::v1::{BrokerSpec, Resource, ResourceKind, StationSpec};

use super::{
    Rules, check_digit,
    findings::{Complaint, Judged, Report},
};
use crate::institution::{
    bundle::Origin,
    dereference::{Found, Snapshot},
    secrets,
    subject::Subject,
};

/// Subscription keys, by reference.
pub(super) type Keys = BTreeMap<SecretKeyReference, secrets::Value>;

pub(super) fn shared(snapshot: &Snapshot, rules: &Rules, report: &mut Report) -> Vec<Resource> {
    let mut resources = Vec::new();
    for found in snapshot.brokers.values() {
        let Found::Object(broker) = found else { continue };
        let mut judged = Judged::new(Subject::of(&**broker));
        resources.extend(self::broker(broker, &snapshot.keys, rules, &mut judged));
        report.add(judged);
    }
    for found in snapshot.stations.values() {
        let Found::Object(station) = found else { continue };
        let mut judged = Judged::new(Subject::of(&**station));
        let broker = snapshot.brokers.get(&station.spec.broker_ref.name);
        resources.extend(self::station(station, broker, &mut judged));
        report.add(judged);
    }
    resources
}

pub(super) fn broker(broker: &Broker, keys: &Keys, rules: &Rules, judged: &mut Judged) -> Option<Resource> {
    let spec = &broker.spec;
    check_digit(&spec.fiscal_code, "spec.fiscalCode", rules.environment, |complaint, error| {
        if error { judged.error(&complaint) } else { judged.warn(&complaint) }
    });
    let sealed_backoffice_keys: Vec<_> =
        backoffice_keys(broker, keys, rules, judged).into_iter().map(Into::into).collect();
    let stated = spec.endpoints.as_ref().and_then(|endpoints| endpoints.backoffice.clone());
    // Without a key pagoPA's own address answers nobody.
    let default = || (!sealed_backoffice_keys.is_empty()).then(|| rules.environment.backoffice_url().to_owned());
    let backoffice_url = stated.or_else(default).unwrap_or_default();
    let message = BrokerSpec { fiscal_code: spec.fiscal_code.clone(), backoffice_url, sealed_backoffice_keys };
    judged.errors.is_empty().then(|| Origin::of(broker).resource(ResourceKind::Broker, &message, ""))
}

fn backoffice_keys(broker: &Broker, keys: &Keys, rules: &Rules, judged: &mut Judged) -> Vec<Vec<u8>> {
    let mut sealed = Vec::new();
    for (index, product) in broker.spec.subscription_keys.iter().enumerate() {
        let Product::BackofficeExternal = product.product;
        let references = [("primary", Some(&product.primary)), ("secondary", product.secondary.as_ref())];
        for (which, reference) in references {
            let Some((reference, value)) = reference.and_then(|it| Some((it, keys.get(it)?))) else {
                continue;
            };
            match value {
                Ok(key) => sealed.push(key.clone()),
                Err(problem) => judged.error(&Complaint {
                    reason: Reason::InvalidReference,
                    field: format!("spec.subscriptionKeys[{index}].{which}"),
                    problem: problem.text(&rules.platform, reference),
                    remedy: "it is looked for again by itself".to_owned(),
                }),
            }
        }
    }
    sealed
}

pub(super) fn station(station: &Station, broker: Option<&Found<Broker>>, judged: &mut Judged) -> Option<Resource> {
    let spec = &station.spec;
    let name = &spec.broker_ref.name;
    let trouble = match broker {
        Some(Found::Object(broker)) if spec.id.starts_with(&format!("{}_", broker.spec.fiscal_code)) => {
            let message = StationSpec {
                station_id: spec.id.clone(),
                broker_fiscal_code: broker.spec.fiscal_code.clone(),
                primitive_version: spec.primitive_version,
            };
            return Some(Origin::of(station).resource(ResourceKind::Station, &message, ""));
        }
        Some(Found::Object(broker)) => Complaint {
            reason: Reason::InvalidReference,
            field: "spec.brokerRef".to_owned(),
            problem: format!(
                "{} is no station of Broker {name}, whose fiscal code is {}",
                spec.id, broker.spec.fiscal_code
            ),
            remedy: "name the Broker with which spec.id begins".to_owned(),
        },
        Some(Found::Unreadable(error)) => Complaint {
            reason: Reason::InvalidReference,
            field: "spec.brokerRef".to_owned(),
            problem: format!("Broker {name} cannot be read ({error})"),
            remedy: "correct it or upgrade the operator".to_owned(),
        },
        Some(Found::Missing) | None => Complaint {
            reason: Reason::InvalidReference,
            field: "spec.brokerRef".to_owned(),
            problem: format!("Broker {name} does not exist in this namespace"),
            remedy: "create it or correct the name".to_owned(),
        },
    };
    judged.error(&trouble);
    None
}
