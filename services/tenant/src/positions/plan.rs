//! What a new position becomes under the configuration of its institution: pure.

use fiorino_domain::{
    date::LegalDate, institution::InstitutionCode, money::Cents, notice::NoticeNumber, position::InstalmentState, split,
};
use fiorino_proto::config::v1::LifecyclePhase;
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    accounts::Accounts,
    division::{Division, Shares},
    draft::{Draft, DraftInstalment},
    elsewhere,
    facts::{Facts, Owner, Service},
    given::{self, Issuer},
    opening::Opening,
    rows::{NoticeRow, PositionRow},
    size,
    stored::{StoredDebtor, StoredTransfer},
    view,
};
use crate::{Error, Result, Violation, nav::Point};

/// A position ready to be written, but for the numbers that are still to be issued.
pub(crate) struct Planned {
    pub(crate) owner: Owner,
    /// Where its numbers are issued, and the floor of the sequence.
    pub(super) issuing: Option<(Point, u64)>,
    pub(crate) position: PositionRow,
    /// [`NoticeNumber::PROBE`] stands where a number is missing.
    pub(crate) notices: Vec<NoticeRow>,
    /// Numbers that came with the request.
    foreign: Vec<NoticeNumber>,
}

/// Who asks, and when.
pub(super) struct Asked<'a> {
    /// Where the position stands in the request.
    pub(super) path: &'a str,
    pub(super) client: &'a str,
    pub(super) id: Uuid,
    pub(super) now: Timestamp,
    /// Those that its transfers name.
    pub(super) accounts: &'a Accounts,
}

/// Plans a position.
///
/// # Errors
/// [`Error::Precondition`] when institution or service take no new positions, [`Error::Invalid`] when the position breaks a rule of
/// the service.
pub(super) fn plan(asked: &Asked<'_>, draft: &Draft, facts: &Facts) -> Result<Planned> {
    may_issue(&facts.owner)?;
    let service = open_service(asked.path, draft.service_code.as_str(), facts)?;
    let mut violations = Vec::new();
    let mut notices = Vec::new();
    for (option_no, option) in (1..).zip(&draft.options) {
        for (instalment_no, instalment) in (1..).zip(&option.instalments) {
            let path = || format!("{}.options[{}].instalments[{}]", asked.path, option_no - 1, instalment_no - 1);
            check(path, instalment, facts, service, asked.now, &mut violations);
            let at = |field: &str| format!("{}.{field}", path());
            match divided(at, instalment, &facts.owner, service, asked.accounts) {
                Ok(divided) => {
                    let place = (option_no, instalment_no);
                    notices.push(notice(asked, draft, instalment, place, &facts.owner, service, divided));
                }
                Err(broken) => violations.extend(broken),
            }
        }
    }
    if !violations.is_empty() {
        return Err(Error::Invalid(violations));
    }
    elsewhere::settle(&mut notices);
    let position = PositionRow {
        institution_id: facts.owner.institution_id,
        id: asked.id,
        client: asked.client.to_owned(),
        client_reference: draft.client_reference.to_string(),
        service_code: service.code.clone(),
        description: draft.description.to_string(),
        debtor_code: draft.debtor.code().expose().to_owned(),
        options: draft.options.iter().map(|option| option.description.clone()).collect(),
        created_at: asked.now,
    };
    size::fits(notices.len(), || view::position(&facts.owner, &position, &notices, asked.now))
        .map_err(|message| Error::invalid(asked.path, message))?;
    let foreign = notices.iter().map(|notice| notice.nav).filter(|nav| *nav != NoticeNumber::PROBE).collect();
    Ok(Planned { owner: facts.owner.clone(), issuing: facts.issuing.clone(), position, notices, foreign })
}

/// Whether the institution's phase allows new notices.
///
/// # Errors
/// [`Error::Precondition`] naming the phase.
pub(super) fn may_issue(owner: &Owner) -> Result<()> {
    let why = match owner.phase {
        LifecyclePhase::Testing | LifecyclePhase::Live => return Ok(()),
        LifecyclePhase::Suspended => {
            "is suspended: existing notices stay payable, new ones wait until it is Live again"
        }
        LifecyclePhase::Leaving => "is leaving: new notices are issued by its next intermediary",
        LifecyclePhase::Closed => "is closed: it issues no notices any more",
        LifecyclePhase::Unspecified => "has no known phase: apply its manifest again",
    };
    Err(Error::precondition("institution", format!("institution {} {why}", owner.code)))
}

/// Whether an amount is within the service's limits.
///
/// # Errors
/// The rule and the remedy.
pub(super) fn within_limits(service: &Service, amount: Cents) -> Result<(), String> {
    let (minimum, maximum) = (service.minimum_cents, service.maximum_cents);
    if amount.get() < minimum {
        return Err(format!("service {} takes {minimum} cents at least; raise the amount", service.code));
    }
    if maximum > 0 && amount.get() > maximum {
        return Err(format!("service {} takes {maximum} cents at most; lower the amount or split it", service.code));
    }
    Ok(())
}

