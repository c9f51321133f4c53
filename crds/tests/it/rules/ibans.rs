//! What the rules of account numbers refuse and accept.

use serde_json::{Value, json};

use super::{Case, number, spec};

/// As the registry of ISO 13616 shows them: lengths from 15 to 31, letters in every part.
const RIGHT: [&str; 9] = [
    "IT60X0542811101000000123456",
    "DE89370400440532013000",
    "FR1420041010050500013M02606",
    "GB29NWBK60161331926819",
    "MT84MALT011000012345MTLCAST001S",
    "NO9386011117947",
    "SM86U0322509800000000270100",
    "VA59001123000012345678",
    "CH9300762011623852957",
];

/// A wrong digit, two that changed places, a wrong letter, the country, the check digits.
const WRONG: [&str; 6] = [
    "IT60X0542811101000000123457",
    "IT60X0542811101000000124356",
    "IT60Y0542811101000000123456",
    "SM60X0542811101000000123456",
    "IT61X0542811101000000123456",
    "MT84MALT011000012345MTLCAST001T",
];

/// As many numbers as an account may have, of the greatest length: within what the API server spends on rules.
fn fifty() -> Value {
    let entries: Vec<_> =
        (1..=50).map(|day| number(&format!("20{:02}-01-01", 26 + day), "MT84MALT011000012345MTLCAST001S")).collect();
    spec(json!({ "numbers": entries }))
}

fn with(object: &Value, field: &str, value: Value) -> Value {
    let mut changed = object.clone();
    changed[field] = value;
    changed
}

fn first() -> Value {
    number("2026-01-01", "IT70C0998877665000000104233")
}

fn second() -> Value {
    number("2026-07-01", "IT48Z0760111600001047382910")
}

fn withdrawn(entry: &Value) -> Value {
    with(entry, "withdrawn", json!(true))
}

fn numbers(list: Value) -> Value {
    spec(with(&json!({}), "numbers", list))
}

/// As the operator has marked them in the status.
fn fixed(days: Value, list: Value) -> Value {
    with(&numbers(list), "status", with(&json!({}), "fixedNumbers", days))
}

/// Entries that are edited, left out, taken back, added.
pub(super) fn entries() -> Vec<Case> {
    let other = number("2026-01-01", "IT48Z0760111600001047382910");
    vec![
        Case::change(
            "Iban",
            "a number that was paid to, shown by pagoPA or attested is never edited or removed: withdraw its entry and add \
             another with its own validFrom",
            fixed(json!(["2026-01-01"]), json!([first(), second()])),
            vec![
                numbers(json!([second()])),
                numbers(json!([other, second()])),
                numbers(json!([number("2026-01-02", "IT70C0998877665000000104233"), second()])),
            ],
            vec![
                numbers(json!([withdrawn(&first()), second()])),
                numbers(json!([first(), second(), number("2027-01-01", "IT70C0998877665000000104233")])),
                // Nobody paid to the second one, and pagoPA never showed it.
                numbers(json!([first()])),
                numbers(json!([first(), number("2026-07-01", "DE89370400440532013000")])),
                numbers(json!([first(), number("2026-08-01", "IT48Z0760111600001047382910")])),
                spec(json!({"holder": "Tesoreria comunale"})),
            ],
        ),
        Case::change(
            "Iban",
            "a withdrawn number is never taken back: add it with a later validFrom if it shall be used again",
            numbers(json!([withdrawn(&first()), second()])),
            vec![numbers(json!([first(), second()]))],
            vec![
                numbers(json!([withdrawn(&first()), second(), number("2026-08-01", "IT70C0998877665000000104233")])),
                numbers(json!([second()])),
            ],
        ),
        Case::change(
            "Iban",
            "no entry is earlier than the account's earliest, by which it was decided where payments go: give it a later \
             validFrom",
            numbers(json!([first(), second()])),
            vec![
                numbers(json!([number("2025-12-31", "DE89370400440532013000"), first(), second()])),
                numbers(json!([number("2026-03-01", "DE89370400440532013000"), second()])),
            ],
            vec![
                numbers(json!([first(), number("2026-03-01", "DE89370400440532013000"), second()])),
                // Nothing is left of what was there, and nothing of it was fixed: a slip of the pen in the first day.
                numbers(json!([number("2025-12-01", "IT70C0998877665000000104233")])),
            ],
        ),
    ]
}

/// Withdrawals, attestations and check digits.
pub(super) fn marks() -> Vec<Case> {
    let (first, second) = (first(), second());
    let attestation = json!({"by": "Ragioneria", "date": "2026-05-20", "document": "prot. 1/2026"});
    let attested = with(&second, "attestation", attestation.clone());
    vec![
        Case::state(
            "Iban",
            "every number is withdrawn, and nobody could pay: add the number that follows",
            vec![numbers(json!([withdrawn(&first)])), numbers(json!([withdrawn(&first), withdrawn(&second)]))],
            vec![numbers(json!([withdrawn(&first), second]))],
        ),
        Case::change(
            "Iban",
            "an attestation never changes: withdraw the entry and add another with its own validFrom",
            numbers(json!([first, attested])),
            vec![
                numbers(json!([first, second])),
                numbers(json!([first, with(&second, "attestation", with(&attestation, "date", json!("2026-05-21")))])),
            ],
            vec![
                numbers(json!([with(&first, "attestation", attestation.clone()), attested])),
                numbers(json!([first, withdrawn(&attested)])),
            ],
        ),
        Case::state(
            "Iban",
            "the check digits do not fit: compare the number with the bank's letter",
            WRONG.iter().map(|iban| numbers(json!([number("2026-01-01", iban)]))).collect(),
            RIGHT.iter().map(|iban| numbers(json!([number("2026-01-01", iban)]))).chain([fifty()]).collect(),
        ),
    ]
}
