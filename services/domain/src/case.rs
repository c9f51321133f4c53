//! Cases: what was taken in and needs a person. Nothing is refused because it is odd (ARCHITECTURE.md 4.5).

use crate::text::public_text;

/// Result of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// No case has this code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind of case")]
pub struct Error;

/// Declares the closed list: kind, stable code, meaning.
macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $kind:ident = $code:literal,)+) => {
        /// Why a person must look: a closed list. The codes are stored and shown, and never change.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum CaseKind {
            $($(#[doc = $doc])+ $kind,)+
        }

        impl CaseKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$kind),+];

            /// The stable code, such as `receipt_double`.
            pub const fn as_str(&self) -> &'static str {
                match self {
                    $(Self::$kind => $code,)+
                }
            }

            /// Reads a code.
            ///
            /// # Errors
            /// Not one of the list.
            pub fn parse(code: &str) -> Result<Self> {
                match code {
                    $($code => Ok(Self::$kind),)+
                    _ => Err(Error),
                }
            }
        }
    };
}

kinds! {
    /// A receipt for a notice number that we never issued nor took over.
    ReceiptUnknownNotice = "receipt_unknown_notice",
    /// A second receipt for an instalment that is paid: the debtor paid twice and is to be refunded.
    ReceiptDouble = "receipt_double",
    /// A receipt for an instalment that had been cancelled or superseded.
    ReceiptLate = "receipt_late",
    /// A receipt for an instalment that was still a draft.
    ReceiptUnpublished = "receipt_unpublished",
    /// What was paid is not what the last activation asked for, or without one not the instalment's amount.
    ReceiptAmountDiffers = "receipt_amount_differs",
    /// A receipt id that was received before, with other content: a further version of it.
    ReceiptVersion = "receipt_version",
    /// A receipt that violates the official schema but can be read.
    ReceiptSchema = "receipt_schema",
    /// A receipt whose outcome is not OK: it is kept and pays nothing, as pagoPA sends receipts of made payments only.
    ReceiptOutcome = "receipt_outcome",
    /// A receipt that came to the path of another station than it names.
    ReceiptPathMismatch = "receipt_path_mismatch",
    /// A receipt for a broker, station and institution that are ours but were never associated with each other.
    ReceiptNotAssociated = "receipt_not_associated",
    /// A message of the node that cannot be read as a receipt; it was kept as it came.
    ReceiptUnreadable = "receipt_unreadable",
    /// A receipt for a broker, station or institution that was never ours.
    AddresseeNeverOurs = "addressee_never_ours",
    /// An institution is served although its manifest was deleted.
    InstitutionUnmanaged = "institution_unmanaged",
    /// No account number of an institution can be used today, and a payment needs one.
    NoAccount = "no_account",
    /// A flow reports as paid an instalment that nobody could pay: a draft, cancelled, or superseded.
    FlowNotPayable = "flow_not_payable",
    /// A message between our own parts that cannot be applied; it was parked as it came.
    MessagePoison = "message_poison",
    /// Messages between our own parts were gone before they were read: what they told is to be compared with who told it.
    MessagesExpired = "messages_expired",
    /// A topic between our own parts was deleted and made anew: what the old one still held is to be sent again.
    TopicReplaced = "topic_replaced",
    /// The node-connectors' database went back in time: raw messages of receipts that were applied meanwhile are gone.
    InboxRestored = "inbox_restored",
}

public_text!(CaseKind, Error);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_distinct_and_read_back() {
        let codes: BTreeSet<&str> = CaseKind::ALL.iter().map(CaseKind::as_str).collect();
        assert_eq!(codes.len(), CaseKind::ALL.len());
        for kind in CaseKind::ALL {
            assert_eq!(CaseKind::parse(kind.as_str()), Ok(*kind));
            assert_eq!(serde_json::to_string(kind).unwrap(), format!("\"{kind}\""));
        }
        assert_eq!(CaseKind::parse("ReceiptDouble"), Err(Error));
    }
}
