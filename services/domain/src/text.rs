//! Text with the limits of the wire, and the traits that every code written as text shares.

use std::fmt;

/// Result of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// 1..=`MAX` characters (not bytes) that an XML message can carry: `stText35`, `stText140`, .. (pagopa.md 2.2).
///
/// A character above U+FFFF counts as two. The schema says characters, but the validators around the node are Java's, which count UTF-16 units and
/// refuse the whole answer (findings/xsd-length-of-rare-letters.sh).
///
/// Nothing is trimmed or cut: what was agreed with the debtor is what the node gets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<const MAX: usize>(Box<str>);

/// Which rule a text breaks; the text itself is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing in it but white space: leave the field out instead.
    #[error("must not be empty")]
    Empty,
    /// Longer than the field of the message.
    #[error("has {length} characters, at most {max} are allowed")]
    TooLong {
        /// Characters found, in UTF-16 units.
        length: usize,
        /// Characters allowed.
        max: usize,
    },
    /// A line break, tabulator or another character that a message cannot carry.
    #[error("must not contain line breaks or control characters")]
    Control,
}

/// Characters as the node's side counts them: UTF-16 units.
pub fn length(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

// === impl Text ===

impl<const MAX: usize> Text<MAX> {
    /// Takes a text as it is.
    ///
    /// # Errors
    /// Empty, too long, or with control characters.
    pub fn parse(text: &str) -> Result<Self> {
        if text.trim().is_empty() {
            return Err(Error::Empty);
        }
        // XML 1.0 also forbids U+FFFE and U+FFFF.
        if text.chars().any(|char| char.is_control() || matches!(char, '\u{fffe}' | '\u{ffff}')) {
            return Err(Error::Control);
        }
        let length = length(text);
        if length > MAX {
            return Err(Error::TooLong { length, max: MAX });
        }
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<const MAX: usize> AsRef<str> for Text<MAX> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// `Display`, `FromStr`, `AsRef<str>` and serde (as text) for a type with `parse(&str) -> Result<Self, Error>` and `as_str(&self)`.
///
/// Only for what may be shown: types that hold secrets do not get these.
macro_rules! public_text {
    ($type:ty, $error:ty) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(crate) use public_text;

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("a", Ok(()))]
    #[case("àèìòù", Ok(()))] // five characters, ten bytes
    #[case("abcdef", Err(Error::TooLong { length: 6, max: 5 }))]
    #[case("abc𠮷", Ok(()))] // four characters, five units
    #[case("abcd𠮷", Err(Error::TooLong { length: 6, max: 5 }))]
    #[case("", Err(Error::Empty))]
    #[case("  ", Err(Error::Empty))]
    #[case("a\nb", Err(Error::Control))]
    #[case("a\0", Err(Error::Control))]
    #[case("a\u{ffff}", Err(Error::Control))]
    fn limits(#[case] text: &str, #[case] expect: Result<()>) {
        assert_eq!(Text::<5>::parse(text).map(|parsed| assert_eq!(parsed.as_str(), text)), expect);
    }
}
