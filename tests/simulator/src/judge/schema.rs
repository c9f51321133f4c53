//! Structure of the answers: `paForNode.xsd`, as a table of sequences.

use crate::judge::{
    Operation, Violation,
    facets::Facet::{
        self, AmountNotZero, AnyText, Boolean, Country, Date, DateTime, Digits, Email, Hash, Int, OneOf, Text,
    },
    tree::Element,
};

/// One particle of an `xsd:sequence`.
#[derive(Debug, Clone, Copy)]
struct Particle {
    /// Alternatives of a choice; one for a plain element.
    names: &'static [(&'static str, Kind)],
    min: usize,
    max: usize,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Simple(Facet),
    Sequence(&'static [Particle]),
}

const fn simple(names: &'static [(&'static str, Kind)], min: usize, max: usize) -> Particle {
    Particle { names, min, max }
}

macro_rules! must {
    ($name:literal, $kind:expr) => {
        simple(&[($name, $kind)], 1, 1)
    };
}
macro_rules! may {
    ($name:literal, $kind:expr) => {
        simple(&[($name, $kind)], 0, 1)
    };
}

const T140: Kind = Kind::Simple(Text(1, 140));
const T70: Kind = Kind::Simple(Text(1, 70));
const T35: Kind = Kind::Simple(Text(1, 35));
const T16: Kind = Kind::Simple(Text(1, 16));
const ANY: Kind = Kind::Simple(AnyText);

const FAULT: Kind = Kind::Sequence(&[
    must!("faultCode", ANY),
    must!("faultString", ANY),
    must!("id", ANY),
    may!("description", ANY),
    may!("serial", Kind::Simple(Int)),
    may!("originalFaultCode", ANY),
    may!("originalFaultString", ANY),
    may!("originalDescription", ANY),
]);

const OUTCOME: Particle = must!("outcome", Kind::Simple(OneOf(&["OK", "KO"])));

const METADATA: Particle = may!(
    "metadata",
    Kind::Sequence(&[simple(&[("mapEntry", Kind::Sequence(&[must!("key", T140), must!("value", T140)]))], 1, 15)])
);

const VERIFY: &[Particle] = &[
    OUTCOME,
    may!("fault", FAULT),
    may!(
        "paymentList",
        Kind::Sequence(&[must!(
            "paymentOptionDescription",
            Kind::Sequence(&[
                must!("amount", Kind::Simple(AmountNotZero)),
                must!("options", Kind::Simple(OneOf(&["EQ", "LS", "GT", "ANY"]))),
                may!("dueDate", Kind::Simple(Date)),
                may!("detailDescription", T140),
                must!("allCCP", Kind::Simple(Boolean)),
            ])
        )])
    ),
    may!("paymentDescription", T140),
    may!("fiscalCodePA", Kind::Simple(Digits(11))),
    may!("companyName", T140),
    may!("officeName", T140),
];

const SUBJECT: Kind = Kind::Sequence(&[
    must!(
        "uniqueIdentifier",
        Kind::Sequence(&[
            must!("entityUniqueIdentifierType", Kind::Simple(OneOf(&["F", "G"]))),
            must!("entityUniqueIdentifierValue", Kind::Simple(Text(2, 16))),
        ])
    ),
    must!("fullName", T70),
    may!("streetName", T70),
    may!("civicNumber", T16),
    may!("postalCode", T16),
    may!("city", T35),
    may!("stateProvinceRegion", T35),
    may!("country", Kind::Simple(Country)),
    may!("e-mail", Kind::Simple(Email)),
]);

const ID_TRANSFER: Particle = must!("idTransfer", Kind::Simple(OneOf(&["1", "2", "3", "4", "5"])));
const TRANSFER_AMOUNT: Particle = must!("transferAmount", Kind::Simple(AmountNotZero));
const BENEFICIARY: Particle = must!("fiscalCodePA", Kind::Simple(Digits(11)));
const REMITTANCE: Particle = must!("remittanceInformation", T140);
const CATEGORY: Particle = must!("transferCategory", T140);

const TRANSFERS_V1: Kind = Kind::Sequence(&[simple(
    &[(
        "transfer",
        Kind::Sequence(&[
            ID_TRANSFER,
            TRANSFER_AMOUNT,
            BENEFICIARY,
            must!("IBAN", T35),
            REMITTANCE,
            CATEGORY,
            METADATA,
        ]),
    )],
    1,
    5,
)]);

const STAMP: Kind = Kind::Sequence(&[
    must!("hashDocumento", Kind::Simple(Hash)),
    must!("tipoBollo", Kind::Simple(OneOf(&["01"]))),
    must!("provinciaResidenza", Kind::Simple(Country)),
]);

