//! Who is paid: three municipalities of one station, the third of which has a share in what the first one is paid.
//!
//! They differ in everything that a payment tells, so that whatever takes one for another is found out.

use std::fmt::Write as _;

use fiorino_e2e::town::Names;

/// Of each payment of the first one's, what the third one gets.
const SHARE_BASIS_POINTS: u32 = 500;

/// One of them.
#[derive(Debug, Clone)]
pub struct Institution {
    /// Its names and numbers.
    pub names: Names,
    /// As the manifest has it.
    pub legal_name: &'static str,
    /// What each of its debts asks for, in cents.
    pub cents: i64,
    /// The same as the portal shows it.
    pub shown: &'static str,
}

/// The municipality of a town, and the two others.
pub fn of(names: &Names) -> [Institution; 3] {
    let other = |segregation_code, iban: &str| Names { iban: iban.to_owned(), ..names.neighbour(segregation_code) };
    [
        Institution {
            names: names.clone(),
            legal_name: "Comune di Roccafiorina",
            cents: 12_000,
            shown: "120,00\u{a0}€",
        },
        Institution {
            names: other("21", "IT60X0542811101000000123456"),
            legal_name: "Comune di Castelpetroso",
            cents: 7_531,
            shown: "75,31\u{a0}€",
        },
        Institution {
            names: other("22", "IT30N0103076271000001823603"),
            legal_name: "Comune di Valdarda",
            cents: 230_049,
            shown: "2.300,49\u{a0}€",
        },
    ]
}

/// The manifests of the two others, and what the first one's service is to share.
pub fn manifests([first, second, third]: &[Institution; 3], platform: &str) -> String {
    let manifest = |one: &Institution| one.names.town_manifest(platform, one.legal_name);
    // The account is what a manifest ends with.
    let mut manifests = format!("{}---{}  published: true\n", manifest(second), manifest(third));
    let (namespace, beneficiary) = (&first.names.namespace, &third.names.fiscal_code);
    // Writing to a String cannot fail.
    let _ = write!(
        manifests,
        r#"---
apiVersion: v1
kind: Namespace
metadata: {{name: {namespace}}}
---
apiVersion: fiorino.dev/v1alpha1
kind: PaymentService
metadata: {{name: tari, namespace: {namespace}}}
spec:
  code: TARI
  beneficiaries:
    - {{fiscalCode: "{beneficiary}", account: tesoreria, shareBasisPoints: {SHARE_BASIS_POINTS}}}
"#
    );
    manifests
}
