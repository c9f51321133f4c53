//! The rules of collections on pagoPA, without IO: money, codes, legal dates, positions and their state machine.
//!
//! A value of a type of this crate is valid: text is parsed once, at the edge, and never checked again. Fiscal codes of people,
//! names, addresses and account numbers are masked in `Debug` and are not serialised: showing one is a call of `expose()`.
//!
//! | module | rule | source |
//! |---|---|---|
//! | [`money`], [`text`] | integer cents and text within what the wire can carry | pagopa.md 2.2 |
//! | [`institution`], [`fiscal_code`], [`debtor`] | who is owed, who owes | pagopa.md 2.2, 2.9 |
//! | [`iban`], [`taxonomy`] | where the money goes and what it is for | pagopa.md 2.9 |
//! | [`notice`], [`nav`], [`qr`] | notice numbers and what is printed | pagopa.md 3 |
//! | [`date`] | legal dates in Europe/Rome | ARCHITECTURE.md 4.1, 4.3 |
//! | [`split`] | shares in basis points | ARCHITECTURE.md 4.1 |
//! | [`position`], [`case`], [`activation`] | the life of a debt | ARCHITECTURE.md 4, 4.6, 4.7 |

#![deny(clippy::float_arithmetic, clippy::wildcard_enum_match_arm)]

pub mod activation;
pub mod case;
pub mod date;
pub mod debtor;
pub mod fiscal_code;
pub mod iban;
pub mod institution;
pub mod money;
pub mod nav;
pub mod notice;
pub mod position;
pub mod qr;
pub mod secret;
pub mod split;
pub mod taxonomy;
pub mod text;

mod digits;
