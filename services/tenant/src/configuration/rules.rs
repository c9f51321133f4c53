//! What a resource that can be read may still lack: pure, each rule in one place, told as an outcome.

use std::collections::HashSet;

use fiorino_domain::notice::AuxDigit;

use super::spec::{Account, Association, Institution, Service};

/// Transfers of one payment (pagopa.md 2.5): the issuer's and the beneficiaries'.
const TRANSFERS_MAX: usize = 5;
const WHOLE_BASIS_POINTS: u32 = 10_000;

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
    overlap(&spec.associations).map_or(Ok(()), |(one, other)| {
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
    let shares: u32 = spec.beneficiaries.iter().map(|beneficiary| beneficiary.share_basis_points).sum();
    if shares > WHOLE_BASIS_POINTS {
        return Err(format!("shares sum up to {shares} basis points; at most 10000 (100 %) can be given away"));
    }
    let transfers = spec.beneficiaries.len() + usize::from(shares < WHOLE_BASIS_POINTS);
    if transfers > TRANSFERS_MAX {
        return Err(format!(
            "a payment would have {transfers} transfers; pagoPA takes {TRANSFERS_MAX}, the issuer's too"
        ));
    }
    Ok(())
}

/// What an account lacks.
pub(super) fn account(spec: &Account) -> Result<(), String> {
    if spec.numbers.iter().all(|number| number.withdrawn) {
        return Err("every number is withdrawn; add one that is valid, or delete the Iban".to_owned());
    }
    Ok(())
}

/// Two associations through which one notice number could have come.
fn overlap(associations: &[Association]) -> Option<(&Association, &Association)> {
    let pairs =
        associations.iter().enumerate().flat_map(|(at, one)| associations[..at].iter().map(move |two| (two, one)));
    pairs.into_iter().find(|(one, two)| {
        (one.aux_digit, &one.code) == (two.aux_digit, &two.code)
            && (one.nav_prefix.starts_with(&two.nav_prefix) || two.nav_prefix.starts_with(&one.nav_prefix))
    })
}

/// Notice numbers under a prefix: 10 to the power of the digits that are left of 13.
fn capacity(nav_prefix: &str) -> i64 {
    (nav_prefix.len()..13).fold(1, |capacity, _| capacity * 10)
}
