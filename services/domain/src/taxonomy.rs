//! Taxonomy codes: what a transfer is for (`transferCategory`, pagopa.md 2.9).

use crate::text::public_text;

/// Result of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A code in its normal form `9/0101101IM/`: routing prefix, institution type (2), macro area (2), service (3), legal reason (2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaxonomyCode([u8; 12]);

/// The text is no taxonomy code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a taxonomy code is seven digits and IM, TS, SP, SA or AP, such as 9/0101101IM/; its prefix is 6/, 7/, 8/ or 9/"
)]
pub struct Error;

const LEGAL_REASONS: [&[u8]; 5] = [b"IM", b"TS", b"SP", b"SA", b"AP"];

// === impl TaxonomyCode ===

impl TaxonomyCode {
    /// Reads a code with or without routing prefix and trailing slash; without a prefix it is `9/`, the default.
    ///
    /// # Errors
    /// Anything but `([6-9]/)?\d{7}(IM|TS|SP|SA|AP)/?`.
    pub fn parse(text: &str) -> Result<Self> {
        let (prefix, rest) = match text.as_bytes() {
            [prefix @ b'6'..=b'9', b'/', rest @ ..] => (*prefix, rest),
            rest => (b'9', rest),
        };
        let code: &[u8; 9] = rest.strip_suffix(b"/").unwrap_or(rest).try_into().map_err(|_| Error)?;
        let (digits, reason) = code.split_at(7);
        if !digits.iter().all(u8::is_ascii_digit) || !LEGAL_REASONS.contains(&reason) {
            return Err(Error);
        }
        let mut normal = *b"9/0000000XX/";
        normal[0] = prefix;
        normal[2..11].copy_from_slice(code);
        Ok(Self(normal))
    }

    /// The normal form, which the wire wants: `9/0101101IM/`.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("ascii by construction")
    }

    /// The code as the taxonomy lists it: `0101101IM`.
    pub fn bare(&self) -> &str {
        &self.as_str()[2..11]
    }
}

public_text!(TaxonomyCode, Error);

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("0101101IM", "9/0101101IM/")]
    #[case("0101101IM/", "9/0101101IM/")]
    #[case("9/0101002IM/", "9/0101002IM/")]
    #[case("6/0201102IM", "6/0201102IM/")]
    #[case("7/0101101TS/", "7/0101101TS/")]
    #[case("8/0101101AP", "8/0101101AP/")]
    fn normal_form(#[case] text: &str, #[case] normal: &str) {
        let code = TaxonomyCode::parse(text).unwrap();
        assert_eq!(code.as_str(), normal);
        assert_eq!(TaxonomyCode::parse(normal), Ok(code));
        assert_eq!(TaxonomyCode::parse(code.bare()).unwrap().bare(), code.bare());
    }

    #[rstest]
    #[case("")]
    #[case("5/0101101IM/")]
    #[case("9/9/0101101IM/")]
    #[case("0101101XX")]
    #[case("0101101im")]
    #[case("010110IM")]
    #[case("01011011IM")]
    #[case("0101101IM//")]
    #[case("9/ 101101IM/")]
    fn refused(#[case] text: &str) {
        assert_eq!(TaxonomyCode::parse(text), Err(Error));
    }
}
