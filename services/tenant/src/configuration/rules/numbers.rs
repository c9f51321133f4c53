//! Numbers of an account: which one payments go to is never changed by a manifest alone.
//!
//! The API server sees two versions of one object and no calendar, so it refuses only changes that are wrong on any day. Tenant alone
//! knows whether a number was ever paid to, and remembers an object that was deleted and made anew. An entry is *fixed* once an
//! activation was answered with it, pagoPA showed it enabled, or somebody vouched for it: from then on it is neither edited nor left
//! out, only withdrawn. Before that nobody can have paid to it, and a slip of the pen is simply corrected.

use fiorino_domain::iban::Iban;
use jiff::civil::Date;

use crate::configuration::spec::{Account, Number};

/// A number as it is stored.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "facts of a row that do not depend on each other")]
pub(in crate::configuration) struct Held {
    pub(in crate::configuration) valid_from: Date,
    pub(in crate::configuration) iban: Iban,
    /// A manifest withdrew it.
    pub(in crate::configuration) withdrawn: bool,
    /// The latest manifest lists it.
    pub(in crate::configuration) listed: bool,
    /// The account's first: it needs neither pagoPA nor an attestation.
    pub(in crate::configuration) first: bool,
    pub(in crate::configuration) attested: bool,
    /// Neither edited nor left out any more.
    pub(in crate::configuration) fixed: bool,
    /// It counts today.
    pub(in crate::configuration) in_force: bool,
}

/// The decision about an account's first number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::configuration) enum First {
    /// It was decided, and stays.
    Stays,
    /// It is decided now: the number of this day.
    Is(Date),
}

/// The surroundings in which an account is judged.
#[derive(Debug, Clone, Copy)]
pub(in crate::configuration) struct Circumstances {
    pub(in crate::configuration) today: Date,
    /// pagoPA's registry is read for this institution.
    pub(in crate::configuration) read_back: bool,
}

/// Judges the numbers of an account; the error names the rule and the remedy.
pub(in crate::configuration) fn check(spec: &Account, held: &[Held], it: Circumstances) -> Result<(), String> {
    if spec.numbers.iter().all(|number| number.withdrawn) {
        return Err(format!(
            "every number of Iban {} is withdrawn: add an entry with the number that follows",
            spec.name
        ));
    }
    held.iter().try_for_each(|held| kept(spec, held))?;
    order(spec, held)?;
    attestations(spec, held, it)?;
    in_force(spec, held, it)
}

/// The first number is decided once. While none was fixed, nobody can have paid, and the one that was first may give way.
pub(in crate::configuration) fn first(spec: &Account, held: &[Held]) -> First {
    let named = |held: &Held| held.first && named(spec, held.valid_from).is_some();
    if held.iter().any(|held| held.fixed || named(held)) {
        return First::Stays;
    }
    let days = spec.numbers.iter().filter(|number| !number.withdrawn).map(|number| number.valid_from);
    days.min().map_or(First::Stays, First::Is)
}

/// A stored number is as it was, or may be another one.
fn kept(spec: &Account, held: &Held) -> Result<(), String> {
    let day = held.valid_from;
    match named(spec, day) {
        None if held.fixed && held.listed && !held.withdrawn => Err(format!(
            "the number valid from {day} is missing, and it was paid to, shown by pagoPA or attested: numbers are \
             withdrawn, never left out; add its entry again"
        )),
        Some(number) if number.iban != held.iban && held.fixed => Err(format!(
            "the number valid from {day} is another one than before, which was paid to, shown by pagoPA or attested; \
             restore it, and add the new one with a later day"
        )),
        Some(number) if number.iban == held.iban && held.withdrawn && !number.withdrawn => Err(format!(
            "the number valid from {day} was withdrawn, and this is never taken back; withdraw it here too, and add it \
             with a later day if it shall be used again"
        )),
        Some(_) | None => Ok(()),
    }
}

/// Nothing comes before the earliest number that stays: it would change what was decided then.
fn order(spec: &Account, held: &[Held]) -> Result<(), String> {
    let stays = |held: &&Held| held.fixed || held.listed && named(spec, held.valid_from).is_some();
    let Some(earliest) = held.iter().filter(stays).map(|held| held.valid_from).min() else { return Ok(()) };
    let early = spec.numbers.iter().find(|number| number.valid_from < earliest);
    early.map_or(Ok(()), |number| {
        Err(format!(
            "the number valid from {} is earlier than the account's earliest, of {earliest}; give it a later day, or \
             leave it out",
            number.valid_from
        ))
    })
}

