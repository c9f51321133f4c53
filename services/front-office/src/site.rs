//! What the portal reads of the configuration: institutions by host name, with their services. Pure.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use fiorino_config_client::{Projection, decode, known};
use fiorino_domain::institution::InstitutionCode;
use fiorino_proto::config::v1::{ExpiryPolicy, InstitutionSpec, LifecyclePhase, Resource, ResourceKind, ServiceSpec};

/// The front-office's projection.
#[derive(Debug)]
pub struct Sites;

/// An institution as the portal shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Its fiscal code.
    pub code: InstitutionCode,
    /// Legal name.
    pub name: String,
    /// Code in the index of public administrations; empty = not told.
    pub ipa_code: String,
    /// Code by which home banking finds it; empty = none.
    pub cbill_code: String,
    /// Page on which citizens find whom to ask.
    pub contact_url: Option<String>,
    /// Its declaration of accessibility.
    pub accessibility_url: Option<String>,
    /// Being tested with pagoPA.
    pub testing: bool,
    /// Nothing can be paid any more.
    pub closed: bool,
    /// What it collects, by title.
    pub services: Vec<Service>,
    hostnames: Vec<String>,
}

/// A service of an institution.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Service {
    /// As citizens know it.
    pub title: String,
    /// Payable after the due date too.
    pub payable_late: bool,
}

/// A resource, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// An institution, without its services.
    Institution(Site),
    /// A service; `None` = it is not offered at present.
    Service(InstitutionCode, Option<Service>),
}

/// The institutions that have a portal.
#[derive(Debug, Default)]
pub struct Directory {
    by_hostname: HashMap<String, Arc<Site>>,
    by_code: HashMap<InstitutionCode, Arc<Site>>,
}

// === impl Directory ===

impl Directory {
    /// The institution that a visitor asks for: `host` as in the request, in any case, with or without port.
    pub fn of_host(&self, host: &str) -> Option<Arc<Site>> {
        let (name, port) = host.rsplit_once(':').unwrap_or((host, ""));
        if !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        self.by_hostname.get(&name).cloned()
    }

    /// An institution, whether it has a portal or not.
    pub fn of_code(&self, code: &InstitutionCode) -> Option<Arc<Site>> {
        self.by_code.get(code).cloned()
    }
}

// === impl Sites ===

impl Projection for Sites {
    type Item = Item;
    type View = Directory;

    fn wants(&self, kind: ResourceKind) -> bool {
        matches!(kind, ResourceKind::Institution | ResourceKind::Service)
    }

    fn parse(&self, resource: &Resource) -> Result<Item, String> {
        let code = |field: &str, text: &str| InstitutionCode::parse(text).map_err(|error| format!("{field}: {error}"));
        if resource.kind() == ResourceKind::Service {
            let spec: ServiceSpec = decode(resource)?;
            let policy: ExpiryPolicy = known(spec.expiry_policy, "expiry_policy")?;
            let payable_late = policy == ExpiryPolicy::PayableAfterDueDate;
            let service = spec.active.then_some(Service { title: spec.title_it, payable_late });
            return Ok(Item::Service(code("institution", &resource.institution)?, service));
        }
        let spec: InstitutionSpec = decode(resource)?;
        let phase: LifecyclePhase = known(spec.phase, "phase")?;
        Ok(Item::Institution(Site {
            code: code("fiscal_code", &spec.fiscal_code)?,
            name: spec.legal_name,
            ipa_code: spec.ipa_code,
            cbill_code: spec.cbill_code,
            contact_url: page("contact_url", spec.contact_url)?,
            accessibility_url: page("accessibility_url", spec.accessibility_url)?,
            testing: phase == LifecyclePhase::Testing,
            closed: phase == LifecyclePhase::Closed,
            services: Vec::new(),
            hostnames: spec.portal_hostnames,
        }))
    }

