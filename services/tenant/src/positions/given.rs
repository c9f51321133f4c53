//! Transfers whose amounts are given with a debt (pagopa.md 2.6, 2.9): read once, every broken rule by field, rule and remedy.

use std::collections::{BTreeSet, HashSet};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use fiorino_domain::{
    institution::InstitutionCode, money::Cents, split::MAX_TRANSFERS, taxonomy::TaxonomyCode, text::Text,
};
use fiorino_proto::positions::v1 as proto;

use super::{
    accounts::{Accounts, Name},
    draft,
    stored::{StoredBeneficiary, StoredEntry, StoredStamp, StoredTransfer},
};
use crate::Violation;

/// Entries of metadata in one list that the node takes (pagopa.md 10, row 7).
pub(super) const METADATA_MAX: usize = 10;

/// Entries of a transfer: a payment may add [`ALTERNATIVE_ACCOUNT`].
const TRANSFER_METADATA_MAX: usize = METADATA_MAX - 1;

/// Key of a transfer's metadata with its postal account, which an activation adds (pagopa.md 2.6).
pub(crate) const ALTERNATIVE_ACCOUNT: &str = "IBANAPPOGGIO";

/// What a digital stamp of kind `01` costs, cents (pagopa.md 2.6).
const STAMP_CENTS: i64 = 1_600;

/// A transfer as it was given.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    /// In the request.
    place: usize,
    id: u8,
    cents: Cents,
    taxonomy: Option<TaxonomyCode>,
    /// `None` = the description of the instalment.
    remittance: Option<Text<140>>,
    metadata: Vec<StoredEntry>,
    to: To,
}

/// Where it goes.
#[derive(Debug, Clone)]
enum To {
    /// To an account of the institution itself; `None` = that of the service.
    Own(Option<String>),
    /// To an account of this institution.
    Account(Name),
    /// Into a stamp.
    Stamp(StoredStamp),
}

/// What transfers are given for.
#[derive(Clone, Copy)]
pub(super) struct Issuer<'a> {
    pub(super) code: InstitutionCode,
    pub(super) legal_name: &'a str,
    /// Name of the account that collects unless another one is named.
    pub(super) account: &'a str,
    /// Of a transfer to the institution itself that names none.
    pub(super) taxonomy: TaxonomyCode,
}

/// Collects violations of the fields of one transfer.
struct Reader<'a> {
    at: String,
    violations: &'a mut Vec<Violation>,
}

/// Reads the transfers that stand in the field `at`, of an instalment of so many cents; no amount = it cannot be read. None are given = none.
///
/// # Errors
/// Every rule that they break.
pub(super) fn read(at: &str, amount: Option<Cents>, new: &[proto::NewTransfer]) -> Result<Vec<Given>, Vec<Violation>> {
    if new.is_empty() {
        return Ok(Vec::new());
    }
    let mut violations = Vec::new();
    if new.len() > MAX_TRANSFERS {
        let message = format!("has {} entries; send 1 to {MAX_TRANSFERS}, or none", new.len());
        return Err(vec![Violation::new(at, message)]);
    }
    let ids = ids(at, new, &mut violations);
    let mut given: Vec<_> = (new.iter().enumerate().zip(ids))
        .filter_map(|((place, new), id)| {
            Reader { at: format!("{at}[{place}]"), violations: &mut violations }.transfer(new, place, id)
        })
        .collect();
    if violations.is_empty()
        && let Some(amount) = amount
    {
        let sum = given.iter().map(|given| given.cents.get()).fold(0i64, i64::saturating_add);
        if sum != amount.get() {
            let message = format!(
                "add up to {sum} cents, the amount of the instalment is {amount} cents; correct one of them",
                amount = amount.get()
            );
            violations.push(Violation::new(at, message));
        }
    }
    if !violations.is_empty() {
        return Err(violations);
    }
    given.sort_unstable_by_key(|given| given.id);
    Ok(given)
}

