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

/// What a reader of an account must know when it names another one for postal slips.
const POSTAL_ACCOUNT: &str = "postal-account";

pub(super) fn accounts(snapshot: &Snapshot, report: &mut Report, children: &mut Children) {
    for iban in &snapshot.ibans {
        let mut judged = Judged::new(Subject::of(iban));
        postal(iban, snapshot, &mut judged);
        match account(iban, &mut judged) {
            Some(spec) => {
                let owner = &snapshot.institution.spec.fiscal_code;
                let mut resource = Origin::of(iban).resource(ResourceKind::Account, &spec, owner);
                if !spec.postal_account.is_empty() {
                    resource.required_features.push(POSTAL_ACCOUNT.to_owned());
                }
                children.resources.push(resource);
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
    let spec = AccountSpec {
        name: iban.name_any(),
        holder: iban.spec.holder.clone(),
        numbers,
        published: iban.spec.published,
        postal_account: iban.spec.postal_account.clone().unwrap_or_default(),
    };
    judged.errors.is_empty().then_some(spec)
}

/// The account for postal slips must be another one, and a postal one. Which of its numbers counts is tenant's to say.
fn postal(iban: &Iban, snapshot: &Snapshot, judged: &mut Judged) {
    let Some(name) = &iban.spec.postal_account else { return };
    let is_postal = |iban: &Iban| {
        let standing = iban.spec.numbers.iter().filter(|number| !number.withdrawn);
        standing.filter_map(|number| Number::parse(&number.iban).ok()).any(|number| number.is_postal())
    };
    let (problem, remedy) = if *name == iban.name_any() {
        ("an account cannot be its own postal account".to_owned(), "name another Iban, or leave it out")
    } else if let Some(named) = snapshot.ibans.iter().find(|other| other.name_any() == *name) {
        if is_postal(named) {
            return;
        }
        (format!("Iban {name} has no postal number (IT.., ABI 07601)"), "name a postal account, or leave it out")
    } else if snapshot.unreadable.iter().any(|child| child.kind == "Iban" && child.name == *name) {
        return;
    } else {
        (format!("Iban {name} does not exist in this namespace"), "create it, name another, or leave it out")
    };
    let field = "spec.postalAccount".to_owned();
    judged.error(&Complaint { reason: Reason::InvalidReference, field, problem, remedy: remedy.to_owned() });
}

fn account_number(entry: &AccountNumber, number: &Number) -> proto::AccountNumber {
    proto::AccountNumber {
        valid_from: entry.valid_from.to_string(),
        iban: number.expose().to_owned(),
        postal: number.is_postal(),
        withdrawn: entry.withdrawn,
    }
}
