//! From what people wrote to what tenant can take. Pure.
//!
//! A finding names the field, what is wrong with it and the remedy. What is wrong with the institution itself holds the whole bundle back
//! (tenant keeps what it has); an invalid account or service is kept as it was while the rest goes on (ARCHITECTURE.md 3.1).

mod accounts;
pub mod findings;
mod platform;
mod services;
pub mod unused;

use std::collections::BTreeMap;

use fiorino_crds::{
    Reason,
    institution::{Association, AssociationState, Issuer, Phase, Portal},
};
use fiorino_domain::{institution::InstitutionCode, text::Text};
use fiorino_proto::config::v1::{self as proto, InstitutionSpec, LifecyclePhase, Resource, ResourceKind};

use self::findings::{Complaint, Report};
use super::{
    bundle::{Bundle, Origin},
    dereference::{Found, Snapshot},
    subject::Subject,
};
use crate::config::Environment;

/// Accounts and services of one institution, as tenant takes them.
const CHILDREN_MAX: usize = 2_000;

/// What holds for every institution of the platform.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Namespace of the platform.
    pub platform: String,
    /// pagoPA's environment.
    pub environment: Environment,
    /// Domains under which portal host names may lie; empty: any.
    pub allowed_hostnames: Vec<String>,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Validated {
    /// Every object that was judged, and what is wrong.
    pub report: Report,
    /// What tenant should have; `None` when the institution itself is wrong.
    pub bundle: Option<Bundle>,
}

/// Judges an institution with everything that it refers to.
pub fn validate(snapshot: &Snapshot, rules: &Rules) -> Validated {
    let institution = &snapshot.institution;
    let mut report = Report::new(Subject::of(institution));
    own(snapshot, rules, &mut report);
    if snapshot.rival.is_some() {
        // Accounts and services are the older one's: what they lack by this one's profiles is nobody's concern.
        return Validated { report, bundle: None };
    }
    let shared = platform::shared(snapshot, rules, &mut report);
    let mut children = Children::default();
    accounts::accounts(snapshot, &mut report, &mut children);
    services::services(snapshot, rules, &mut report, &mut children);
    unreadable(snapshot, &mut report, &mut children);
    bounded(&children, &mut report);
    let bundle = (!report.institution_is_wrong()).then(|| Bundle {
        institution: resource(snapshot),
        children: children.resources,
        shared,
        keep: children.keep,
    });
    Validated { report, bundle }
}

/// What becomes of the institution's accounts and services.
#[derive(Debug, Default)]
struct Children {
    resources: Vec<Resource>,
    /// uids, sorted by kind and name of their objects.
    keep: Vec<String>,
}

/// What the institution's own fields break.
fn own(snapshot: &Snapshot, rules: &Rules, report: &mut Report) {
    let institution = &snapshot.institution;
    let spec = &institution.spec;
    if let Some(rival) = &snapshot.rival {
        report.institution(&Complaint {
            reason: Reason::InvalidReference,
            field: "metadata.namespace".to_owned(),
            problem: format!("CreditorInstitution {rival} lives in this namespace"),
            remedy: "give each institution a namespace of its own".to_owned(),
        });
    }
    check_digit(&spec.fiscal_code, "spec.fiscalCode", rules.environment, |complaint, error| {
        if error { report.institution(&complaint) } else { report.warn_institution(&complaint) }
    });
    text(&spec.legal_name, "spec.legalName", |complaint| report.institution(&complaint));
    if let Some(name) = &spec.office_name {
        text(name, "spec.officeName", |complaint| report.institution(&complaint));
    }
    if let Some(platform) = spec.platform().filter(|platform| *platform != rules.platform) {
        let field = if spec.associations.is_empty() {
            "spec.platformRef.namespace"
        } else {
            "spec.associations[0].stationRef.namespace"
        };
        report.institution(&Complaint {
            reason: Reason::InvalidReference,
            field: field.to_owned(),
            problem: format!("no platform is in the namespace {platform}"),
            remedy: "name the namespace in which the Station lies".to_owned(),
        });
        return;
    }
    stations(snapshot, report);
    hostnames(snapshot, rules, report);
}

fn stations(snapshot: &Snapshot, report: &mut Report) {
    let institution = &snapshot.institution;
    let namespace = institution.metadata.namespace.as_deref().unwrap_or_default();
    for (index, association) in institution.spec.associations.iter().enumerate() {
        let reference = &association.station_ref;
        let (problem, remedy) = match snapshot.stations.get(&reference.name) {
            Some(Found::Object(station)) => {
                if station.spec.allowed_namespaces.allow(&reference.namespace, namespace) {
                    continue;
                }
                let problem = format!("Station {} does not allow the namespace {namespace}", reference.name);
                (problem, "add it to the Station's spec.allowedNamespaces".to_owned())
            }
            Some(Found::Unreadable(error)) => {
                (format!("Station {} cannot be read ({error})", reference.name), "upgrade the operator".to_owned())
            }
            Some(Found::Missing) | None => {
                let problem = format!("Station {}/{} does not exist", reference.namespace, reference.name);
                (problem, "create it or correct the name".to_owned())
            }
        };
        let field = format!("spec.associations[{index}].stationRef");
        report.institution(&Complaint { reason: Reason::InvalidReference, field, problem, remedy });
    }
}

