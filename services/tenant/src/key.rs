//! Texts by which something is looked for: one reader for every call.

use crate::{Error, Result};

/// Longest text that is looked for, bytes: what is longer names nothing.
const KEY_MAX: usize = 256;

/// What a column of names can hold: PostgreSQL refuses U+0000 in a text, and what is longer names nothing. The text is not repeated: a gRPC
/// status travels in headers, which are bounded, and it may be somebody's.
///
/// # Errors
/// [`Error::Invalid`] that names the field.
pub(crate) fn key<'a>(field: &str, text: &'a str) -> Result<&'a str> {
    if text.len() > KEY_MAX || text.contains('\0') {
        return Err(Error::invalid(field, format!("must be at most {KEY_MAX} bytes without U+0000; correct it")));
    }
    Ok(text)
}
