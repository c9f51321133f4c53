//! Pages of a list: how many, and where the next one begins.

use fiorino_domain::institution::InstitutionCode;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// Payments on a page when the caller does not say.
const DEFAULT: u32 = 100;

/// Payments on a page at most.
pub(crate) const MAX: u32 = 500;

/// What is listed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct List<'a> {
    pub(crate) institution: &'a InstitutionCode,
    /// Empty = any.
    pub(crate) notice_number: &'a str,
}

/// How many payments a page has.
///
/// # Errors
/// Above [`MAX`].
pub(crate) fn size(asked: u32) -> Result<u32> {
    match asked {
        0 => Ok(DEFAULT),
        1..=MAX => Ok(asked),
        _ => Err(Error::invalid("page_size", format!("at most {MAX}, got {asked}"))),
    }
}

// === impl List ===

impl List<'_> {
    /// The token of the page that begins after `sequence`.
    pub(crate) fn token(self, sequence: i64) -> String {
        format!("{sequence:x}.{}", self.mark())
    }

    /// The number after which the page begins; an empty token is the first page.
    ///
    /// # Errors
    /// Not a token of this list.
    pub(crate) fn after(self, token: &str) -> Result<i64> {
        if token.is_empty() {
            return Ok(0);
        }
        let (sequence, mark) = token.split_once('.').unwrap_or_default();
        i64::from_str_radix(sequence, 16)
            .ok()
            .filter(|sequence| *sequence >= 0 && mark == self.mark())
            .ok_or_else(|| Error::invalid("page_token", "not the next_page_token of a call with the same filters"))
    }

    /// Ties a token to its list, so that one of another institution is told rather than silently skipping payments.
    fn mark(self) -> String {
        let hash = Sha256::digest(format!("{}/{}", self.institution, self.notice_number));
        let mark = hash.iter().take(4).fold(0_u32, |mark, byte| mark << 8 | u32::from(*byte));
        format!("{mark:08x}")
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn a_token_leads_on_in_its_own_list_only() {
        let (one, other) = ("80012340560".parse().unwrap(), "15376371009".parse().unwrap());
        let list = List { institution: &one, notice_number: "" };
        let token = list.token(4711);
        assert_eq!(list.after(&token).unwrap(), 4711);
        assert_eq!(list.after("").unwrap(), 0);
        assert!(List { institution: &other, ..list }.after(&token).is_err());
        assert!(List { notice_number: "312000000000471179", ..list }.after(&token).is_err());
    }

    #[rstest]
    #[case("4711")]
    #[case(".")]
    #[case("x.00000000")]
    #[case("-1.00000000")]
    #[case("ffffffffffffffffffff.00000000")]
    fn refused(#[case] token: &str) {
        let institution = "80012340560".parse().unwrap();
        let list = List { institution: &institution, notice_number: "" };
        let token = token.replace("00000000", &list.mark());
        assert!(matches!(list.after(&token), Err(Error::Invalid { field: "page_token", .. })), "{token}");
    }

    #[rstest]
    #[case(0, Some(100))]
    #[case(1, Some(1))]
    #[case(500, Some(500))]
    #[case(501, None)]
    fn sizes(#[case] asked: u32, #[case] expect: Option<u32>) {
        assert_eq!(size(asked).ok(), expect);
    }
}
