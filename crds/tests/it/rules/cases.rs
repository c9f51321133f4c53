//! What each rule refuses and accepts.

use serde_json::{Value, json};

use super::{Case, association, ibans, merge, spec, station, template};

pub(super) fn cases() -> Vec<Case> {
    [identities(), institution_states(), association_states(), others(), ibans::entries(), ibans::marks()]
        .into_iter()
        .flatten()
        .collect()
}

fn identities() -> Vec<Case> {
    vec![
        Case::change(
            "Broker",
            "fiscalCode cannot change: create another Broker",
            json!({}),
            vec![spec(json!({"fiscalCode": "80041780356"}))],
            vec![spec(json!({"endpoints": {"backoffice": "https://api.uat.platform.pagopa.it/x"}}))],
        ),
        Case::change(
            "Station",
            "id cannot change: create another Station",
            json!({}),
            vec![spec(json!({"id": "91073550427_02"}))],
            vec![spec(json!({"primitiveVersion": 1}))],
        ),
        Case::change(
            "CreditorInstitution",
            "fiscalCode cannot change: create another CreditorInstitution",
            json!({}),
            vec![spec(json!({"fiscalCode": "91073550427"}))],
            vec![spec(json!({"legalName": "Roccafiorina Terme"}))],
        ),
        Case::change(
            "PaymentService",
            "code cannot change: create another PaymentService",
            json!({}),
            vec![spec(json!({"code": "SCUOLABUS"}))],
            vec![spec(json!({"account": "scuola"})), spec(json!({"active": false}))],
        ),
        Case::change(
            "ServiceProfile",
            "a revision never changes: create the next one",
            json!({}),
            vec![
                spec(json!({"services": [template("TARI"), template("MENSA")]})),
                spec(json!({"services": [{"code": "TARI", "title": {"it": "TARI"}, "taxonomyCode": "9/0101101IM/",
                    "account": "tesoreria", "amount": {"minimumCents": 100}}]})),
                spec(json!({"revision": 2})),
            ],
            vec![json!({"metadata": {"labels": {"wave": "canary"}}})],
        ),
        Case::state(
            "ServiceProfile",
            "metadata.name must be <profile>-<revision>, so that a revision exists once",
            vec![spec(json!({"revision": 2})), spec(json!({"profile": "other"}))],
            vec![json!({})],
        ),
    ]
}

