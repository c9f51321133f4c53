//! The custom resources of `fiorino.dev/v1alpha1`: types, validation rules and their YAML.
//!
//! ```text
//! platform namespace                    institution's namespace
//! [ServiceProfile] <--- profiles[] ---- [CreditorInstitution] --- associations[] ---> [Station] ---> [Broker]
//!                                        [Iban] <--- account --- [PaymentService]
//! ```
//!
//! Everything here is pure: no Kubernetes client, no IO except [`generate`], which writes the chart's templates.
//! What a manifest can break alone is told by the API server (schema and CEL, declared beside the field);
//! what needs other objects or arithmetic (IBAN mod 97, check digits) is the operator's.

#![expect(clippy::doc_markdown, reason = "the comments are the text of `kubectl explain`, where backticks are noise")]
#![expect(
    unreachable_pub,
    clippy::duplicated_attributes,
    reason = "kube's derives copy each type into a function and repeat the keys of print columns"
)]

pub mod broker;
pub mod condition;
mod crd;
pub mod expand;
pub mod iban;
pub mod institution;
mod lenient;
pub mod profile;
pub mod reference;
mod schema;
pub mod service;
pub mod station;
pub mod status;
pub mod waiting;
mod warnings;

pub use self::{
    broker::{Broker, BrokerSpec},
    condition::{Condition, ConditionStatus, ConditionType, Reason},
    crd::{Error, WARNINGS, all, file_name, generate, warnings_yaml, yaml},
    iban::{Iban, IbanSpec},
    institution::{CreditorInstitution, InstitutionSpec},
    profile::{ServiceProfile, ServiceProfileSpec},
    service::{PaymentService, PaymentServiceSpec},
    station::{Station, StationSpec},
    status::{InstitutionStatus, ObjectStatus},
};

/// API group of every kind.
pub const GROUP: &str = "fiorino.dev";
/// The one served version.
pub const VERSION: &str = "v1alpha1";
/// Category under which `kubectl get payments` lists every kind.
pub const CATEGORY: &str = "payments";

/// On a `CreditorInstitution`: holds the deletion until tenant serves the institution as unmanaged.
pub const FINALIZER: &str = "fiorino.dev/institution";
/// Annotation (`"true"`): a lower generation of the same uid is accepted once (a restored cluster).
pub const ADOPT: &str = "fiorino.dev/adopt";
/// Annotation (`"true"`): the finalizer lets go although tenant was not told.
pub const RELEASE: &str = "fiorino.dev/release";
/// Annotation (`"true"`): changes wait; deletion still works.
pub const PAUSED: &str = "fiorino.dev/paused";
