//! The examples are right where only the operator can judge: check digits, mod 97, references.

use std::{collections::BTreeMap, path::Path};

use fiorino_crds::{Broker, CreditorInstitution, Iban, PaymentService, Reason, ServiceProfile, Station};
use fiorino_operator::{
    Environment,
    institution::{dereference::Snapshot, validate::validate},
};
use rstest::rstest;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::world::{found, key, rules, today};

fn of_kind<K: DeserializeOwned>(documents: &[Value], kind: &str) -> Vec<K> {
    let found = documents.iter().filter(|document| document["kind"] == kind);
    found.map(|document| serde_json::from_value(document.clone()).unwrap()).collect()
}

fn documents(files: &[&str]) -> Vec<Value> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let texts = files.iter().map(|file| std::fs::read_to_string(directory.join(file)).unwrap());
    texts.flat_map(|text| serde_saphyr::from_multiple::<Value>(&text).unwrap()).collect()
}

/// The institution of the examples, and how many children its bundle has.
#[rstest]
#[case::municipality(&["platform.yaml", "comune.yaml"], 4, "one account, three services")]
#[case::province(&["provincia.yaml"], 1, "one account")]
fn the_institutions_of_the_examples_are_valid_in_production(
    #[case] files: &[&str],
    #[case] children: usize,
    #[case] which: &str,
) {
    let documents = documents(files);
    let stations: Vec<Station> = of_kind(&documents, "Station");
    let brokers: Vec<Broker> = of_kind(&documents, "Broker");
    let institution = of_kind::<CreditorInstitution>(&documents, "CreditorInstitution").remove(0);
    let profiles: Vec<ServiceProfile> = of_kind(&documents, "ServiceProfile");
    let snapshot = Snapshot {
        profiles: institution.spec.profiles.iter().cloned().zip(profiles.into_iter().map(found)).collect(),
        institution,
        rival: None,
        ibans: of_kind::<Iban>(&documents, "Iban"),
        services: of_kind::<PaymentService>(&documents, "PaymentService"),
        unreadable: Vec::new(),
        stations: stations.into_iter().map(|it| (it.metadata.name.clone().unwrap(), found(it))).collect(),
        brokers: brokers.into_iter().map(|it| (it.metadata.name.clone().unwrap(), found(it))).collect(),
        keys: BTreeMap::from([(key(), Ok("0123456789abcdef".into()))]),
        beneficiaries: BTreeMap::new(),
        today: today(),
    };
    let validated = validate(&snapshot, &rules(Environment::Production));
    let draft = validated.report.draft();
    assert_eq!(draft.reason, Reason::Valid, "{}", draft.message);
    assert_eq!(validated.bundle.unwrap().children.len(), children, "{which}");
}