fn hostnames(snapshot: &Snapshot, rules: &Rules, report: &mut Report) {
    let hostnames = snapshot.institution.spec.portal.iter().flat_map(|portal| &portal.hostnames);
    for (index, hostname) in hostnames.enumerate() {
        let under = |domain: &String| hostname == domain || hostname.ends_with(&format!(".{domain}"));
        if !rules.allowed_hostnames.is_empty() && !rules.allowed_hostnames.iter().any(under) {
            report.institution(&Complaint {
                reason: Reason::InvalidField,
                field: format!("spec.portal.hostnames[{index}]"),
                problem: format!("{hostname} is not under a domain of the platform"),
                remedy: format!("choose a name under {}", rules.allowed_hostnames.join(" or ")),
            });
        }
    }
}

/// Tenant takes so many children at once.
fn bounded(children: &Children, report: &mut Report) {
    let count = children.resources.len() + children.keep.len();
    if count > CHILDREN_MAX {
        report.institution(&Complaint {
            reason: Reason::InvalidField,
            field: "spec.profiles".to_owned(),
            problem: format!("{count} accounts and services, {CHILDREN_MAX} are allowed"),
            remedy: "remove a profile or services".to_owned(),
        });
    }
}

fn unreadable(snapshot: &Snapshot, report: &mut Report, children: &mut Children) {
    for child in &snapshot.unreadable {
        // The code of a service that cannot be read is unknown: a profile's service could take its place. Nothing is sent.
        let holds_back = child.kind == "PaymentService";
        let complaint = Complaint {
            reason: Reason::InvalidChild,
            field: format!("{} {}", child.kind, child.name),
            problem: format!("cannot be read ({})", child.error),
            remedy: "correct it or upgrade the operator".to_owned(),
        };
        if holds_back {
            report.institution(&complaint);
        } else {
            report.aggregate(&complaint);
            children.keep.push(child.uid.clone());
        }
    }
}

/// What a message to the node says of a name. The API server knows most of it, but counts a rare character as one where the node counts two.
fn text(value: &str, field: &str, mut complain: impl FnMut(Complaint)) {
    if let Err(error) = Text::<140>::parse(value) {
        complain(Complaint {
            reason: Reason::InvalidField,
            field: field.to_owned(),
            problem: error.to_string(),
            remedy: "shorten or correct it".to_owned(),
        });
    }
}

/// The last digit of an organisation's fiscal code: wrong ones are refused in Production; codes made for tests fail it (architecture
/// 11.11).
fn check_digit(code: &str, field: &str, environment: Environment, mut complain: impl FnMut(Complaint, bool)) {
    if InstitutionCode::parse(code).is_ok_and(|code| code.check_digit_ok()) {
        return;
    }
    let complaint = Complaint {
        reason: Reason::InvalidField,
        field: field.to_owned(),
        problem: format!("the check digit of {code} does not fit"),
        remedy: "compare it with the index of public administrations (IPA)".to_owned(),
    };
    complain(complaint, environment == Environment::Production);
}

fn resource(snapshot: &Snapshot) -> Resource {
    let institution = &snapshot.institution;
    let spec = &institution.spec;
    let ids: BTreeMap<&str, &str> = snapshot
        .stations
        .iter()
        .filter_map(|(name, station)| match station {
            Found::Object(station) => Some((name.as_str(), station.spec.id.as_str())),
            Found::Missing | Found::Unreadable(_) => None,
        })
        .collect();
    let associations = spec.associations.iter();
    let portal = spec.portal.as_ref();
    let page =
        |page: fn(&Portal) -> &Option<String>| portal.and_then(|portal| page(portal).clone()).unwrap_or_default();
    let message = InstitutionSpec {
        fiscal_code: spec.fiscal_code.clone(),
        legal_name: spec.legal_name.clone(),
        office_name: spec.office_name.clone().unwrap_or_default(),
        phase: phase(spec.lifecycle.phase).into(),
        associations: associations
            .filter_map(|it| Some(association(it, ids.get(it.station_ref.name.as_str())?)))
            .collect(),
        nav_floor: spec.nav_floor,
        ipa_code: spec.ipa_code.clone().unwrap_or_default(),
        cbill_code: spec.cbill_code.clone().unwrap_or_default(),
        portal_hostnames: portal.map(|portal| portal.hostnames.clone()).unwrap_or_default(),
        contact_url: page(|portal| &portal.contact_url),
        accessibility_url: page(|portal| &portal.accessibility_url),
    };
    Origin::of(institution).resource(ResourceKind::Institution, &message, &spec.fiscal_code)
}

fn association(association: &Association, station_id: &str) -> proto::Association {
    // Tenant issues from a range only when nobody else does.
    let issuing = association.state == AssociationState::Issuing && association.issuer == Issuer::Platform;
    let state = if issuing { proto::AssociationState::Issuing } else { proto::AssociationState::AcceptingOnly };
    proto::Association {
        station_id: station_id.to_owned(),
        aux_digit: association.aux_digit,
        code: association.code().to_owned(),
        nav_prefix: association.nav_prefix.clone(),
        state: state.into(),
        broadcast: association.broadcast,
    }
}

const fn phase(phase: Phase) -> LifecyclePhase {
    match phase {
        Phase::Testing => LifecyclePhase::Testing,
        Phase::Live => LifecyclePhase::Live,
        Phase::Suspended => LifecyclePhase::Suspended,
        Phase::Leaving => LifecyclePhase::Leaving,
        Phase::Closed => LifecyclePhase::Closed,
    }
}
