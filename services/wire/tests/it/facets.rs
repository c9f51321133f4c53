//! One test per facet of the simple types in use (paForNode.xsd, sac-common-types-1.0.xsd; pagopa.md 2.2): what the reader says and
//! what the official schema says is the same, and the writer refuses what the reader would.

mod codes;
mod numbers;
mod texts;

use fiorino_wire::Rule;

use crate::{
    messages::{full, violations, with},
    xsd,
};

/// The element takes the content, in our reader and in the official schema.
#[track_caller]
pub(crate) fn takes(message: &str, element: &str, content: &str) {
    let message = with(&full(message), element, content);
    assert_eq!(violations(&message), [], "{element} {content}");
    xsd::assert_valid(&message);
}

/// The element refuses the content by this rule alone, and the official schema refuses it too.
#[track_caller]
pub(crate) fn refuses(message: &str, element: &str, content: &str, rule: Rule) {
    let message = with(&full(message), element, content);
    let found = violations(&message);
    let fields_ok = found.iter().all(|violation| violation.field.ends_with(element));
    assert!(fields_ok && !found.is_empty(), "{element} {content}: {found:?}");
    assert!(found.iter().all(|violation| violation.rule == rule), "{element} {content}: {found:?}");
    xsd::assert_invalid(&message);
}
