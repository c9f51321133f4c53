//! Services: what profiles bring and the institution overrides, with their accounts and beneficiaries.

use std::collections::BTreeSet;

use fiorino_crds::{
    PaymentService, Reason, ServiceProfile,
    expand::{EffectiveService, Problem, expand},
    iban::AccountNumber,
    service::{Beneficiary as Share, ExpiryPolicy},
};
use fiorino_domain::{iban::Iban as Number, taxonomy::TaxonomyCode};
use fiorino_proto::config::v1::{self as proto, ResourceKind, ServiceSpec};
use jiff::civil::Date;
use kube::ResourceExt as _;

use super::{
    Children, Rules, check_digit,
    findings::{Complaint, Judged, Report},
    text,
};
use crate::institution::{
    bundle::{Origin, profile_service_uid},
    dereference::{Beneficiary, Found, Snapshot},
    subject::Subject,
};

pub(super) fn services(snapshot: &Snapshot, rules: &Rules, report: &mut Report, children: &mut Children) {
    let profiles = profiles(snapshot, report);
    let templates: Vec<_> = profiles.iter().map(|profile| &profile.spec).collect();
    let brought: BTreeSet<&str> =
        templates.iter().flat_map(|profile| &profile.services).map(|template| template.code.as_str()).collect();
    let own: Vec<_> = snapshot.services.iter().map(|service| &service.spec).collect();
    let expanded = expand(&templates, &own);
    let mut judged: Vec<Judged> = snapshot.services.iter().map(|service| Judged::new(Subject::of(service))).collect();
    problems(&expanded.problems, snapshot, &mut judged, report);
    for service in expanded.services.values() {
        add(service, snapshot, rules, &mut judged, report, children);
    }
    for (service, judged) in snapshot.services.iter().zip(judged) {
        if !judged.errors.is_empty() {
            keep(service, &judged, &brought, snapshot, children);
        }
        report.add(judged);
    }
}

/// The profiles that can be read; each is judged by being found.
fn profiles<'a>(snapshot: &'a Snapshot, report: &mut Report) -> Vec<&'a ServiceProfile> {
    let mut profiles = Vec::new();
    for (index, (reference, found)) in snapshot.profiles.iter().enumerate() {
        let name = format!("{}/{}", reference.name, reference.revision);
        let (problem, remedy) = match found {
            Found::Object(profile) => {
                report.add(Judged::new(Subject::of(&**profile)));
                profiles.push(&**profile);
                continue;
            }
            Found::Unreadable(error) => {
                (format!("ServiceProfile {name} cannot be read ({error})"), "upgrade the operator")
            }
            Found::Missing => {
                (format!("ServiceProfile {name} does not exist on the platform"), "create the revision or name another")
            }
        };
        report.institution(&Complaint {
            reason: Reason::InvalidReference,
            field: format!("spec.profiles[{index}]"),
            problem,
            remedy: remedy.to_owned(),
        });
    }
    profiles
}

fn problems(problems: &[Problem], snapshot: &Snapshot, judged: &mut [Judged], report: &mut Report) {
    let complaint = |field: &str, problem: String, remedy: &str| Complaint {
        reason: Reason::InvalidField,
        field: field.to_owned(),
        problem,
        remedy: remedy.to_owned(),
    };
    for problem in problems {
        match problem {
            Problem::BroughtTwice { code, profiles: [first, second] } => report.institution(&complaint(
                "spec.profiles",
                format!("{first} and {second} both bring the service {code}"),
                "remove one of them",
            )),
            Problem::DeclaredTwice { code, own, first } => judged[*own].error(&complaint(
                "spec.code",
                format!(
                    "PaymentService {} has the code {code} too, and is older",
                    snapshot.services[*first].name_any()
                ),
                "delete one of them or choose another code",
            )),
            Problem::Missing { own, fields } => judged[*own].error(&complaint(
                &fields.join(", "),
                "absent, and no profile of the institution brings this service".to_owned(),
                "set it or add the profile",
            )),
            Problem::Amount { own } => judged[*own].error(&amount()),
        }
    }
}

pub(super) fn amount() -> Complaint {
    Complaint {
        reason: Reason::InvalidField,
        field: "spec.amount".to_owned(),
        problem: "minimumCents is greater than maximumCents".to_owned(),
        remedy: "correct one of them".to_owned(),
    }
}

fn add(
    service: &EffectiveService,
    snapshot: &Snapshot,
    rules: &Rules,
    judged: &mut [Judged],
    report: &mut Report,
    children: &mut Children,
) {
    let owner = Origin::of(&snapshot.institution);
    let code = &snapshot.institution.spec.fiscal_code;
    let mut complaints = Vec::new();
    let spec = spec(service, snapshot, rules, &mut complaints);
    let Some(own) = service.own else {
        for complaint in &complaints {
            report.aggregate(&Complaint {
                field: format!("service {}: {}", service.code, complaint.field),
                ..complaint.clone()
            });
        }
        match spec {
            Some(spec) => {
                children.resources.push(owner.service(&service.code).resource(ResourceKind::Service, &spec, code));
            }
            None => children.keep.push(profile_service_uid(&owner.uid, &service.code)),
        }
        return;
    };
    for complaint in &complaints {
        judged[own].error(complaint);
    }
    if let Some(spec) = spec {
        children.resources.push(Origin::of(&snapshot.services[own]).resource(ResourceKind::Service, &spec, code));
    }
}

