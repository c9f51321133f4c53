//! What a resource that can be read may still lack: pure, each rule in one place, told as an outcome.

use std::collections::HashSet;

use fiorino_domain::{
    notice::AuxDigit,
    split::{BasisPoints, MAX_TRANSFERS},
};

use super::spec::{Association, Institution, Service};

pub(super) mod numbers;

/// What other resources may be named.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) brokers: HashSet<String>,
    pub(super) stations: HashSet<String>,
    pub(super) accounts: HashSet<String>,
}

/// What an institution lacks.
pub(super) fn institution(spec: &Institution, known: &Known) -> Result<(), String> {
    for association in &spec.associations {
        let Association { station_id, aux_digit, nav_prefix, issuing, .. } = association;
        if !known.stations.contains(station_id) {
            return Err(format!("association with {station_id}: the station is not known; apply the Station first"));
        }
        if *issuing && *aux_digit != AuxDigit::Three {
            let aux_digit = aux_digit.number();
            return Err(format!(
                "association with {station_id}: issues notices with aux digit {aux_digit}, pagoPA takes new ones only \
                 with 3; set state AcceptingOnly or aux digit 3"
            ));
        }
        if *issuing && spec.nav_floor >= capacity(nav_prefix) {
            return Err(format!(
                "nav floor {} leaves no notice number to the association with {station_id}: its prefix allows {}",
                spec.nav_floor,
                capacity(nav_prefix)
            ));
        }
    }
    clash(&spec.associations).map_or(Ok(()), |(one, other)| {
        let range = format!("aux digit {}, code {:?}, prefix {:?}", one.aux_digit.number(), one.code, one.nav_prefix);
        if range_of(one) == range_of(other) {
            return Err(if one.station_id == other.station_id {
                format!("the association with {} is told twice: {range}; remove one of the two", one.station_id)
            } else {
                format!(
                    "associations with {} and {} both issue: {range}; a code issues through one station: set state \
                     AcceptingOnly on the other",
                    one.station_id, other.station_id
                )
            });
        }
        Err(format!(
            "associations with {} and {} share notice numbers: aux digit {}, code {:?}, prefixes {:?} and {:?}; give \
             each its own code, or prefixes of which none begins with another",
            one.station_id,
            other.station_id,
            one.aux_digit.number(),
            one.code,
            one.nav_prefix,
            other.nav_prefix
        ))
    })
}

/// What a service lacks.
pub(super) fn service(spec: &Service, known: &Known) -> Result<(), String> {
    if !known.accounts.contains(&spec.account) {
        let account = &spec.account;
        return Err(format!("account {account} is not among the institution's; apply an Iban of that name first"));
    }
    if !spec.maximum.is_zero() && spec.maximum < spec.minimum {
        let (minimum, maximum) = (spec.minimum.get(), spec.maximum.get());
        return Err(format!("maximum {maximum} is below minimum {minimum} (cents); raise the one or lower the other"));
    }
    let accounts = || spec.beneficiaries.iter().map(|beneficiary| (beneficiary.fiscal_code, &beneficiary.account));
    if let Some((code, account)) =
        accounts().enumerate().find_map(|(at, one)| accounts().take(at).find(|it| *it == one))
    {
        return Err(format!("account {account} of {code} is named twice; add its shares up in one beneficiary"));
    }
    let shares: u32 = spec.beneficiaries.iter().map(|beneficiary| beneficiary.share_basis_points).sum();
    let whole = u32::from(BasisPoints::WHOLE.get());
    if shares > whole {
        return Err(format!("shares sum up to {shares} basis points; at most 10000 (100 %) can be given away"));
    }
    let transfers = spec.beneficiaries.len() + usize::from(shares < whole);
    if transfers > MAX_TRANSFERS {
        return Err(format!(
            "a payment would have {transfers} transfers; pagoPA takes {MAX_TRANSFERS}, the issuer's too"
        ));
    }
    Ok(())
}

/// Two associations that cannot both be: one range may stand on several stations, of which one issues, but no range within another.
fn clash(associations: &[Association]) -> Option<(&Association, &Association)> {
    let pairs =
        associations.iter().enumerate().flat_map(|(at, one)| associations[..at].iter().map(move |two| (two, one)));
    pairs.into_iter().find(|(one, two)| {
        if range_of(one) == range_of(two) {
            return one.station_id == two.station_id || one.issuing && two.issuing;
        }
        (one.aux_digit, &one.code) == (two.aux_digit, &two.code)
            && (one.nav_prefix.starts_with(&two.nav_prefix) || two.nav_prefix.starts_with(&one.nav_prefix))
    })
}

/// The notice numbers of an association, whatever its station.
fn range_of(association: &Association) -> (AuxDigit, &str, &str) {
    (association.aux_digit, &association.code, &association.nav_prefix)
}

/// Notice numbers under a prefix: 10 to the power of the digits that are left of 13.
fn capacity(nav_prefix: &str) -> i64 {
    (nav_prefix.len()..13).fold(1, |capacity, _| capacity * 10)
}

#[cfg(test)]
mod tests {
    use fiorino_domain::{institution::InstitutionCode, money::Cents, taxonomy::TaxonomyCode, text::Text};
    use fiorino_proto::config::v1::{ExpiryPolicy, LifecyclePhase};
    use rstest::rstest;

    use super::*;
    use crate::configuration::spec::Beneficiary;