/// Reads metadata that stand in the field `at`.
///
/// # Errors
/// Every rule that they break.
pub(super) fn metadata(at: &str, entries: &[proto::MapEntry]) -> Result<Vec<StoredEntry>, Vec<Violation>> {
    let mut violations = Vec::new();
    let read = Reader { at: at.to_owned(), violations: &mut violations }.entries(entries, METADATA_MAX);
    read.filter(|_| violations.is_empty()).ok_or(violations)
}

/// Whether the metadata of a position and of one of its instalments can go together.
///
/// # Errors
/// The rule and the remedy.
pub(super) fn together(position: &[StoredEntry], own: &[StoredEntry]) -> Result<(), String> {
    let count = position.len() + own.len();
    if count > METADATA_MAX {
        return Err(format!("has {count} entries with those of the position; send {METADATA_MAX} at most together"));
    }
    let double = own.iter().any(|entry| position.iter().any(|other| other.key == entry.key));
    if double { Err("has a key that the position has too; send each key once".to_owned()) } else { Ok(()) }
}

/// The first field of what is given that holds the debtor's fiscal code: it travels to the PSP and onto its receipts (pagopa.md 2.9).
pub(super) fn naming(debtor_code: &str, at: &str, new: &[proto::NewTransfer]) -> Option<String> {
    (new.iter().enumerate()).find_map(|(place, new)| {
        if draft::names_the_debtor(debtor_code, &new.remittance) {
            return Some(format!("{at}[{place}].remittance"));
        }
        naming_in(debtor_code, &format!("{at}[{place}].metadata"), &new.metadata)
    })
}

/// The same of metadata.
pub(super) fn naming_in(debtor_code: &str, at: &str, entries: &[proto::MapEntry]) -> Option<String> {
    let names = |entry: &proto::MapEntry| draft::names_the_debtor(debtor_code, &entry.value);
    entries.iter().position(names).map(|place| format!("{at}[{place}].value"))
}

/// The transfers as they are stored, once every account that they name is known.
///
/// # Errors
/// Accounts that cannot be paid to, of the transfers in the field `at`: each with rule and remedy.
pub(super) fn placed(
    at: &str,
    given: &[Given],
    issuer: Issuer<'_>,
    accounts: &Accounts,
) -> Result<Vec<StoredTransfer>, Vec<Violation>> {
    let mut violations = Vec::new();
    let mut placed = Vec::with_capacity(given.len());
    for given in given {
        match given.placed(issuer, accounts) {
            Ok(transfer) => placed.push(transfer),
            Err((field, message)) => {
                violations.push(Violation::new(format!("{at}[{}].{field}", given.place), message));
            }
        }
    }
    if violations.is_empty() { Ok(placed) } else { Err(violations) }
}

/// The number of each transfer: its place, or all are told.
fn ids(at: &str, new: &[proto::NewTransfer], violations: &mut Vec<Violation>) -> Vec<u8> {
    let places = 1..=u8::try_from(new.len()).unwrap_or(u8::MAX);
    if new.iter().all(|new| new.id == 0) {
        return places.collect();
    }
    let told: BTreeSet<u32> = new.iter().map(|new| new.id).collect();
    if told.iter().copied().eq(places.map(u32::from)) && told.len() == new.len() {
        return new.iter().map(|new| u8::try_from(new.id).unwrap_or_default()).collect();
    }
    let message = format!("the ids must be 1 to {}, each once; correct them, or leave all out", new.len());
    violations.push(Violation::new(at, message));
    new.iter().map(|_| 0).collect()
}

// === impl Given ===

impl Given {
    /// What must be known before it can be placed.
    pub(super) fn needs(&self, issuer: InstitutionCode) -> Option<Name> {
        match &self.to {
            To::Own(account) => account.clone().map(|account| (issuer, account)),
            To::Account(name) => Some(name.clone()),
            To::Stamp(_) => Some((issuer, String::new())),
        }
    }

