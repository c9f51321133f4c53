//! What a file descriptor set offers.

use prost::Message as _;
use prost_types::FileDescriptorSet;

use super::{Error, Result};

/// Every method of an encoded file descriptor set, as on the wire (`/package.Service/Method`), sorted.
///
/// Services' tests walk it to prove that each method refuses every caller that is not allowed.
///
/// # Errors
/// [`Error::Descriptors`] when the bytes are no file descriptor set.
pub fn every_method(descriptors: &[u8]) -> Result<Vec<String>> {
    let set = FileDescriptorSet::decode(descriptors).map_err(Error::Descriptors)?;
    let mut methods: Vec<_> = set
        .file
        .iter()
        .flat_map(|file| {
            file.service.iter().flat_map(|service| {
                service.method.iter().map(|method| format!("/{}.{}/{}", file.package(), service.name(), method.name()))
            })
        })
        .collect();
    methods.sort();
    Ok(methods)
}