    fn known() -> Known {
        Known {
            stations: HashSet::from(["s1".into(), "s2".into()]),
            accounts: HashSet::from(["a".into()]),
            ..Known::default()
        }
    }

    fn association(station: &str, aux_digit: u32, code: &str, nav_prefix: &str, issuing: bool) -> Association {
        Association {
            station_id: station.into(),
            aux_digit: AuxDigit::from_number(aux_digit).unwrap(),
            code: code.into(),
            nav_prefix: nav_prefix.into(),
            issuing,
            broadcast: false,
        }
    }

    #[rstest]
    #[case::issuing(0, &[association("s1", 3, "12", "", true)], None)]
    #[case::other_code(0, &[association("s1", 3, "12", "", true), association("s1", 3, "13", "", true)], None)]
    #[case::other_aux_digit(0, &[association("s1", 3, "12", "", true), association("s1", 0, "12", "", false)], None)]
    #[case::prefixes_apart(0, &[association("s1", 3, "12", "01", true), association("s2", 3, "12", "02", true)], None)]
    #[case::prefix_within(0, &[association("s1", 3, "12", "01", true), association("s2", 3, "12", "017", false)], Some("share notice numbers"))]
    #[case::no_prefix_and_any(0, &[association("s1", 3, "12", "7", true), association("s2", 3, "12", "", false)], Some("share notice numbers"))]
    #[case::one_code_on_two_stations(0, &[association("s1", 3, "12", "", true), association("s2", 3, "12", "", false)], None)]
    #[case::one_code_that_none_issues(0, &[association("s1", 3, "12", "", false), association("s2", 3, "12", "", false)], None)]
    #[case::one_code_that_two_issue(0, &[association("s1", 3, "12", "", true), association("s2", 3, "12", "", true)], Some("with s1 and s2 both issue"))]
    #[case::one_code_twice_on_a_station(0, &[association("s1", 3, "12", "", true), association("s1", 3, "12", "", false)], Some("told twice"))]
    #[case::unknown_station(0, &[association("s9", 3, "12", "", true)], Some("the station is not known"))]
    #[case::issuing_on_a_legacy_aux_digit(0, &[association("s1", 0, "12", "", true)], Some("only with 3"))]
    #[case::floor_below_the_end(9, &[association("s1", 3, "12", "123456789012", true)], None)]
    #[case::floor_at_the_end(10, &[association("s1", 3, "12", "123456789012", true)], Some("its prefix allows 10"))]
    fn institutions(#[case] nav_floor: i64, #[case] associations: &[Association], #[case] refused: Option<&str>) {
        let spec = Institution {
            fiscal_code: InstitutionCode::parse("80012340560").unwrap(),
            legal_name: Text::parse("Comune").unwrap(),
            office_name: String::new(),
            phase: LifecyclePhase::Live,
            associations: associations.to_vec(),
            nav_floor,
            portal_hostnames: Vec::new(),
        };
        check(institution(&spec, &known()), refused);
    }

    #[rstest]
    #[case::plain("a", 0, 0, &[], None)]
    #[case::unknown_account("b", 0, 0, &[], Some("account b is not among"))]
    #[case::equal_limits("a", 100, 100, &[], None)]
    #[case::no_maximum("a", 100, 0, &[], None)]
    #[case::maximum_below("a", 100, 99, &[], Some("maximum 99 is below minimum 100"))]
    #[case::everything_given_away("a", 0, 0, &[2_000; 5], None)]
    #[case::too_much_given_away("a", 0, 0, &[10_000, 1], Some("10001 basis points"))]
    #[case::four_beneficiaries("a", 0, 0, &[1; 4], None)]
    #[case::six_transfers("a", 0, 0, &[1; 5], Some("6 transfers"))]
    #[case::one_account_twice("a", 0, 0, &[7, 1, 7], Some("account tefa of 80012340560 is named twice"))]
    fn services(
        #[case] account: &str,
        #[case] minimum: i64,
        #[case] maximum: i64,
        #[case] shares: &[u32],
        #[case] refused: Option<&str>,
    ) {
        let taxonomy_code = TaxonomyCode::parse("9/0107101TS/").unwrap();
        let beneficiary = |(at, &share_basis_points): (usize, &u32)| Beneficiary {
            fiscal_code: InstitutionCode::parse("80012340560").unwrap(),
            legal_name: Text::parse("Provincia").unwrap(),
            share_basis_points,
            // Shares of 7 basis points go to one account.
            account: if share_basis_points == 7 { "tefa".into() } else { format!("account-{at}") },
            taxonomy_code,
        };
        let spec = Service {
            code: "MENSA".into(),
            title: Text::parse("Mensa").unwrap(),
            taxonomy_code,
            account: account.into(),
            expiry_policy: ExpiryPolicy::PayableAfterDueDate,
            active: true,
            minimum: Cents::new(minimum).unwrap(),
            maximum: Cents::new(maximum).unwrap(),
            beneficiaries: shares.iter().enumerate().map(beneficiary).collect(),
            profile_revision: String::new(),
        };
        check(service(&spec, &known()), refused);
    }

    fn check(outcome: Result<(), String>, refused: Option<&str>) {
        match (outcome, refused) {
            (Ok(()), None) => {}
            (Err(message), Some(part)) if message.contains(part) => {}
            (outcome, refused) => panic!("{outcome:?}, expected {refused:?}"),
        }
    }
}
