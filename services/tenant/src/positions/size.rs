//! How many bytes a position is in an answer. Clients take messages of 4 MiB, whatever the number of rows in them.

use fiorino_proto::positions::v1 as proto;
use prost::Message as _;

/// Largest position in an answer, bytes: what comes later (receipts, attempts, longer names) still fits into a message.
const POSITION_MAX: usize = 3 * 1024 * 1024;

/// A page ends before the position that would make it longer, bytes; one position is always in it.
pub(super) const PAGE_MAX: usize = 2 * 1024 * 1024;

/// Instalments that fit with the longest texts and metadata, three bytes for each UTF-16 unit: 50 KB each.
const SURELY_FIT: usize = 40;

/// Whether a position of so many instalments fits; `shown` makes the answer, if it must be looked at.
///
/// # Errors
/// The rule and the remedy.
pub(super) fn fits(instalments: usize, shown: impl FnOnce() -> proto::Position) -> Result<(), String> {
    if instalments <= SURELY_FIT {
        return Ok(());
    }
    match shown().encoded_len() {
        ..=POSITION_MAX => Ok(()),
        bytes => Err(format!(
            "takes {bytes} bytes in an answer, at most {POSITION_MAX} are allowed; split the position, or shorten its texts and metadata"
        )),
    }
}