    fn view(&self, items: &BTreeMap<String, Arc<Item>>) -> Directory {
        let mut services: HashMap<InstitutionCode, Vec<Service>> = HashMap::new();
        for item in items.values() {
            if let Item::Service(institution, Some(service)) = &**item {
                services.entry(*institution).or_default().push(service.clone());
            }
        }
        let mut directory = Directory::default();
        for item in items.values() {
            let Item::Institution(site) = &**item else { continue };
            let mut services = services.remove(&site.code).unwrap_or_default();
            services.sort_unstable();
            let site = Arc::new(Site { services, ..site.clone() });
            for hostname in &site.hostnames {
                directory.by_hostname.entry(hostname.clone()).or_insert_with(|| Arc::clone(&site));
            }
            directory.by_code.insert(site.code, site);
        }
        directory
    }
}

/// The address of a page that may be linked; `None` where it is empty.
fn page(field: &str, url: String) -> Result<Option<String>, String> {
    if url.is_empty() || url.starts_with("https://") {
        return Ok(Some(url).filter(|url| !url.is_empty()));
    }
    Err(format!("{field}: is not https"))
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use rstest::rstest;

    use super::*;

    const CODE: &str = "80041780356";

    fn institution(phase: LifecyclePhase) -> Resource {
        institution_of(InstitutionSpec { phase: phase.into(), ..InstitutionSpec::default() })
    }

    fn institution_of(spec: InstitutionSpec) -> Resource {
        let spec = InstitutionSpec {
            fiscal_code: CODE.into(),
            legal_name: "Comune di Roccafiorina".into(),
            portal_hostnames: vec!["roccafiorina.localhost".into(), "paga.roccafiorina.example".into()],
            ..spec
        };
        Resource { kind: ResourceKind::Institution.into(), spec: spec.encode_to_vec().into(), ..Resource::default() }
    }

    fn service(title: &str, active: bool) -> Resource {
        let spec = ServiceSpec {
            title_it: title.into(),
            active,
            expiry_policy: ExpiryPolicy::NotPayableAfterDueDate.into(),
            ..ServiceSpec::default()
        };
        Resource {
            kind: ResourceKind::Service.into(),
            institution: CODE.into(),
            spec: spec.encode_to_vec().into(),
            ..Resource::default()
        }
    }

    fn directory(resources: &[Resource]) -> Directory {
        let items = resources.iter().enumerate();
        let items = items.map(|(at, one)| (at.to_string(), Arc::new(Sites.parse(one).unwrap()))).collect();
        Sites.view(&items)
    }

    #[rstest]
    #[case("roccafiorina.localhost", true)]
    #[case("roccafiorina.localhost:8080", true)]
    #[case("RoccaFiorina.LOCALHOST.:80", true)]
    #[case("paga.roccafiorina.example", true)]
    #[case("altro.localhost", false)]
    #[case("roccafiorina.localhost:http", false)]
    #[case("x.roccafiorina.localhost", false)]
    #[case("[::1]:8080", false)]
    #[case("", false)]
    fn by_host(#[case] host: &str, #[case] found: bool) {
        let directory = directory(&[institution(LifecyclePhase::Live)]);
        assert_eq!(directory.of_host(host).map(|site| site.code.to_string()), found.then(|| CODE.to_owned()));
    }

    #[test]
    fn its_active_services_by_title() {
        let services = [service("TARI", true), service("Mensa", true), service("Vecchio", false)];
        let directory = directory(&[&[institution(LifecyclePhase::Closed)][..], &services].concat());
        let site = directory.of_code(&InstitutionCode::parse(CODE).unwrap()).unwrap();
        let titles: Vec<&str> = site.services.iter().map(|service| service.title.as_str()).collect();
        assert_eq!(titles, ["Mensa", "TARI"]);
        assert!(site.closed && !site.testing && !site.services[0].payable_late);
    }

    #[test]
    fn a_refusal_names_the_field() {
        let mut resource = institution(LifecyclePhase::Unspecified);
        assert!(Sites.parse(&resource).unwrap_err().contains("phase"));
        let phase = LifecyclePhase::Live.into();
        let contact_url = "javascript:alert(1)".to_owned();
        resource = institution_of(InstitutionSpec { phase, contact_url, ..InstitutionSpec::default() });
        assert_eq!(Sites.parse(&resource).unwrap_err(), "contact_url: is not https");
        resource = service("TARI", true);
        resource.institution = "1".into();
        assert!(Sites.parse(&resource).unwrap_err().contains("institution"));
        assert!(Sites.wants(ResourceKind::Service) && !Sites.wants(ResourceKind::Account));
    }
}