    fn placed(&self, issuer: Issuer<'_>, accounts: &Accounts) -> Result<StoredTransfer, (&'static str, String)> {
        let to = match &self.to {
            To::Own(None) => None,
            To::Own(Some(account)) if account == issuer.account => None,
            To::Own(Some(account)) => Some(beneficiary(&(issuer.code, account.clone()), issuer, accounts)?),
            To::Account(name) if name.0 == issuer.code && name.1 == issuer.account => None,
            To::Account(name) => Some(beneficiary(name, issuer, accounts)?),
            To::Stamp(_) => Some(stamping(issuer, accounts)?),
        };
        let stamp = match &self.to {
            To::Stamp(stamp) => Some(stamp.clone()),
            To::Own(_) | To::Account(_) => None,
        };
        Ok(StoredTransfer {
            id: self.id,
            cents: self.cents,
            taxonomy: self.taxonomy.unwrap_or(issuer.taxonomy),
            to,
            remittance: self.remittance.as_ref().map(ToString::to_string),
            metadata: self.metadata.clone(),
            stamp,
        })
    }
}

/// Who receives on an account, if it can be paid to.
fn beneficiary(
    name: &Name,
    issuer: Issuer<'_>,
    accounts: &Accounts,
) -> Result<StoredBeneficiary, (&'static str, String)> {
    let (code, account) = name;
    let Some(known) = accounts.get(name) else {
        let message = format!(
            "no institution here has the fiscal code {code}; correct it, or have a CreditorInstitution applied with it \
             (role BeneficiaryOnly)"
        );
        return Err(("beneficiary", message));
    };
    let Some(found) = &known.account else {
        let message =
            format!("institution {code} has no account {account}; name another, or have an Iban of that name applied");
        return Err(("account", message));
    };
    if *code != issuer.code && !found.published {
        let message =
            format!("institution {code} has not published its account {account}; ask it to set spec.published: true");
        return Err(("account", message));
    }
    if !found.numbered {
        let message = format!(
            "account {account} of institution {code} has no number that can be paid to today; name another, or have one added"
        );
        return Err(("account", message));
    }
    Ok(StoredBeneficiary { code: *code, name: known.legal_name.clone(), account: account.clone() })
}

/// A stamp is the issuer's transfer, and asks for a station that can sell it. The account that it names is nobody's: a reader that
/// does not know stamps finds no number, rather than the issuer's.
fn stamping(issuer: Issuer<'_>, accounts: &Accounts) -> Result<StoredBeneficiary, (&'static str, String)> {
    let able = accounts.get(&(issuer.code, String::new())).is_some_and(|known| known.second_version);
    if !able {
        let message = format!(
            "a stamp is bought with paGetPaymentV2, and no station of institution {} speaks version 2; set primitiveVersion 2 on \
             one, or leave the stamp out",
            issuer.code
        );
        return Err(("stamp", message));
    }
    Ok(StoredBeneficiary { code: issuer.code, name: issuer.legal_name.to_owned(), account: String::new() })
}

// === impl Reader ===