const TRANSFERS_V2: Kind = Kind::Sequence(&[simple(
    &[(
        "transfer",
        Kind::Sequence(&[
            ID_TRANSFER,
            TRANSFER_AMOUNT,
            BENEFICIARY,
            may!("companyName", T140),
            simple(&[("IBAN", T35), ("richiestaMarcaDaBollo", STAMP)], 1, 1),
            REMITTANCE,
            CATEGORY,
            METADATA,
        ]),
    )],
    1,
    5,
)]);

const fn payment(company: Particle, transfers: &'static [(&'static str, Kind)]) -> [Particle; 11] {
    [
        must!("creditorReferenceId", T35),
        must!("paymentAmount", Kind::Simple(AmountNotZero)),
        must!("dueDate", Kind::Simple(Date)),
        may!("retentionDate", Kind::Simple(DateTime)),
        may!("lastPayment", Kind::Simple(Boolean)),
        must!("description", T140),
        company,
        may!("officeName", T140),
        must!("debtor", SUBJECT),
        simple(transfers, 1, 1),
        METADATA,
    ]
}

const PAYMENT_V1: &[Particle] = &payment(may!("companyName", T140), &[("transferList", TRANSFERS_V1)]);
const PAYMENT_V2: &[Particle] = &payment(must!("companyName", T140), &[("transferList", TRANSFERS_V2)]);

const GET_V1: &[Particle] = &[OUTCOME, may!("fault", FAULT), may!("data", Kind::Sequence(PAYMENT_V1))];
const GET_V2: &[Particle] = &[OUTCOME, may!("fault", FAULT), may!("data", Kind::Sequence(PAYMENT_V2))];
const SEND: &[Particle] = &[OUTCOME, may!("fault", FAULT)];

/// Checks an answer's element against the schema of its operation.
pub fn check(operation: Operation, answer: &Element, violations: &mut Vec<Violation>) {
    let sequence = match operation {
        Operation::Verify => VERIFY,
        Operation::GetPayment => GET_V1,
        Operation::GetPaymentV2 => GET_V2,
        Operation::SendRt | Operation::SendRtV2 => SEND,
    };
    check_sequence(sequence, answer, &answer.name, violations);
}

fn check_sequence(sequence: &[Particle], element: &Element, path: &str, violations: &mut Vec<Violation>) {
    check_attributes(element, path, violations);
    // White space of XML alone: another blank between elements is text.
    if !element.text.trim_matches([' ', '\t', '\n', '\r']).is_empty() {
        violations.push(Violation::new("xsd-content", path, "text between elements"));
    }
    let mut rest = element.children.as_slice();
    for particle in sequence {
        let mut found = 0;
        while let Some((child, tail)) = rest.split_first() {
            let Some((name, kind)) = particle.names.iter().find(|(name, _)| *name == child.name) else { break };
            rest = tail;
            found += 1;
            check_element(child, *kind, &format!("{path}/{name}"), violations);
        }
        let name = particle.names.first().map_or("", |n| n.0);
        if found < particle.min {
            violations.push(Violation::new("xsd-missing", format!("{path}/{name}"), "is required here"));
        }
        if found > particle.max {
            let message = format!("occurs {found} times, at most {}", particle.max);
            violations.push(Violation::new("xsd-too-many", format!("{path}/{name}"), message));
        }
    }
    if let Some(extra) = rest.first() {
        let message = "is not expected here: unknown, repeated or out of order";
        violations.push(Violation::new("xsd-unexpected", format!("{path}/{}", extra.name), message));
    }
}

fn check_element(element: &Element, kind: Kind, path: &str, violations: &mut Vec<Violation>) {
    if element.namespace.is_some() {
        violations.push(Violation::new("xsd-namespace", path, "children of the wrapper are in no namespace"));
    }
    match kind {
        Kind::Sequence(sequence) => check_sequence(sequence, element, path, violations),
        Kind::Simple(_) if !element.children.is_empty() => {
            violations.push(Violation::new("xsd-content", path, "must hold text only"));
        }
        Kind::Simple(facet) => {
            check_attributes(element, path, violations);
            if let Some(message) = facet.refuse(&element.text) {
                violations.push(Violation::new("xsd-facet", path, message));
            }
        }
    }
}

/// No type of paForNode has attributes.
fn check_attributes(element: &Element, path: &str, violations: &mut Vec<Violation>) {
    for name in &element.attributes {
        violations.push(Violation::new("xsd-attribute", path, format!("attribute {name:?} is not declared")));
    }
}
