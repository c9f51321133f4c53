//! Which services an institution has: its profiles' templates, overridden field by field by its own `PaymentService`s.

use std::collections::BTreeMap;

use crate::{
    profile::{ServiceProfileSpec, ServiceTemplate},
    service::{Beneficiary, ExpiryPolicy, LocalizedText, PaymentServiceSpec},
};

/// A service with every value in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveService {
    /// Code within the institution.
    pub code: String,
    /// What citizens read.
    pub title: LocalizedText,
    /// As written in the manifest.
    pub taxonomy_code: String,
    /// `metadata.name` of the institution's Iban.
    pub account: String,
    /// Whether the notice is payable after its due date.
    pub expiry_policy: ExpiryPolicy,
    /// Whether new debts may be created.
    pub active: bool,
    /// Smallest amount in cents.
    pub minimum_cents: Option<i64>,
    /// Largest amount in cents.
    pub maximum_cents: Option<i64>,
    /// Other institutions that share in every payment.
    pub beneficiaries: Vec<Beneficiary>,
    /// `<profile>/<revision>` where a profile brought the service.
    pub profile_revision: Option<String>,
    /// Index in the list of the institution's own services, where there is one for this code.
    pub own: Option<usize>,
}

/// Why a service could not be made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Problem {
    /// Two profiles bring the same code: neither is taken.
    BroughtTwice {
        /// The code.
        code: String,
        /// `<profile>/<revision>` of both, in the order of the list.
        profiles: [String; 2],
    },
    /// Two of the institution's own services have the same code: the later one is left out.
    DeclaredTwice {
        /// The code.
        code: String,
        /// Index of the one that is left out.
        own: usize,
        /// Index of the one that counts.
        first: usize,
    },
    /// No profile brings the service, so it must say more of itself.
    Missing {
        /// Index in the list of the institution's own services.
        own: usize,
        /// The absent fields, as in the manifest.
        fields: Vec<&'static str>,
    },
    /// Own and inherited limits contradict each other.
    Amount {
        /// Index in the list of the institution's own services.
        own: usize,
    },
}

/// What came of the expansion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expanded {
    /// The services by code.
    pub services: BTreeMap<String, EffectiveService>,
    /// What could not be made, in a stable order.
    pub problems: Vec<Problem>,
}

/// Fills the institution's services from its profiles. Pure; the same input gives the same output.
pub fn expand(profiles: &[&ServiceProfileSpec], own: &[&PaymentServiceSpec]) -> Expanded {
    let mut expanded = Expanded::default();
    let templates = templates(profiles, &mut expanded.problems);
    let mut declared: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, spec) in own.iter().enumerate() {
        if let Some(&first) = declared.get(spec.code.as_str()) {
            expanded.problems.push(Problem::DeclaredTwice { code: spec.code.clone(), own: index, first });
            continue;
        }
        declared.insert(&spec.code, index);
        match merge(index, spec, templates.get(spec.code.as_str())) {
            Ok(service) => {
                expanded.services.insert(spec.code.clone(), service);
            }
            Err(problem) => expanded.problems.push(problem),
        }
    }
    for (code, (profile_revision, template)) in templates {
        if !declared.contains_key(code) {
            expanded.services.insert(code.to_owned(), template.effective(profile_revision));
        }
    }
    expanded
}

type Templates<'a> = BTreeMap<&'a str, (String, &'a ServiceTemplate)>;

fn templates<'a>(profiles: &[&'a ServiceProfileSpec], problems: &mut Vec<Problem>) -> Templates<'a> {
    let mut templates: Templates<'a> = BTreeMap::new();
    let mut twice = Vec::new();
    for profile in profiles {
        let name = format!("{}/{}", profile.profile, profile.revision);
        for template in &profile.services {
            if let Some((first, _)) = templates.get(template.code.as_str()) {
                let profiles = [first.clone(), name.clone()];
                problems.push(Problem::BroughtTwice { code: template.code.clone(), profiles });
                twice.push(template.code.as_str());
            } else {
                templates.insert(&template.code, (name.clone(), template));
            }
        }
    }
    for code in twice {
        templates.remove(code);
    }
    templates
}

fn merge(
    own: usize,
    spec: &PaymentServiceSpec,
    template: Option<&(String, &ServiceTemplate)>,
) -> Result<EffectiveService, Problem> {
    let inherited = template.map(|(profile_revision, template)| template.effective(profile_revision.clone()));
    let base = inherited.as_ref();
    let title = spec.title.clone().or_else(|| base.map(|base| base.title.clone()));
    let taxonomy_code = spec.taxonomy_code.clone().or_else(|| base.map(|base| base.taxonomy_code.clone()));
    let account = spec.account.clone().or_else(|| base.map(|base| base.account.clone()));
    let (Some(title), Some(taxonomy_code), Some(account)) = (title, taxonomy_code, account) else {
        return Err(Problem::Missing { own, fields: missing(spec) });
    };
    let due_date = spec.due_date.as_ref().map(|rule| rule.expiry_policy);
    let (minimum_cents, maximum_cents) = spec
        .amount
        .as_ref()
        .map(|rule| (rule.minimum_cents, rule.maximum_cents))
        .or_else(|| base.map(|base| (base.minimum_cents, base.maximum_cents)))
        .unwrap_or_default();
    if minimum_cents.zip(maximum_cents).is_some_and(|(minimum, maximum)| minimum > maximum) {
        return Err(Problem::Amount { own });
    }
    Ok(EffectiveService {
        code: spec.code.clone(),
        title,
        taxonomy_code,
        account,
        expiry_policy: due_date.or_else(|| base.map(|base| base.expiry_policy)).unwrap_or_default(),
        active: spec.active.or_else(|| base.map(|base| base.active)).unwrap_or(true),
        minimum_cents,
        maximum_cents,
        beneficiaries: spec.beneficiaries.clone(),
        profile_revision: base.and_then(|base| base.profile_revision.clone()),
        own: Some(own),
    })
}

fn missing(spec: &PaymentServiceSpec) -> Vec<&'static str> {
    let fields = [
        ("spec.title", spec.title.is_none()),
        ("spec.taxonomyCode", spec.taxonomy_code.is_none()),
        ("spec.account", spec.account.is_none()),
    ];
    fields.into_iter().filter_map(|(field, absent)| absent.then_some(field)).collect()
}

// === impl ServiceTemplate ===

impl ServiceTemplate {
    /// The service as it is where nothing overrides it.
    fn effective(&self, profile_revision: String) -> EffectiveService {
        EffectiveService {
            code: self.code.clone(),
            title: self.title.clone(),
            taxonomy_code: self.taxonomy_code.clone(),
            account: self.account.clone(),
            expiry_policy: self.due_date.as_ref().map(|rule| rule.expiry_policy).unwrap_or_default(),
            active: self.active,
            minimum_cents: self.amount.as_ref().and_then(|rule| rule.minimum_cents),
            maximum_cents: self.amount.as_ref().and_then(|rule| rule.maximum_cents),
            beneficiaries: Vec::new(),
            profile_revision: Some(profile_revision),
            own: None,
        }
    }
}
