//! What a service makes of resources: the part that each service writes itself. Pure.

use std::{collections::BTreeMap, sync::Arc};

use fiorino_proto::config::v1::{Resource, ResourceKind};
use prost::Message;

/// A service's reading of the configuration.
pub trait Projection: Send + Sync + 'static {
    /// One resource, parsed.
    type Item: Send + Sync + 'static;
    /// What the service reads while it works.
    type View: Send + Sync + 'static;

    /// Whether resources of this kind are read; the others are neither parsed nor kept.
    fn wants(&self, kind: ResourceKind) -> bool;

    /// Parses a resource.
    ///
    /// # Errors
    /// Why this replica cannot use it, in English and without personal data: the reason of its NACK. The last version that
    /// could be parsed stays in use.
    fn parse(&self, resource: &Resource) -> Result<Self::Item, String>;

    /// Puts the items together, by uid; called once for each complete change.
    fn view(&self, items: &BTreeMap<String, Arc<Self::Item>>) -> Self::View;
}

/// Decodes the spec of a resource.
///
/// # Errors
/// The reason of a NACK when the bytes are no `T`.
pub fn decode<T: Message + Default>(resource: &Resource) -> Result<T, String> {
    T::decode(resource.spec.clone()).map_err(|error| format!("spec cannot be decoded: {error}"))
}

/// Reads a value of an enum.
///
/// # Errors
/// The reason of a NACK when this version of the service does not know the value, or it is unspecified.
pub fn known<T: TryFrom<i32>>(value: i32, field: &str) -> Result<T, String> {
    match T::try_from(value) {
        Ok(known) if value != 0 => Ok(known),
        Ok(_) => Err(format!("{field} is unspecified")),
        Err(_) => Err(format!("{field} has the unknown value {value}: the service is older than the configuration")),
    }
}
