//! How objects name each other. References to institutions and Secrets are local to the namespace.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// An object of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalReference {
    /// `metadata.name` of the object, in the same namespace. Example: `regione`.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
}

/// A station, in the platform's namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StationReference {
    /// Namespace of the Station: the platform's. The institution belongs to that platform. Example: `fiorino`.
    #[schemars(schema_with = "schema::label")]
    pub namespace: String,
    /// `metadata.name` of the Station; it must allow this namespace (`allowedNamespaces`). Example: `regione-01`.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
}

/// A platform, named by its namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlatformReference {
    /// Namespace of the platform. Example: `fiorino`.
    #[schemars(schema_with = "schema::label")]
    pub namespace: String,
}

/// One value of a Secret of the same namespace; the operator reads it by name and never lists Secrets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyReference {
    /// `metadata.name` of the Secret, in the same namespace. Example: `pagopa-keys`.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
    /// Key inside the Secret's data. Example: `backoffice-primary`.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// A revision of a profile of the platform's catalogue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProfileReference {
    /// `spec.profile` of a ServiceProfile in the platform's namespace. Example: `comune-standard`.
    #[schemars(schema_with = "schema::label")]
    pub name: String,
    /// The pinned revision: services change only when this number does. Unit: revision number. Example: `7`.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub revision: u32,
}