/// Where pagoPA's registry is read, pagoPA says whether a number may be used, and nobody else.
fn attestations(spec: &Account, held: &[Held], it: Circumstances) -> Result<(), String> {
    let known = |number: &Number| held.iter().any(|held| held.attested && held.valid_from == number.valid_from);
    let news = spec.numbers.iter().find(|number| number.attestation.is_some() && !known(number));
    match news {
        Some(number) if it.read_back => Err(format!(
            "the number valid from {} is attested, and pagoPA's registry is read for this institution; remove the \
             attestation: the number is used once pagoPA shows it enabled",
            number.valid_from
        )),
        Some(_) | None => Ok(()),
    }
}

/// An account that can be paid to today still can afterwards.
fn in_force(spec: &Account, held: &[Held], it: Circumstances) -> Result<(), String> {
    let Some(last) = held.iter().filter(|held| held.in_force).max_by_key(|held| held.valid_from) else { return Ok(()) };
    let first = first(spec, held);
    let counts = |number: &&Number| {
        let row = held.iter().find(|held| held.valid_from == number.valid_from);
        let is_first = match first {
            First::Is(day) => number.valid_from == day,
            First::Stays => row.is_some_and(|row| row.first),
        };
        let same = row.filter(|row| row.iban == number.iban);
        !number.withdrawn
            && number.valid_from <= it.today
            && (is_first || number.attestation.is_some() || same.is_some_and(|row| row.in_force))
    };
    if spec.numbers.iter().any(|number| counts(&number)) {
        return Ok(());
    }
    Err(format!(
        "without the number valid from {} Iban {} has none that can be paid to today: keep it until another one is in \
         use, which is when its day has come and pagoPA shows it enabled",
        last.valid_from, spec.name
    ))
}

fn named(spec: &Account, day: Date) -> Option<&Number> {
    spec.numbers.iter().find(|number| number.valid_from == day)
}

#[cfg(test)]
mod tests {
    use fiorino_domain::text::Text;
    use rstest::rstest;

    use super::*;
    use crate::configuration::spec::Attestation;

    const OLD: &str = "IT60X0542811101000000123456";
    const NEW: &str = "IT66A0306909606100000012345";
    const TODAY: &str = "2026-07-14";

    fn day(text: &str) -> Date {
        text.parse().unwrap()
    }

    fn number(valid_from: &str, iban: &str) -> Number {
        let iban = Iban::parse(iban).unwrap();
        Number { valid_from: day(valid_from), postal: false, iban, withdrawn: false, attestation: None }
    }

    fn withdrawn(valid_from: &str, iban: &str) -> Number {
        Number { withdrawn: true, ..number(valid_from, iban) }
    }

    fn attested(valid_from: &str, iban: &str) -> Number {
        let attestation = Attestation {
            by: Text::parse("Ragioneria").unwrap(),
            date: day("2026-05-20"),
            document: Text::parse("prot. 12/2026").unwrap(),
        };
        Number { attestation: Some(attestation), ..number(valid_from, iban) }
    }

    /// The first number, which counts since January; `fixed`: it was paid to.
    fn first_held(fixed: bool) -> Held {
        Held {
            valid_from: day("2026-01-01"),
            iban: Iban::parse(OLD).unwrap(),
            withdrawn: false,
            listed: true,
            first: true,
            attested: false,
            fixed,
            in_force: true,
        }
    }

    /// A later number that pagoPA does not show.
    fn later_held() -> Held {
        let iban = Iban::parse(NEW).unwrap();
        Held { valid_from: day("2026-06-01"), iban, first: false, in_force: false, ..first_held(false) }
    }

    fn account(numbers: Vec<Number>) -> Account {
        Account { name: "tesoreria".into(), holder: String::new(), numbers, postal: None }
    }

