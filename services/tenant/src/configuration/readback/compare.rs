//! An association as the manifest says it, beside what pagoPA shows: pure.

use sqlx::FromRow;

/// As the manifest says it.
#[derive(Debug, Clone, FromRow)]
pub(super) struct Wanted {
    pub(super) institution_id: i32,
    pub(super) fiscal_code: String,
    pub(super) station_id: String,
    pub(super) aux_digit: i16,
    pub(super) code: String,
    pub(super) nav_prefix: String,
    pub(super) broadcast: bool,
    pub(super) primitive_version: i16,
    /// The broker's registry was read at all.
    pub(super) was_read: bool,
    /// What was found the last time.
    pub(super) associated: bool,
    pub(super) difference: String,
}

/// As pagoPA shows it.
#[derive(Debug, Clone, FromRow)]
pub(super) struct Shown {
    pub(super) institution: String,
    pub(super) station_id: String,
    /// "0", "1", "2", "3" or "0/3".
    pub(super) aux_digit: String,
    pub(super) segregation_code: String,
    pub(super) application_code: String,
    pub(super) broadcast: bool,
    pub(super) enabled: bool,
    /// 0 = not told.
    pub(super) primitive_version: i16,
}

// === impl Wanted ===

impl Wanted {
    /// Whether calls come through it, and what is different. Differences that do not keep calls away are told all the same.
    pub(super) fn compare(&self, shown: &[Shown]) -> (bool, String) {
        if !self.was_read {
            return (false, String::new());
        }
        let ours = |one: &&Shown| one.institution == self.fiscal_code && one.station_id == self.station_id;
        let candidates: Vec<&Shown> = shown.iter().filter(ours).collect();
        let routed = |one: &&&Shown| self.routes_as(one);
        let best = candidates.iter().filter(routed).max_by_key(|one| one.enabled).or_else(|| candidates.first());
        let Some(best) = best else {
            return (false, "pagoPA does not show the association".to_owned());
        };
        let differences = self.differences(best);
        (best.enabled && self.routes_as(best), differences.join(", "))
    }

    /// The node finds the station by aux digit and code.
    fn routes_as(&self, shown: &Shown) -> bool {
        self.has_aux_digit(shown) && self.code_at_pagopa(shown).is_none_or(|(_, code)| padded(code) == self.code)
    }

    fn has_aux_digit(&self, shown: &Shown) -> bool {
        shown.aux_digit.split('/').any(|digit| digit.trim() == self.aux_digit.to_string())
    }

    /// Which code counts for this aux digit.
    fn code_at_pagopa<'a>(&self, shown: &'a Shown) -> Option<(&'static str, &'a str)> {
        match self.aux_digit {
            0 => Some(("application code", &shown.application_code)),
            3 => Some(("segregation code", &shown.segregation_code)),
            _ => None,
        }
    }

    fn differences(&self, shown: &Shown) -> Vec<String> {
        let mut differences = Vec::new();
        let mut differs = |what: &str, theirs: &str, ours: &str| {
            differences.push(format!("{what} is {theirs} at pagoPA, {ours} in the manifest"));
        };
        if !shown.enabled {
            differs("the association", "disabled", "wanted");
        }
        if !self.has_aux_digit(shown) {
            differs("aux digit", &shown.aux_digit, &self.aux_digit.to_string());
        } else if let Some((what, code)) = self.code_at_pagopa(shown).filter(|(_, code)| padded(code) != self.code) {
            differs(what, if code.is_empty() { "missing" } else { code }, &self.code);
        }
        if shown.broadcast != self.broadcast {
            differs("broadcast", on(shown.broadcast), on(self.broadcast));
        }
        if shown.primitive_version != 0 && shown.primitive_version != self.primitive_version {
            let (theirs, ours) = (shown.primitive_version.to_string(), self.primitive_version.to_string());
            differs("primitive version", &theirs, &ours);
        }
        differences
    }
}

/// pagoPA shows codes with and without leading zero.
fn padded(code: &str) -> String {
    let code = code.trim();
    if code.is_empty() { String::new() } else { format!("{code:0>2}") }
}

const fn on(flag: bool) -> &'static str {
    if flag { "on" } else { "off" }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn wanted(aux_digit: i16, code: &str) -> Wanted {
        Wanted {
            institution_id: 1,
            fiscal_code: "80012340560".into(),
            station_id: "15376371009_01".into(),
            aux_digit,
            code: code.into(),
            nav_prefix: String::new(),
            broadcast: false,
            primitive_version: 2,
            was_read: true,
            associated: false,
            difference: String::new(),
        }
    }

    fn shown(aux_digit: &str, segregation: &str, application: &str) -> Shown {
        Shown {
            institution: "80012340560".into(),
            station_id: "15376371009_01".into(),
            aux_digit: aux_digit.into(),
            segregation_code: segregation.into(),
            application_code: application.into(),
            broadcast: false,
            enabled: true,
            primitive_version: 2,
        }
    }

    #[rstest]
    #[case::same(3, "12", shown("3", "12", ""), true, "")]
    #[case::leading_zero(3, "02", shown("3", "2", ""), true, "")]
    #[case::both_aux_digits(3, "12", shown("0/3", "12", "01"), true, "")]
    #[case::both_aux_digits_legacy(0, "01", shown("0/3", "12", "1"), true, "")]
    #[case::without_code(2, "", shown("2", "", ""), true, "")]
    #[case::code(3, "12", shown("3", "13", ""), false, "segregation code is 13 at pagoPA, 12 in the manifest")]
    #[case::no_code(0, "01", shown("0", "", ""), false, "application code is missing at pagoPA, 01 in the manifest")]
    #[case::aux(3, "12", shown("1", "12", ""), false, "aux digit is 1 at pagoPA, 3 in the manifest")]
    #[case::disabled(3, "12", Shown { enabled: false, ..shown("3", "12", "") }, false, "the association is disabled at pagoPA, wanted in the manifest")]
    #[case::broadcast(3, "12", Shown { broadcast: true, ..shown("3", "12", "") }, true, "broadcast is on at pagoPA, off in the manifest")]
    #[case::version(3, "12", Shown { primitive_version: 1, ..shown("3", "12", "") }, true, "primitive version is 1 at pagoPA, 2 in the manifest")]
    #[case::version_not_told(3, "12", Shown { primitive_version: 0, ..shown("3", "12", "") }, true, "")]
    #[case::another_station(3, "12", Shown { station_id: "15376371009_02".into(), ..shown("3", "12", "") }, false, "pagoPA does not show the association")]
    fn what_pagopa_shows(
        #[case] aux_digit: i16,
        #[case] code: &str,
        #[case] shown: Shown,
        #[case] associated: bool,
        #[case] difference: &str,
    ) {
        assert_eq!(wanted(aux_digit, code).compare(&[shown]), (associated, difference.to_owned()));
    }

    #[test]
    fn of_several_the_one_that_routes_counts() {
        let shown = [shown("3", "13", ""), shown("3", "12", "")];
        assert_eq!(wanted(3, "12").compare(&shown), (true, String::new()));
    }

    #[test]
    fn nothing_is_said_before_the_registry_was_read() {
        let wanted = Wanted { was_read: false, ..wanted(3, "12") };
        assert_eq!(wanted.compare(&[]), (false, String::new()));
    }
}
