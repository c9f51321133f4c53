//! What a station's payment says.

use crate::judge::tree::Element;

/// The accounts of a transfer.
pub(super) fn accounts(transfer: &Element) -> impl Iterator<Item = &str> {
    transfer.text_of("IBAN").into_iter().chain(alternative(transfer))
}

/// The postal account that a transfer names beside the other (SANP, best practices, "PA Postal Bill").
fn alternative(transfer: &Element) -> Option<&str> {
    let mut entries = transfer.child("metadata").into_iter().flat_map(|metadata| &metadata.children);
    entries.find(|entry| entry.text_of("key") == Some("IBANAPPOGGIO"))?.text_of("value")
}

/// Its transfers.
pub(super) fn transfers(payment: &Element) -> impl Iterator<Item = &Element> {
    payment.child("transferList").into_iter().flat_map(|list| list.children.iter())
}