    #[rstest]
    #[case::nothing_is_known(vec![number("2026-01-01", OLD)], vec![], None)]
    #[case::as_it_was(vec![number("2026-01-01", OLD)], vec![first_held(true)], None)]
    #[case::a_later_one(vec![number("2026-01-01", OLD), number("2026-06-01", NEW)], vec![first_held(true)], None)]
    #[case::an_earlier_one(vec![number("2024-01-01", NEW), number("2026-01-01", OLD)], vec![first_held(true)], Some("earlier than the account's earliest, of 2026-01-01"))]
    #[case::an_earlier_one_of_an_unused_account(vec![number("2024-01-01", NEW), number("2026-01-01", OLD)], vec![first_held(false)], Some("earlier than"))]
    #[case::an_earlier_one_in_the_place_of_the_other(vec![number("2024-01-01", NEW)], vec![first_held(true)], Some("2026-01-01 is missing"))]
    #[case::another_day_for_an_unused_one(vec![number("2025-12-01", OLD)], vec![first_held(false)], None)]
    #[case::edited(vec![number("2026-01-01", NEW)], vec![first_held(true)], Some("is another one than before"))]
    #[case::corrected_before_it_was_used(vec![number("2026-01-01", NEW)], vec![first_held(false)], None)]
    #[case::left_out(vec![number("2026-06-01", NEW)], vec![first_held(true), later_held()], Some("2026-01-01 is missing"))]
    #[case::left_out_before_it_was_used(vec![number("2026-01-01", OLD)], vec![first_held(true), later_held()], None)]
    #[case::left_out_before_pagopa_showed_it(vec![number("2026-01-01", OLD)], vec![first_held(true), Held { listed: false, fixed: true, ..later_held() }], None)]
    #[case::withdrawn_and_left_out(vec![number("2026-06-01", NEW)], vec![Held { withdrawn: true, in_force: false, ..first_held(true) }, Held { in_force: true, ..later_held() }], None)]
    #[case::taken_back(vec![number("2026-01-01", OLD), number("2026-06-01", NEW)], vec![first_held(true), Held { withdrawn: true, fixed: true, ..later_held() }], Some("was withdrawn, and this is never taken back"))]
    #[case::taken_back_though_never_used(vec![number("2026-01-01", OLD), number("2026-06-01", NEW)], vec![first_held(true), Held { withdrawn: true, ..later_held() }], Some("never taken back"))]
    #[case::all_withdrawn(vec![withdrawn("2026-01-01", OLD)], vec![first_held(true)], Some("every number of Iban tesoreria is withdrawn: add an entry"))]
    #[case::all_withdrawn_from_the_beginning(vec![withdrawn("2026-01-01", OLD)], vec![], Some("every number of Iban tesoreria"))]
    #[case::last_in_force_withdrawn(vec![withdrawn("2026-01-01", OLD), number("2026-06-01", NEW)], vec![first_held(true), later_held()], Some("without the number valid from 2026-01-01"))]
    #[case::withdrawn_with_one_that_is_not_known_yet(vec![withdrawn("2026-01-01", OLD), number("2026-07-14", NEW)], vec![first_held(true)], Some("has none that can be paid to today"))]
    #[case::withdrawn_when_another_is_in_use(vec![withdrawn("2026-01-01", OLD), number("2026-06-01", NEW)], vec![first_held(true), Held { in_force: true, fixed: true, ..later_held() }], None)]
    #[case::withdrawn_with_an_attested_one(vec![withdrawn("2026-01-01", OLD), attested("2026-07-14", NEW)], vec![first_held(true)], None)]
    #[case::attested_for_tomorrow_alone(vec![withdrawn("2026-01-01", OLD), attested("2026-07-15", NEW)], vec![first_held(true)], Some("none that can be paid to today"))]
    #[case::an_unused_one_put_off(vec![number("2026-09-01", OLD)], vec![first_held(false)], Some("without the number valid from 2026-01-01"))]
    fn numbers(#[case] listed: Vec<Number>, #[case] held: Vec<Held>, #[case] refused: Option<&str>) {
        let it = Circumstances { today: day(TODAY), read_back: false };
        let outcome = check(&account(listed), &held, it);
        match (&outcome, refused) {
            (Ok(()), None) => {}
            (Err(message), Some(part)) if message.contains(part) => {
                assert!(!message.contains(OLD) && !message.contains(NEW), "{message}");
            }
            _ => panic!("{outcome:?}, expected {refused:?}"),
        }
    }

    #[rstest]
    #[case::at_the_beginning(vec![], First::Is(day("2026-01-01")))]
    #[case::decided(vec![first_held(false)], First::Stays)]
    #[case::decided_and_left_out_but_used(vec![Held { valid_from: day("2025-01-01"), ..first_held(true) }], First::Stays)]
    #[case::left_out_and_never_used(vec![Held { valid_from: day("2025-01-01"), ..first_held(false) }], First::Is(day("2026-01-01")))]
    #[case::another_one_is_fixed(vec![Held { valid_from: day("2025-01-01"), ..first_held(false) }, Held { fixed: true, ..later_held() }], First::Stays)]
    fn the_first_one(#[case] held: Vec<Held>, #[case] expected: First) {
        let listed = account(vec![withdrawn("2025-06-01", NEW), number("2026-01-01", OLD), number("2026-06-01", NEW)]);
        assert_eq!(first(&listed, &held), expected);
    }

    #[rstest]
    #[case::where_pagopa_is_not_read(false, vec![first_held(true)], true)]
    #[case::where_it_is(true, vec![first_held(true)], false)]
    #[case::said_before_it_was_read(true, vec![first_held(true), Held { attested: true, fixed: true, in_force: true, ..later_held() }], true)]
    fn who_may_vouch(#[case] read_back: bool, #[case] held: Vec<Held>, #[case] taken: bool) {
        let listed = account(vec![number("2026-01-01", OLD), attested("2026-06-01", NEW)]);
        let outcome = check(&listed, &held, Circumstances { today: day(TODAY), read_back });
        assert_eq!(outcome.is_ok(), taken, "{outcome:?}");
    }
}