/// An invalid service stays as it was, also where so far the profile's was in its place.
fn keep(
    service: &PaymentService,
    judged: &Judged,
    brought: &BTreeSet<&str>,
    snapshot: &Snapshot,
    children: &mut Children,
) {
    children.keep.push(judged.subject.uid.clone());
    if brought.contains(service.spec.code.as_str()) {
        let owner = snapshot.institution.uid().unwrap_or_default();
        children.keep.push(profile_service_uid(&owner, &service.spec.code));
    }
}

fn spec(
    service: &EffectiveService,
    snapshot: &Snapshot,
    rules: &Rules,
    complaints: &mut Vec<Complaint>,
) -> Option<ServiceSpec> {
    let taxonomy_code = taxonomy(&service.taxonomy_code, "spec.taxonomyCode", complaints);
    text(&service.title.it, "spec.title.it", |complaint| complaints.push(complaint));
    if !snapshot.ibans.iter().any(|iban| iban.name_any() == service.account)
        && !snapshot.unreadable.iter().any(|child| child.kind == "Iban" && child.name == service.account)
    {
        complaints.push(Complaint {
            reason: Reason::InvalidReference,
            field: "spec.account".to_owned(),
            problem: format!("Iban {} does not exist in this namespace", service.account),
            remedy: "create it or name another".to_owned(),
        });
    }
    let beneficiaries = service.beneficiaries.iter().enumerate();
    let beneficiaries: Vec<_> = beneficiaries
        .filter_map(|(index, share)| beneficiary(index, share, service, snapshot, rules, complaints))
        .collect();
    let expiry_policy = match service.expiry_policy {
        ExpiryPolicy::PayableAfterDueDate => proto::ExpiryPolicy::PayableAfterDueDate,
        ExpiryPolicy::NotPayableAfterDueDate => proto::ExpiryPolicy::NotPayableAfterDueDate,
    };
    complaints.is_empty().then(|| ServiceSpec {
        code: service.code.clone(),
        title_it: service.title.it.clone(),
        taxonomy_code,
        account: service.account.clone(),
        expiry_policy: expiry_policy.into(),
        active: service.active,
        minimum_cents: service.minimum_cents.unwrap_or_default(),
        maximum_cents: service.maximum_cents.unwrap_or_default(),
        beneficiaries,
        profile_revision: service.profile_revision.clone().unwrap_or_default(),
    })
}

pub(super) fn taxonomy(text: &str, field: &str, complaints: &mut Vec<Complaint>) -> String {
    match TaxonomyCode::parse(text) {
        Ok(code) => code.as_str().to_owned(),
        Err(error) => {
            complaints.push(Complaint {
                reason: Reason::InvalidField,
                field: field.to_owned(),
                problem: error.to_string(),
                remedy: "look the service up in PagoPA's taxonomy".to_owned(),
            });
            String::new()
        }
    }
}

fn beneficiary(
    index: usize,
    share: &Share,
    service: &EffectiveService,
    snapshot: &Snapshot,
    rules: &Rules,
    complaints: &mut Vec<Complaint>,
) -> Option<proto::Beneficiary> {
    let field = |name: &str| format!("spec.beneficiaries[{index}].{name}");
    if rules.environment == crate::config::Environment::Production {
        check_digit(&share.fiscal_code, &field("fiscalCode"), rules.environment, |complaint, _| {
            complaints.push(complaint);
        });
    }
    let category = share.taxonomy_code.as_ref().unwrap_or(&service.taxonomy_code);
    let taxonomy_code = taxonomy(category, &field("taxonomyCode"), complaints);
    let own = share.fiscal_code == snapshot.institution.spec.fiscal_code;
    let name = (share.fiscal_code.clone(), share.account.clone());
    match account(snapshot.beneficiaries.get(&name), own, share, snapshot.today) {
        Ok(legal_name) => Some(proto::Beneficiary {
            fiscal_code: share.fiscal_code.clone(),
            legal_name,
            share_basis_points: share.share_basis_points,
            account: share.account.clone(),
            taxonomy_code,
        }),
        Err((name, problem, remedy)) => {
            let remedy = remedy.to_owned();
            complaints.push(Complaint { reason: Reason::InvalidReference, field: field(name), problem, remedy });
            None
        }
    }
}

/// The beneficiary's name, if its account can be paid to today; else field, problem and remedy.
fn account(
    found: Option<&Beneficiary>,
    own: bool,
    share: &Share,
    today: Date,
) -> Result<String, (&'static str, String, &'static str)> {
    let Share { fiscal_code, account, .. } = share;
    let (legal_name, iban) = match found {
        Some(Beneficiary::Account { legal_name, iban }) => (legal_name, iban),
        Some(Beneficiary::NoAccount) => {
            let problem = format!("the institution {fiscal_code} has no Iban {account}");
            return Err(("account", problem, "ask it to create the account, or name another"));
        }
        Some(Beneficiary::NoInstitution) | None => {
            let problem = format!("no CreditorInstitution of this platform has the fiscal code {fiscal_code}");
            return Err(("fiscalCode", problem, "create one with role BeneficiaryOnly"));
        }
    };
    if !own && !iban.spec.published {
        let problem = format!("the institution {fiscal_code} has not published its Iban {account}");
        return Err(("account", problem, "ask it to set spec.published: true there"));
    }
    // Which number counts is tenant's to say, when somebody pays.
    let valid = |number: &&AccountNumber| {
        !number.withdrawn && number.valid_from <= today && Number::parse(&number.iban).is_ok()
    };
    if !iban.spec.numbers.iter().any(|number| valid(&number)) {
        let problem = format!("the Iban {account} of the institution {fiscal_code} has no valid number in use today");
        return Err(("account", problem, "ask it to add one"));
    }
    Ok(legal_name.clone())
}