fn institution_states() -> Vec<Case> {
    let kind = "CreditorInstitution";
    let leaving = json!({"date": "2027-01-01"});
    let url = "https://pagamenti.roccafiorina.example";
    vec![
        Case::state(
            kind,
            "an institution without associations must name its platform: set platformRef",
            vec![spec(json!({"associations": null})), spec(json!({"associations": []}))],
            vec![spec(json!({"associations": null, "platformRef": {"namespace": "fiorino"}}))],
        ),
        Case::state(
            kind,
            "platformRef names another namespace than the stations do",
            vec![spec(json!({"platformRef": {"namespace": "altrove"}}))],
            vec![spec(json!({"platformRef": {"namespace": "fiorino"}}))],
        ),
        Case::state(
            kind,
            "only an institution with role Full has associations",
            vec![spec(json!({"role": {"kind": "BeneficiaryOnly"}}))],
            vec![spec(
                json!({"role": {"kind": "BeneficiaryOnly"}, "associations": null, "platformRef": {"namespace": "fiorino"}}),
            )],
        ),
        Case::state(
            kind,
            "externalUrl goes with kind: CatalogueOnly, and only with it",
            vec![
                spec(json!({"role": {"externalUrl": url}})),
                spec(
                    json!({"role": {"kind": "CatalogueOnly"}, "associations": null, "platformRef": {"namespace": "fiorino"}}),
                ),
            ],
            vec![spec(json!({"role": {"kind": "CatalogueOnly", "externalUrl": url}, "associations": null,
                "platformRef": {"namespace": "fiorino"}}))],
        ),
        Case::state(
            kind,
            "phase Leaving needs the object leaving",
            vec![spec(json!({"lifecycle": {"phase": "Leaving"}}))],
            vec![spec(json!({"lifecycle": {"phase": "Leaving", "leaving": leaving}}))],
        ),
        Case::state(
            kind,
            "leaving goes with the phases Leaving and Closed only",
            vec![spec(json!({"lifecycle": {"phase": "Live", "leaving": leaving}}))],
            vec![
                spec(json!({"lifecycle": {"phase": "Closed", "leaving": leaving}})),
                spec(json!({"lifecycle": {"phase": "Closed"}})),
            ],
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table: a case per rule of associations")]
fn association_states() -> Vec<Case> {
    let kind = "CreditorInstitution";
    let list = |associations: Value| spec(json!({ "associations": associations }));
    let accepting = |aux_digit: u32, code: Value| {
        let mut association =
            json!({"stationRef": station("fiorino"), "auxDigit": aux_digit, "state": "AcceptingOnly"});
        merge(&mut association, &code);
        association
    };
    let merged = |mut association: Value, change: Value| {
        merge(&mut association, &change);
        association
    };
    // The same code on another station, which issues nothing.
    let beside = |code: &str, nav_prefix: &str| {
        let second = json!({"stationRef": {"namespace": "fiorino", "name": "valdarda-02"}, "state": "AcceptingOnly", "entry": "second"});
        merged(association(code, nav_prefix), second)
    };
    vec![
        Case::state(
            kind,
            "all stations of an institution belong to one platform: their namespaces differ",
            vec![list(json!([association("12", ""), {"stationRef": station("altrove"), "segregationCode": "13"}]))],
            vec![list(json!([association("12", ""), association("13", "")]))],
        ),
        Case::state(
            kind,
            "ranges overlap: with the same code one navPrefix begins with the other",
            vec![
                list(json!([association("12", ""), association("12", "1")])),
                list(json!([association("12", "1"), association("12", "10")])),
            ],
            vec![
                list(json!([association("12", "1"), association("12", "2")])),
                list(json!([association("12", "1"), association("13", "1")])),
                list(json!([association("12", ""), beside("12", "")])),
            ],
        ),
        Case::state(
            kind,
            "the same code stands twice on one station: remove one of the two entries",
            vec![list(json!([
                association("12", ""),
                merged(beside("12", ""), json!({"stationRef": station("fiorino")}))
            ]))],
            vec![list(json!([association("12", ""), beside("12", "")]))],
        ),
        Case::state(
            kind,
            "a code issues through one station only: set state AcceptingOnly on the others",
            vec![list(json!([association("12", ""), merged(beside("12", ""), json!({"state": "Issuing"}))]))],
            vec![
                list(json!([association("12", "1"), association("12", "2")])),
                list(json!([merged(association("12", ""), json!({"state": "AcceptingOnly"})), beside("12", "")])),
                list(json!([
                    association("12", ""),
                    beside("12", ""),
                    merged(
                        beside("12", ""),
                        json!({"entry": "third", "stationRef": {"namespace": "fiorino", "name": "valdarda-03"}})
                    )
                ])),
            ],
        ),
        Case::state(
            kind,
            "segregationCode goes with auxDigit 3, and only with it",
            vec![list(json!([association("", "")])), list(json!([accepting(2, json!({"segregationCode": "12"}))]))],
            vec![list(json!([association("00", "")])), list(json!([accepting(2, json!({}))]))],
        ),
        Case::state(
            kind,
            "applicationCode goes with auxDigit 0, and only with it",
            vec![
                list(json!([accepting(0, json!({}))])),
                list(json!([accepting(3, json!({"segregationCode": "12", "applicationCode": "01"}))])),
            ],
            vec![list(json!([accepting(0, json!({"applicationCode": "01"}))]))],
        ),
        Case::state(
            kind,
            "new notices are issued with auxDigit 3 only: set state to AcceptingOnly",
            vec![
                list(json!([{"stationRef": station("fiorino"), "auxDigit": 1}])),
                list(json!([{"stationRef": station("fiorino"), "auxDigit": 0, "applicationCode": "01"}])),
            ],
            vec![list(json!([accepting(1, json!({}))]))],
        ),
    ]
}

fn others() -> Vec<Case> {
    let amount = "minimumCents is greater than maximumCents";
    let five = |share: u32| (0..5).map(|account| beneficiary(account, share)).collect::<Vec<_>>();
    let services = |amount: Value| {
        let mut template = template("TARI");
        template["amount"] = amount;
        spec(json!({ "services": [template] }))
    };
    vec![
        Case::state(
            "Station",
            "names goes with from: Names, and only with it",
            vec![
                spec(json!({"allowedNamespaces": {"from": "Names"}})),
                spec(json!({"allowedNamespaces": {"from": "All", "names": ["comune"]}})),
            ],
            vec![spec(json!({"allowedNamespaces": {"from": "Names", "names": ["comune"]}}))],
        ),
        Case::state(
            "PaymentService",
            amount,
            vec![spec(json!({"amount": {"minimumCents": 200, "maximumCents": 100}}))],
            vec![
                spec(json!({"amount": {"minimumCents": 100, "maximumCents": 100}})),
                spec(json!({"amount": {"minimumCents": 200}})),
            ],
        ),
        Case::state(
            "ServiceProfile",
            amount,
            vec![services(json!({"minimumCents": 200, "maximumCents": 100}))],
            vec![services(json!({"maximumCents": 100}))],
        ),
        Case::state(
            "PaymentService",
            "the shares of all beneficiaries exceed 10000 basis points (100 %)",
            vec![spec(json!({"beneficiaries": [beneficiary(1, 6000), beneficiary(2, 4001)]}))],
            vec![spec(json!({"beneficiaries": [beneficiary(1, 6000), beneficiary(2, 4000)]}))],
        ),
        Case::state(
            "PaymentService",
            "a payment has 5 transfers at most: with 5 beneficiaries nothing may be left for the institution",
            vec![spec(json!({"beneficiaries": five(1999)}))],
            vec![spec(json!({"beneficiaries": five(2000)}))],
        ),
    ]
}

fn beneficiary(account: usize, share: u32) -> Value {
    json!({"fiscalCode": "80236140770", "account": format!("conto-{account}"), "shareBasisPoints": share})
}