/// Transfers and how they came about: as they were given, else by the shares of the service.
///
/// # Errors
/// Accounts that cannot be paid to, of the transfers in the field `at`, or shares that cannot be divided.
fn divided(
    at: impl Fn(&str) -> String,
    instalment: &DraftInstalment,
    owner: &Owner,
    service: &Service,
    accounts: &Accounts,
) -> Result<(Vec<StoredTransfer>, Division), Vec<Violation>> {
    if instalment.transfers.is_empty() {
        let shares = Shares::of_service(service);
        let divided = shares.divide(instalment.amount).map_err(|error| unusable(&error, service));
        return match divided {
            Ok(transfers) => Ok((transfers, Division::Shares(shares))),
            Err(message) => Err(vec![Violation::new(at("amount_cents"), message)]),
        };
    }
    let placed = given::placed(&at("transfers"), &instalment.transfers, issuer(owner, service), accounts)?;
    Ok((placed, Division::Amounts))
}

/// Shares of a service that cannot be divided: the rule and the remedy.
pub(super) fn unusable(error: &split::Error, service: &Service) -> String {
    format!("{error}; correct the beneficiaries of service {}", service.code)
}

/// What given transfers of a service refer to.
pub(super) fn issuer<'a>(owner: &'a Owner, service: &'a Service) -> Issuer<'a> {
    Issuer { code: owner.code, legal_name: &owner.legal_name, account: &service.account, taxonomy: service.taxonomy }
}

fn open_service<'a>(path: &str, code: &str, facts: &'a Facts) -> Result<&'a Service> {
    let field = || format!("{path}.service_code");
    let institution = facts.owner.code;
    let service = facts.service(code).ok_or_else(|| {
        let message = format!("institution {institution} has no service {code}; apply a PaymentService with this code");
        Error::precondition(field(), message)
    })?;
    match &service.opening {
        Opening::Open => Ok(service),
        closed => Err(Error::precondition(field(), format!("service {code} {closed}"))),
    }
}

fn check(
    path: impl Fn() -> String,
    instalment: &DraftInstalment,
    facts: &Facts,
    service: &Service,
    now: Timestamp,
    violations: &mut Vec<Violation>,
) {
    match &instalment.paid_elsewhere {
        // Limits are about what is asked for.
        Some(paid) if paid.on > LegalDate::today(now) => {
            let message = "is after today; send the day on which it was paid, or leave already_paid out";
            violations.push(Violation::new(format!("{}.already_paid.paid_on", path()), message));
        }
        Some(_) => {}
        None => {
            if let Err(message) = within_limits(service, instalment.amount) {
                violations.push(Violation::new(format!("{}.amount_cents", path()), message));
            }
        }
    }
    match &instalment.number {
        Some(number) if !facts.accepts(number) => {
            let message = format!(
                "its code is none of institution {}; add an association with it, or leave the number empty to have one issued",
                facts.owner.code
            );
            violations.push(Violation::new(format!("{}.notice_number", path()), message));
        }
        None if facts.issuing.is_none() => {
            let message = format!(
                "no association of institution {} issues numbers; set one to Issuing, or send the number",
                facts.owner.code
            );
            violations.push(Violation::new(format!("{}.notice_number", path()), message));
        }
        Some(_) | None => {}
    }
}

fn notice(
    asked: &Asked<'_>,
    draft: &Draft,
    instalment: &DraftInstalment,
    (option_no, instalment_no): (i16, i16),
    owner: &Owner,
    service: &Service,
    (transfers, division): (Vec<StoredTransfer>, Division),
) -> NoticeRow {
    NoticeRow {
        institution_id: owner.institution_id,
        nav: instalment.number.unwrap_or(NoticeNumber::PROBE),
        position_id: asked.id,
        option_no,
        instalment_no,
        state: if draft.published { InstalmentState::Payable } else { InstalmentState::Draft },
        version: 1,
        amount: instalment.amount,
        due: instalment.due,
        issued_on: LegalDate::today(asked.now),
        expiry: service.expiry,
        description: instalment.description.to_string(),
        service_code: service.code.clone(),
        account: service.account.clone(),
        debtor: StoredDebtor::from(&draft.debtor),
        transfers,
        division: Some(division),
        metadata: draft.metadata.iter().chain(&instalment.metadata).cloned().collect(),
        receipt_id: None,
        paid_elsewhere: instalment.paid_elsewhere.clone(),
        activated_at: None,
    }
}

// === impl Planned ===

impl Planned {
    /// How many numbers are to be issued.
    pub(super) fn missing_numbers(&self) -> usize {
        self.notices.iter().filter(|notice| notice.nav == NoticeNumber::PROBE).count()
    }

    /// Numbers that came with the request, and whose they are.
    pub(super) fn foreign_numbers(&self) -> impl Iterator<Item = (i32, NoticeNumber)> {
        self.foreign.iter().map(|nav| (self.owner.institution_id, *nav))
    }

    /// Accounts of beneficiaries: the issuer's number here, the owner's fiscal code, the name.
    pub(super) fn shared_accounts(&self) -> impl Iterator<Item = (i32, InstitutionCode, &str)> {
        // A stamp is paid to no account.
        let transfers = self.notices.iter().flat_map(|notice| &notice.transfers);
        let shared = transfers.filter(|transfer| transfer.stamp.is_none()).filter_map(|transfer| transfer.to.as_ref());
        shared.map(|to| (self.owner.institution_id, to.code, to.account.as_str()))
    }

    /// Puts issued numbers where they are missing.
    pub(super) fn number(&mut self, numbers: &mut impl Iterator<Item = NoticeNumber>) {
        let missing = self.notices.iter_mut().filter(|notice| notice.nav == NoticeNumber::PROBE);
        for (notice, number) in missing.zip(numbers) {
            notice.nav = number;
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
