//! Is it what was answered? The transfers of a receipt beside those of the attempt to pay that came before it: pure (ARCHITECTURE.md 4.5).
//!
//! Compared is what moves money: which transfers there are, to whom, to which account, how much, what they add up to, and under which
//! reference. Names, remittance texts, categories and the order of the list are not. What the receipt does not tell is no difference: it is
//! among what breaks the schema.

use std::collections::BTreeSet;

use fiorino_domain::notice::NoticeNumber;
use fiorino_proto::receipts::v1::{Receipt, ReceiptTransfer};
use serde::Deserialize;
use serde_json::{Value, json};

/// Transfers that a case names at most: the schema has five.
const NAMED_MAX: usize = 5;

/// What an attempt to pay was answered.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Activated {
    pub(super) cents: i64,
    pub(super) transfers: Vec<Answered>,
}

/// An element of `activation.transfers`; not `Debug`, as its account number is nobody's business.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Answered {
    pub(super) id: u32,
    pub(super) cents: i64,
    pub(super) beneficiary: String,
    /// Empty: it asks for a digital stamp.
    #[serde(default)]
    pub(super) iban: String,
    /// The other number of the same account that was answered beside it, as a postal slip is paid to (pagopa.md 2.6).
    #[serde(default)]
    pub(super) alternative: Option<String>,
}

/// In what a receipt differs; the codes stand in cases and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Difference {
    /// More transfers, fewer, or of other ids.
    Transfers,
    Beneficiary,
    Account,
    Amount,
    /// The transfers do not add up to what was paid.
    Sum,
    /// `creditorReferenceId` is not that of the notice number.
    Reference,
}

/// A transfer that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Differing {
    id: u32,
    differs: BTreeSet<Difference>,
    expected_cents: Option<i64>,
    paid_cents: Option<i64>,
}

/// Everything in which a receipt differs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Differences {
    pub(super) kinds: BTreeSet<Difference>,
    transfers: Vec<Differing>,
}

/// Compares a receipt with itself and, if there was one, with the attempt before it.
pub(super) fn compare(told: &Receipt, activated: Option<&Activated>) -> Differences {
    let mut found = Differences::default();
    if adds_up(told) == Some(false) {
        found.kinds.insert(Difference::Sum);
    }
    if refers(told) == Some(false) {
        found.kinds.insert(Difference::Reference);
    }
    if let Some(activated) = activated.filter(|_| !told.transfers.is_empty()) {
        found.transfers = differing(&told.transfers, &activated.transfers);
        // Another total is a finding of its own: that the transfers follow it is no second one.
        if told.amount_cents.is_some_and(|cents| cents != activated.cents) {
            for transfer in &mut found.transfers {
                transfer.differs.remove(&Difference::Amount);
            }
            found.transfers.retain(|transfer| !transfer.differs.is_empty());
        }
        found.kinds.extend(found.transfers.iter().flat_map(|transfer| &transfer.differs));
    }
    found
}

/// Whether the transfers are the whole payment; `None`: an amount is not told.
fn adds_up(told: &Receipt) -> Option<bool> {
    if told.transfers.is_empty() {
        return None;
    }
    let total = told.amount_cents?;
    let mut sum = 0_i64;
    for transfer in &told.transfers {
        sum = sum.saturating_add(transfer.amount_cents?);
    }
    Some(sum == total)
}

/// Whether the reference is that of the notice; `None`: one of them is not told, or is none.
fn refers(told: &Receipt) -> Option<bool> {
    let number = NoticeNumber::parse(&told.notice_number).ok()?;
    (!told.iuv.is_empty()).then(|| number.iuv().to_string() == told.iuv)
}

/// By id; where the id of a transfer cannot be read, by everything else.
fn differing(told: &[ReceiptTransfer], answered: &[Answered]) -> Vec<Differing> {
    let mut rest: Vec<_> = told.iter().collect();
    let mut missing = Vec::new();
    let mut found = Vec::new();
    for wanted in answered {
        match rest.iter().position(|transfer| transfer.id == wanted.id) {
            Some(at) => {
                let transfer = rest.remove(at);
                let differs = wanted.differs(transfer);
                if !differs.is_empty() {
                    found.push(Differing {
                        id: wanted.id,
                        differs,
                        expected_cents: Some(wanted.cents),
                        paid_cents: transfer.amount_cents,
                    });
                }
            }
            None => missing.push(wanted),
        }
    }
    let other = |id, expected_cents, paid_cents| Differing {
        id,
        differs: BTreeSet::from([Difference::Transfers]),
        expected_cents,
        paid_cents,
    };
    for wanted in missing {
        match rest.iter().position(|transfer| transfer.id == 0 && wanted.differs(transfer).is_empty()) {
            Some(at) => drop(rest.remove(at)),
            None => found.push(other(wanted.id, Some(wanted.cents), None)),
        }
    }
    found.extend(rest.into_iter().map(|transfer| other(transfer.id, None, transfer.amount_cents)));
    found
}

/// As banks write it: without spaces, in capitals.
fn same_account(one: &str, other: &str) -> bool {
    let written = |text: &str| {
        text.chars().filter(|char| !char.is_whitespace()).map(|char| char.to_ascii_uppercase()).collect::<String>()
    };
    written(one) == written(other)
}

// === impl Answered ===

impl Answered {
    fn differs(&self, told: &ReceiptTransfer) -> BTreeSet<Difference> {
        let beneficiary = !told.beneficiary.is_empty() && told.beneficiary != self.beneficiary;
        let amount = told.amount_cents.is_some_and(|cents| cents != self.cents);
        let found = [
            (beneficiary, Difference::Beneficiary),
            (self.is_other_account(told), Difference::Account),
            (amount, Difference::Amount),
        ];
        found.into_iter().filter_map(|(differs, difference)| differs.then_some(difference)).collect()
    }

    fn is_other_account(&self, told: &ReceiptTransfer) -> bool {
        if told.stamp || self.iban.is_empty() {
            return told.stamp != self.iban.is_empty() && (told.stamp || !told.iban.is_empty());
        }
        let answered = [Some(&self.iban), self.alternative.as_ref()];
        !told.iban.is_empty() && !answered.into_iter().flatten().any(|iban| same_account(iban, &told.iban))
    }
}

// === impl Difference ===

impl Difference {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Transfers => "transfers",
            Self::Beneficiary => "beneficiary",
            Self::Account => "account",
            Self::Amount => "amount",
            Self::Sum => "sum",
            Self::Reference => "reference",
        }
    }
}

// === impl Differences ===

impl Differences {
    pub(super) fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// For the case: no account number, no beneficiary.
    pub(super) fn detail(&self) -> Value {
        let names = |differs: &BTreeSet<Difference>| differs.iter().map(|it| it.as_str()).collect::<Vec<_>>();
        let transfer = |it: &Differing| {
            json!({
                "id": it.id, "differs": names(&it.differs), "expected_cents": it.expected_cents, "paid_cents": it.paid_cents,
            })
        };
        let transfers: Vec<_> = self.transfers.iter().take(NAMED_MAX).map(transfer).collect();
        json!({ "differs": names(&self.kinds), "transfers": transfers })
    }
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
