//! Collection accounts: IBANs with their check digits.

use fiorino_crds::{Iban, Reason, iban::AccountNumber};
use fiorino_domain::iban::Iban as Number;
use fiorino_proto::config::v1::{self as proto, AccountSpec, ResourceKind};
use kube::ResourceExt as _;

use super::{
    Children,
    findings::{Complaint, Judged, Report},
};
use crate::institution::{bundle::Origin, dereference::Snapshot, subject::Subject};

pub(super) fn accounts(snapshot: &Snapshot, report: &mut Report, children: &mut Children) {
    for iban in &snapshot.ibans {
        let mut judged = Judged::new(Subject::of(iban));
        match account(iban, &mut judged) {
            Some(spec) => {
                let owner = &snapshot.institution.spec.fiscal_code;
                children.resources.push(Origin::of(iban).resource(ResourceKind::Account, &spec, owner));
            }
            None => children.keep.push(judged.subject.uid.clone()),
        }
        report.add(judged);
    }
}

pub(super) fn account(iban: &Iban, judged: &mut Judged) -> Option<AccountSpec> {
    let mut numbers = Vec::new();
    for (index, entry) in iban.spec.numbers.iter().enumerate() {
        match Number::parse(&entry.iban) {
            Ok(number) => numbers.push(account_number(entry, &number)),
            // It can be neither removed nor corrected: withdrawn it is as good as gone.
            Err(_) if entry.withdrawn => {}
            Err(error) => judged.error(&Complaint {
                reason: Reason::InvalidField,
                field: format!("spec.numbers[{index}].iban"),
                problem: error.to_string(),
                remedy: format!(
                    "withdraw the entry of {} (withdrawn: true) and add the right number with another validFrom",
                    entry.valid_from
                ),
            }),
        }
    }
    if numbers.is_empty() && judged.errors.is_empty() {
        judged.error(&Complaint {
            reason: Reason::InvalidField,
            field: "spec.numbers".to_owned(),
            problem: "every number is withdrawn and wrong".to_owned(),
            remedy: "add the right number with another validFrom".to_owned(),
        });
    }
    numbers.sort_by(|left, right| left.valid_from.cmp(&right.valid_from));
    let spec = AccountSpec { name: iban.name_any(), holder: iban.spec.holder.clone(), numbers };
    judged.errors.is_empty().then_some(spec)
}

fn account_number(entry: &AccountNumber, number: &Number) -> proto::AccountNumber {
    proto::AccountNumber {
        valid_from: entry.valid_from.to_string(),
        iban: number.expose().to_owned(),
        postal: number.is_postal(),
        withdrawn: entry.withdrawn,
    }
}
