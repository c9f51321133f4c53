//! What a municipality and its intermediary are called, and their manifests.

use fiorino_test_support::{fiscal_code, namespace};

/// Of the intermediary at the simulated Backoffice.
pub(super) const SUBSCRIPTION_KEY: &str = "0123456789abcdef0123456789abcdef";

/// Names and numbers that no other test uses.
#[derive(Debug, Clone)]
pub struct Names {
    /// Of the municipality's objects.
    pub namespace: String,
    /// Of the municipality.
    pub fiscal_code: String,
    /// Fiscal code of the intermediary.
    pub broker: String,
    /// The intermediary's station.
    pub station: String,
    /// Of the station. 1: paGetPayment, paSendRT; 2: paGetPaymentV2, paSendRTV2.
    pub primitive_version: u8,
    /// Of the municipality on that station.
    pub segregation_code: String,
    /// Of its treasurer.
    pub iban: String,
}

// === impl Names ===

impl Names {
    /// Of a municipality on a station of these primitives.
    pub fn new(primitive_version: u8) -> Self {
        let broker = fiscal_code();
        Self {
            namespace: namespace(),
            fiscal_code: fiscal_code(),
            station: format!("{broker}_01"),
            segregation_code: "12".to_owned(),
            broker,
            primitive_version,
            iban: "IT70C0998877665000000104233".to_owned(),
        }
    }

    /// Of another municipality on the same station.
    #[must_use]
    pub fn neighbour(&self, segregation_code: &str) -> Self {
        let (namespace, fiscal_code) = (namespace(), fiscal_code());
        Self { namespace, fiscal_code, segregation_code: segregation_code.to_owned(), ..self.clone() }
    }

    /// Where the portal shows the municipality.
    pub fn hostname(&self) -> String {
        format!("{}.localhost", self.namespace)
    }

    /// Broker, station and catalogue, as the intermediary writes them.
    pub fn platform_manifest(&self, platform: &str, simulator: &str) -> String {
        let Self { broker, station, primitive_version, .. } = self;
        format!(
            r#"
apiVersion: v1
kind: Secret
metadata: {{name: pagopa, namespace: {platform}}}
stringData: {{backoffice: {SUBSCRIPTION_KEY}}}
---
apiVersion: fiorino.dev/v1alpha1
kind: Broker
metadata: {{name: valdarda, namespace: {platform}}}
spec:
  fiscalCode: "{broker}"
  endpoints: {{backoffice: "{simulator}/backoffice/external/ec/v1"}}
  subscriptionKeys:
    - product: BackofficeExternal
      primary: {{name: pagopa, key: backoffice}}
---
apiVersion: fiorino.dev/v1alpha1
kind: Station
metadata: {{name: valdarda-01, namespace: {platform}}}
spec:
  id: "{station}"
  brokerRef: {{name: valdarda}}
  primitiveVersion: {primitive_version}
  allowedNamespaces: {{from: All}}
---
apiVersion: fiorino.dev/v1alpha1
kind: ServiceProfile
metadata: {{name: comune-standard-1, namespace: {platform}}}
spec:
  profile: comune-standard
  revision: 1
  services:
    - {{code: TARI, title: {{it: Tassa sui rifiuti}}, taxonomyCode: 9/0101101IM/, account: tesoreria}}
"#
        )
    }

    /// The municipality, as the onboarding officer writes it.
    pub fn town_manifest(&self, platform: &str, legal_name: &str) -> String {
        let hostname = self.hostname();
        let Self { namespace, fiscal_code, segregation_code, iban, .. } = self;
        format!(
            r#"
apiVersion: v1
kind: Namespace
metadata: {{name: {namespace}}}
---
apiVersion: fiorino.dev/v1alpha1
kind: CreditorInstitution
metadata: {{name: town, namespace: {namespace}}}
spec:
  fiscalCode: "{fiscal_code}"
  legalName: {legal_name}
  kind: Municipality
  adhesion: {{date: 2026-10-05}}
  lifecycle: {{phase: Testing}}
  associations:
    - stationRef: {{namespace: {platform}, name: valdarda-01}}
      segregationCode: "{segregation_code}"
  profiles:
    - {{name: comune-standard, revision: 1}}
  portal:
    hostnames: [{hostname}]
---
apiVersion: fiorino.dev/v1alpha1
kind: Iban
metadata: {{name: tesoreria, namespace: {namespace}}}
spec:
  holder: {legal_name}
  numbers:
    - {{validFrom: 2026-01-01, iban: {iban}}}
"#
        )
    }
}
