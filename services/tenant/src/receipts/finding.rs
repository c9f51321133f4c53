//! What the case of a finding says: field and rule, never a value of the receipt.

use fiorino_domain::case::CaseKind;
use fiorino_kit::telemetry::identifier;
use fiorino_proto::receipts::v1::{Receipt, SchemaViolation};
use serde_json::{Value, json};

use super::arrived::{Arrived, Finding};

/// Violations that a case names; the inbox tells no more.
const VIOLATIONS_MAX: usize = 32;
/// Characters of a field's path.
const FIELD_MAX: usize = 200;

/// The detail of a finding of the inbox.
pub(super) fn detail(arrived: &Arrived, finding: &Finding) -> Value {
    let told = &arrived.told;
    match (&finding.unknown_code, finding.kind) {
        (Some(code), _) => json!({ "code": code }),
        (None, CaseKind::ReceiptSchema) => schema(told),
        (None, CaseKind::ReceiptPathMismatch) => {
            json!({ "station": identifier(&told.station_id), "path_station": path_station(told) })
        }
        (None, CaseKind::ReceiptNotAssociated) => {
            json!({ "broker": identifier(&told.broker), "station": identifier(&told.station_id) })
        }
        (None, _) => json!({ "version": arrived.version, "station": identifier(&told.station_id) }),
    }
}

/// The station of the URL; `?`: it names none, or the inbox does not tell.
fn path_station(told: &Receipt) -> &str {
    match told.path_station.as_str() {
        "" | "?" => "?",
        station => identifier(station),
    }
}

/// Where the schema is broken, and whether an amount is among what nobody can read.
pub(super) fn schema(told: &Receipt) -> Value {
    let violations: Vec<_> = told.violations.iter().take(VIOLATIONS_MAX).map(violation).collect();
    let mut detail = json!({ "violations": violations });
    if violations_are_untold(told) {
        detail["note"] = json!("the inbox of an older version names no field: read the raw message");
    }
    if lacks_an_amount(told) {
        detail["amount"] = json!("the amount could not be read");
    }
    detail
}

/// The total or a transfer's amount is not told.
pub(super) fn lacks_an_amount(told: &Receipt) -> bool {
    told.amount_cents.is_none() || told.transfers.iter().any(|transfer| transfer.amount_cents.is_none())
}

fn violations_are_untold(told: &Receipt) -> bool {
    told.violations.is_empty()
}

fn violation(told: &SchemaViolation) -> Value {
    let cut = |text: &str| text.chars().take(FIELD_MAX).collect::<String>();
    json!({ "field": cut(&told.field), "rule": cut(&told.rule) })
}
