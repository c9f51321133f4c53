//! Schemas that several kinds share: one place per format.

use schemars::{Schema, SchemaGenerator, json_schema};

/// 11 digits of an organisation: creditor institution, broker.
pub(crate) fn fiscal_code(_: &mut SchemaGenerator) -> Schema {
    text(11, "^[0-9]{11}$")
}

/// A legal date, 1900 to 2999; the API server checks that the day exists.
pub(crate) fn date(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date", "maxLength": 10, "pattern": "^(19|2[0-9])[0-9]{2}-[0-9]{2}-[0-9]{2}$"})
}

/// 1 to 140 characters that a message to the node can carry: not only white space of any script, no control characters nor U+FFFE and U+FFFF
/// (stText140). The API server counts a character above U+FFFF as one, the node as two: the operator tells of the rest.
pub(crate) fn text_140(_: &mut SchemaGenerator) -> Schema {
    text(140, r"^[^\p{Cc}\x{FFFE}\x{FFFF}]*[^\p{Cc}\p{Z}\x{FFFE}\x{FFFF}][^\p{Cc}\x{FFFE}\x{FFFF}]*$")
}

/// An instant, RFC 3339.
pub(crate) fn instant(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date-time", "maxLength": 40})
}

/// Name of an object: DNS subdomain (RFC 1123).
pub(crate) fn object_name(_: &mut SchemaGenerator) -> Schema {
    text(253, r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
}

/// Name of a namespace, of a collection account, of a profile: DNS label (RFC 1123).
pub(crate) fn label(_: &mut SchemaGenerator) -> Schema {
    text(63, r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
}

/// Namespaces without repetition.
pub(crate) fn label_set(generator: &mut SchemaGenerator) -> Schema {
    let item = label(generator);
    json_schema!({"type": "array", "maxItems": 2000, "x-kubernetes-list-type": "set", "items": item})
}

/// Host names without repetition.
pub(crate) fn hostname_set(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array", "maxItems": 16, "x-kubernetes-list-type": "set",
        "items": text(253, r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+$"),
    })
}

/// Two digits or nothing: segregation and application codes.
pub(crate) fn two_digits(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "maxLength": 2, "pattern": "^([0-9]{2})?$"})
}

/// Code of a service: upper case, because accounting systems compare it that way.
pub(crate) fn service_code(_: &mut SchemaGenerator) -> Schema {
    text(35, "^[A-Z0-9][A-Z0-9_.-]*$")
}

/// Code of PagoPA's taxonomy with or without routing prefix and trailing slash (SANP 3.11, taxonomy of collection services).
pub(crate) fn taxonomy_code(_: &mut SchemaGenerator) -> Schema {
    text(12, "^([6-9]/)?[0-9]{7}(IM|TS|SP|SA|AP)/?$")
}

/// Base URL without trailing slash: HTTPS, or HTTP on loopback (a simulator on the same machine).
pub(crate) fn url(_: &mut SchemaGenerator) -> Schema {
    text(255, r"^(https://[^\s/]+|http://(127\.0\.0\.1|localhost)(:[0-9]{1,5})?)(/[^\s/]+)*$")
}

/// Address of a page that citizens are sent to: HTTPS alone.
pub(crate) fn page(_: &mut SchemaGenerator) -> Schema {
    text(255, r"^https://[^\s/@]+(/[^\s]*)?$")
}

fn text(max_length: u32, pattern: &str) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": max_length, "pattern": pattern})
}
