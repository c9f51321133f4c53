//! A debt position has payment options, an option has instalments, an instalment has transfers and owns one notice number
//! (ARCHITECTURE.md 4.1). Only an instalment has a state of its own ([`state`]); option and position are roll-ups ([`rollup`]).

mod expiry;
mod rollup;
mod state;

use std::fmt;

use uuid::Uuid;

pub use self::{
    expiry::{ExpiryPolicy, Refusal, expired, refusal},
    rollup::{OptionState, PositionState},
    state::{InstalmentEvent, InstalmentState, Refused, Transition, UnknownState, next},
};

/// Names a position, everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PositionId(Uuid);

/// Place of an option in its position, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OptionNumber(u16);

/// Place of an instalment in its option, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstalmentNumber(u16);

/// Why something names no position, option or instalment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Of a position.
    #[error("a position id is a uuid")]
    Position,
    /// Of an option or instalment.
    #[error("options and instalments are numbered from 1 to {MAX_CHILDREN}")]
    Number,
}

/// Options of a position, and instalments of an option.
pub const MAX_CHILDREN: u16 = 100;

// === impl PositionId ===

impl PositionId {
    /// The position with this id.
    pub const fn new(id: Uuid) -> Self {
        Self(id)
    }

    /// Reads a uuid.
    ///
    /// # Errors
    /// Not a uuid.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        Uuid::try_parse(text).map(Self).map_err(|_| IdError::Position)
    }

    /// For the database.
    pub const fn as_uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for PositionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// `new`, `get` and `Display` of a number from 1 to [`MAX_CHILDREN`].
macro_rules! ordinal {
    ($type:ty) => {
        impl $type {
            /// The one at this place, counted from 1.
            ///
            /// # Errors
            /// 0, or above [`MAX_CHILDREN`].
            pub const fn new(number: u16) -> Result<Self, IdError> {
                match number {
                    1..=MAX_CHILDREN => Ok(Self(number)),
                    _ => Err(IdError::Number),
                }
            }

            /// Its place, counted from 1.
            pub const fn get(self) -> u16 {
                self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

ordinal!(OptionNumber);
ordinal!(InstalmentNumber);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        let text = "01990000-0000-7000-8000-000000000001";
        assert_eq!(PositionId::parse(text).unwrap().to_string(), text);
        assert_eq!(PositionId::parse("17"), Err(IdError::Position));
        assert_eq!(OptionNumber::new(0), Err(IdError::Number));
        assert_eq!(OptionNumber::new(100).map(OptionNumber::get), Ok(100));
        assert_eq!(InstalmentNumber::new(101), Err(IdError::Number));
    }
}
