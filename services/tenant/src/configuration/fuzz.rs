//! The reader of bundles, which nothing else needs to see: for the fuzz targets (docs/fuzzing.md).

use fiorino_proto::config::v1::ApplyBundleRequest;

use super::bundle::Bundle;
use crate::{config::Environment, error::Result};

/// Reads a bundle that is addressed to this tenant: how many resources it has.
///
/// # Errors
/// Every rule that it breaks.
pub fn bundle(mut request: ApplyBundleRequest) -> Result<usize> {
    Environment::Uat.as_str().clone_into(&mut request.environment);
    let platform = request.platform.clone();
    Bundle::read(request, &platform, Environment::Uat).map(|bundle| bundle.items().count())
}
