//! The reader of new positions, which nothing else needs to see: for the fuzz targets (docs/fuzzing.md).

use fiorino_proto::positions::v1::NewPosition;

use super::draft::Draft;
use crate::Result;

/// A position, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Of all its options.
    pub instalments: usize,
    /// What tells a repetition from another request under the same reference.
    pub hash: [u8; 32],
    /// The debtor as `Debug` shows it.
    pub debtor: String,
}

/// Reads a position that stands at `path` of its request.
///
/// # Errors
/// Every rule that it breaks.
pub fn position(path: &str, new: &NewPosition) -> Result<Read> {
    let draft = Draft::read(path, new)?;
    Ok(Read {
        instalments: draft.options.iter().map(|option| option.instalments.len()).sum(),
        hash: draft.hash,
        debtor: format!("{:?}", draft.debtor),
    })
}
