//! A bundle as it came, read: headers checked, specs parsed, or every violation told.

use std::collections::HashSet;

use fiorino_proto::config::v1::{ApplyBundleRequest, Resource, ResourceKind};
use sha2::{Digest as _, Sha256};

use super::spec::{Institution, Reader, Spec, is_name};
use crate::{
    config::Environment,
    error::{Error, Result, Violation},
};

/// Features of resources that tenant itself understands.
const FEATURES: &[&str] = &["postal-account"];

/// Bounds of one bundle: a message stays under the server's limit, a resource under a chunk of the stream.
const CHILDREN_MAX: usize = 2_000;
const SHARED_MAX: usize = 200;
const SPEC_MAX: usize = 128 * 1024;
const VIOLATIONS_MAX: usize = 50;

/// What an institution's configuration shall be.
#[derive(Debug)]
pub(super) struct Bundle {
    pub(super) institution: Item,
    /// Accounts and services.
    pub(super) children: Vec<Item>,
    /// Brokers and stations.
    pub(super) shared: Vec<Item>,
    /// uids of children that stay as they are.
    pub(super) keep: HashSet<String>,
}

/// A resource and its parsed spec.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) kind: ResourceKind,
    pub(super) resource: Resource,
    pub(super) spec: Spec,
}

// === impl Bundle ===

impl Bundle {
    /// Reads a request to a tenant of this platform and environment.
    ///
    /// # Errors
    /// [`Error::Invalid`] with what cannot be read.
    pub(super) fn read(request: ApplyBundleRequest, platform: &str, environment: Environment) -> Result<Self> {
        check_addressee(&request.platform, &request.environment, platform, environment)?;
        let ApplyBundleRequest { institution, children, shared, keep, .. } = request;
        let mut violations = Vec::new();
        check_counts(&children, &shared, &keep, &mut violations);
        let Some(institution) = institution else {
            return Err(Error::invalid("institution", "must be set"));
        };
        let institution = Item::read(institution, "institution", &[ResourceKind::Institution], &mut violations);
        let own = [ResourceKind::Account, ResourceKind::Service];
        let children = Item::read_all(children, "children", &own, &mut violations);
        let common = [ResourceKind::Broker, ResourceKind::Station];
        let shared = Item::read_all(shared, "shared", &common, &mut violations);
        violations.truncate(VIOLATIONS_MAX);
        match institution {
            Some(institution) if violations.is_empty() => {
                let bundle = Self { institution, children, shared, keep: keep.into_iter().collect() };
                bundle.check_unique()?;
                Ok(bundle)
            }
            _ => Err(Error::Invalid(violations)),
        }
    }

    /// Every item in the order of the outcomes.
    pub(super) fn items(&self) -> impl Iterator<Item = &Item> {
        std::iter::once(&self.institution).chain(&self.children).chain(&self.shared)
    }

    /// The institution's fiscal code.
    pub(super) fn fiscal_code(&self) -> &str {
        self.institution.spec.identity()
    }

    /// The institution's spec.
    pub(super) fn institution(&self) -> Option<&Institution> {
        match &self.institution.spec {
            Spec::Institution(institution) => Some(institution),
            _ => None,
        }
    }

    /// One object is sent once, and either applied or kept.
    fn check_unique(&self) -> Result<()> {
        let mut seen = HashSet::new();
        let repeated = self.items().map(|item| &item.resource.uid).find(|uid| !seen.insert(*uid));
        if let Some(uid) = repeated {
            return Err(Error::invalid("children", format!("uid {uid} is sent twice")));
        }
        match self.keep.iter().find(|uid| seen.contains(uid)) {
            Some(uid) => Err(Error::invalid("keep", format!("uid {uid} is also in the bundle"))),
            None => Ok(()),
        }
    }
}

// === impl Item ===

impl Item {
    fn read(resource: Resource, path: &str, kinds: &[ResourceKind], violations: &mut Vec<Violation>) -> Option<Self> {
        let before = violations.len();
        let kind = ResourceKind::try_from(resource.kind).ok().filter(|kind| kinds.contains(kind));
        let mut reader = Reader::new(path, violations);
        reader.require("kind", kind.is_some(), "is not one that belongs here");
        reader.require("uid", !resource.uid.is_empty() && resource.uid.len() <= 200, "must be 1 to 200 bytes");
        reader.require("namespace", resource.namespace.len() <= 253, "must be at most 253 bytes");
        reader.require("name", resource.name.len() <= 253, "must be at most 253 bytes");
        reader.require("generation", resource.generation >= 0, "must not be negative");
        let features = &resource.required_features;
        let features_ok = features.len() <= 50 && features.iter().all(|feature| is_name(feature));
        reader.require("required_features", features_ok, "must be at most 50 names");
        reader.require("spec", resource.spec.len() <= SPEC_MAX, "must be at most 128 KiB");
        let hash_ok = Sha256::digest(&resource.spec)[..] == resource.hash[..];
        reader.require("hash", hash_ok, "must be the SHA-256 of spec");
        let spec = Spec::read(kind?, &resource.spec, &mut reader.below("spec"))?;
        let kind = kind.filter(|_| violations.len() == before)?;
        Some(Self { kind, resource, spec })
    }

    fn read_all(
        resources: Vec<Resource>,
        path: &str,
        kinds: &[ResourceKind],
        violations: &mut Vec<Violation>,
    ) -> Vec<Self> {
        let resources = resources.into_iter().enumerate();
        resources.filter_map(|(at, one)| Self::read(one, &format!("{path}[{at}]"), kinds, violations)).collect()
    }

    /// `namespace/name` of the object.
    pub(super) fn object(&self) -> String {
        format!("{}/{}", self.resource.namespace, self.resource.name)
    }

    /// A feature that the resource asks for and tenant lacks.
    pub(super) fn lacking_feature(&self) -> Option<&str> {
        let features = &self.resource.required_features;
        features.iter().map(String::as_str).find(|feature| !FEATURES.contains(feature))
    }
}

/// A request must be meant for this tenant.
///
/// # Errors
/// [`Error::Invalid`] naming what this tenant serves.
pub(super) fn check_addressee(platform: &str, environment: &str, ours: &str, served: Environment) -> Result<()> {
    let mut violations = Vec::new();
    if platform != ours {
        violations
            .push(Violation::new("platform", format!("this tenant serves the platform {ours}; ask another tenant")));
    }
    if environment != served.as_str() {
        let message = format!("this tenant serves {served}; ask another tenant");
        violations.push(Violation::new("environment", message));
    }
    if violations.is_empty() { Ok(()) } else { Err(Error::Invalid(violations)) }
}

fn check_counts(children: &[Resource], shared: &[Resource], keep: &[String], violations: &mut Vec<Violation>) {
    let counts = [("children", children.len(), CHILDREN_MAX), ("shared", shared.len(), SHARED_MAX)];
    for (field, count, max) in counts.into_iter().chain([("keep", keep.len(), CHILDREN_MAX)]) {
        if count > max {
            violations.push(Violation::new(field, format!("has {count} entries, at most {max} are allowed")));
        }
    }
}
