//! What reporting reads of the configuration: which institutions there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use fiorino_config_client::{Projection, decode};
use fiorino_domain::institution::InstitutionCode;
use fiorino_proto::config::v1::{InstitutionSpec, Resource, ResourceKind};

/// The institutions that are configured, whatever their phase.
#[derive(Debug)]
pub(crate) struct Institutions;

// === impl Institutions ===

impl Projection for Institutions {
    type Item = InstitutionCode;
    type View = BTreeSet<InstitutionCode>;

    fn wants(&self, kind: ResourceKind) -> bool {
        kind == ResourceKind::Institution
    }

    fn parse(&self, resource: &Resource) -> Result<Self::Item, String> {
        let spec: InstitutionSpec = decode(resource)?;
        InstitutionCode::parse(&spec.fiscal_code).map_err(|error| format!("fiscal_code: {error}"))
    }

    fn view(&self, items: &BTreeMap<String, Arc<Self::Item>>) -> Self::View {
        items.values().map(|institution| **institution).collect()
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    fn resource(fiscal_code: &str) -> Resource {
        let spec = InstitutionSpec { fiscal_code: fiscal_code.to_owned(), ..InstitutionSpec::default() };
        Resource { spec: spec.encode_to_vec().into(), ..Resource::default() }
    }

    #[test]
    fn institutions_by_their_fiscal_code() {
        let code = InstitutionCode::parse("80012340560").unwrap();
        assert_eq!(Institutions.parse(&resource("80012340560")), Ok(code));
        let items = BTreeMap::from([("uid-1".to_owned(), Arc::new(code)), ("uid-2".to_owned(), Arc::new(code))]);
        assert_eq!(Institutions.view(&items), BTreeSet::from([code]));
        assert!(Institutions.wants(ResourceKind::Institution) && !Institutions.wants(ResourceKind::Service));
    }

    #[test]
    fn a_refusal_names_the_field() {
        assert!(Institutions.parse(&resource("8001234056")).unwrap_err().starts_with("fiscal_code"));
    }
}