impl Reader<'_> {
    fn transfer(&mut self, new: &proto::NewTransfer, place: usize, id: u8) -> Option<Given> {
        let cents = self.keep("amount_cents", draft::amount(new.amount_cents));
        let to = self.to(new);
        let taxonomy = self.keep("taxonomy_code", taxonomy(new));
        let remittance = match new.remittance.as_str() {
            "" => Some(None),
            told => self.keep("remittance", text(told)).map(Some),
        };
        let mut at_metadata = Reader { at: format!("{}.metadata", self.at), violations: self.violations };
        let metadata = at_metadata.entries(&new.metadata, TRANSFER_METADATA_MAX);
        let (cents, taxonomy, remittance) = (cents?, taxonomy?, remittance?);
        Some(Given { place, id, cents, taxonomy, remittance, metadata: metadata?, to: to? })
    }

    fn to(&mut self, new: &proto::NewTransfer) -> Option<To> {
        if let Some(stamp) = &new.stamp {
            return self.stamp(new, stamp).map(To::Stamp);
        }
        let account = Some(new.account.clone()).filter(|account| !account.is_empty());
        if account.as_ref().is_some_and(|account| !is_name(account)) {
            self.tell("account", "is no name of an account: 1 to 63 of a-z, 0-9 and -; send metadata.name of the Iban");
            return None;
        }
        if new.beneficiary.is_empty() {
            return Some(To::Own(account));
        }
        let code = InstitutionCode::parse(&new.beneficiary)
            .map_err(|error| format!("{error}; correct it, or leave it empty for the institution itself"));
        let code = self.keep("beneficiary", code)?;
        if account.is_none() {
            self.tell("account", "must be set with a beneficiary; send metadata.name of its Iban");
        }
        account.map(|account| To::Account((code, account)))
    }

    fn stamp(&mut self, new: &proto::NewTransfer, stamp: &proto::Stamp) -> Option<StoredStamp> {
        let mut right = true;
        let mut rule = |reader: &mut Self, holds: bool, field: &str, message: &str| {
            if !holds {
                reader.tell(field, message);
                right = false;
            }
        };
        let digest = BASE64_STANDARD.decode(&stamp.document_digest).is_ok_and(|bytes| bytes.len() == 32);
        rule(self, digest, "stamp.document_digest", "is no SHA-256 in base64: 32 bytes, 44 characters; correct it");
        let letters = stamp.province.len() == 2 && stamp.province.bytes().all(|byte| byte.is_ascii_uppercase());
        rule(self, letters, "stamp.province", "must be two capital letters, such as RM; correct it");
        let price = new.amount_cents == STAMP_CENTS;
        rule(self, price, "amount_cents", "a stamp costs 1600 cents; send that, or leave the stamp out");
        rule(self, new.beneficiary.is_empty(), "beneficiary", "a stamp is the institution's own; leave it empty");
        rule(self, new.account.is_empty(), "account", "a stamp goes to no account; leave it empty");
        right.then(|| StoredStamp { digest: stamp.document_digest.clone(), province: stamp.province.clone() })
    }

    fn entries(&mut self, entries: &[proto::MapEntry], max: usize) -> Option<Vec<StoredEntry>> {
        if entries.len() > max {
            self.tell("", format!("has {} entries, at most {max} are allowed; leave some out", entries.len()));
            return None;
        }
        let mut keys = HashSet::new();
        let mut read = Vec::with_capacity(entries.len());
        for (place, entry) in entries.iter().enumerate() {
            let key = self.keep(&format!("[{place}].key"), text(&entry.key));
            let value = self.keep(&format!("[{place}].value"), text(&entry.value));
            if entry.key.eq_ignore_ascii_case(ALTERNATIVE_ACCOUNT) {
                let message = "is set when somebody pays, from the postal account beside the account; leave it out";
                self.tell(&format!("[{place}].key"), message);
            }
            if !keys.insert(entry.key.as_str()) {
                self.tell(&format!("[{place}].key"), "is there twice; send each key once");
            }
            read.extend(
                key.zip(value).map(|(key, value)| StoredEntry { key: key.to_string(), value: value.to_string() }),
            );
        }
        Some(read)
    }

    fn keep<T>(&mut self, field: &str, read: Result<T, String>) -> Option<T> {
        read.map_err(|message| self.tell(field, message)).ok()
    }

    fn tell(&mut self, field: &str, message: impl Into<String>) {
        let dot = if field.is_empty() || field.starts_with('[') { "" } else { "." };
        self.violations.push(Violation::new(format!("{}{dot}{field}", self.at), message));
    }
}

/// What a transfer is for; none = as the service says, which speaks for the institution itself alone.
fn taxonomy(new: &proto::NewTransfer) -> Result<Option<TaxonomyCode>, String> {
    match new.taxonomy_code.as_str() {
        "" if new.beneficiary.is_empty() => Ok(None),
        "" => Err("must be set with a beneficiary; send the code of what it receives the money for".to_owned()),
        told => TaxonomyCode::parse(told).map(Some).map_err(|error| format!("{error}; correct it")),
    }
}

/// A text of at most 140 characters.
fn text(told: &str) -> Result<Text<140>, String> {
    Text::parse(told).map_err(|error| format!("{error}; send 1 to 140 characters"))
}

/// As Kubernetes names objects: a DNS label.
fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(inner)
}

#[cfg(test)]
#[path = "given_tests.rs"]
mod tests;
