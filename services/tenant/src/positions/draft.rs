//! A position as a client asks for it: read once, every broken rule told by field, rule and remedy.

use fiorino_domain::{
    date::LegalDate,
    debtor::{Debtor, PersonKind, Told},
    fiscal_code::FiscalCode,
    money::Cents,
    notice::NoticeNumber,
    position::MAX_CHILDREN,
    text::Text,
};
use fiorino_proto::positions::v1 as proto;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use super::{
    given::{self, Given},
    stored::StoredEntry,
};
use crate::{Error, Result, Violation};

/// Instalments of one position over all its options: what a read or a list can answer in one message.
pub(crate) const INSTALMENTS_MAX: usize = 1_000;

/// Violations told at once.
const VIOLATIONS_MAX: usize = 50;

/// What is asked for, readable; whether it is allowed is for [`super::plan`].
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) client_reference: Text<70>,
    pub(crate) service_code: Text<70>,
    pub(crate) description: Text<140>,
    pub(crate) debtor: Debtor,
    pub(crate) options: Vec<DraftOption>,
    pub(crate) published: bool,
    /// Of each of its notices.
    pub(crate) metadata: Vec<StoredEntry>,
    /// Of the request in its canonical form: tells a repetition from another request under the same reference.
    pub(crate) hash: [u8; 32],
}

/// A way to pay the position.
#[derive(Debug)]
pub(crate) struct DraftOption {
    pub(crate) description: String,
    pub(crate) instalments: Vec<DraftInstalment>,
}

/// What gets one notice number.
#[derive(Debug)]
pub(crate) struct DraftInstalment {
    pub(crate) amount: Cents,
    pub(crate) due: Option<LegalDate>,
    pub(crate) description: Text<140>,
    /// From another system; `None` = to be issued.
    pub(crate) number: Option<NoticeNumber>,
    /// Its parts, together the amount; none = by the shares of the service.
    pub(crate) transfers: Vec<Given>,
    /// Beside that of the position.
    pub(crate) metadata: Vec<StoredEntry>,
}

/// Collects violations.
struct Reader {
    violations: Vec<Violation>,
}

// === impl Draft ===

impl Draft {
    /// Reads `new`, which stands at `path` of the request.
    ///
    /// # Errors
    /// [`Error::Invalid`] with every broken rule, at most 50.
    pub(crate) fn read(path: &str, new: &proto::NewPosition) -> Result<Self> {
        let mut reader = Reader { violations: Vec::new() };
        let draft = reader.position(path, new);
        match draft {
            Some(draft) if reader.violations.is_empty() => Ok(draft),
            _ => Err(Error::Invalid(reader.violations)),
        }
    }
}

// === impl Reader ===

impl Reader {
    fn position(&mut self, path: &str, new: &proto::NewPosition) -> Option<Draft> {
        let client_reference = self.text(&new.client_reference, || format!("{path}.client_reference"));
        let service_code = self.text(&new.service_code, || format!("{path}.service_code"));
        let description = self.text(&new.description, || format!("{path}.description"));
        let debtor = self.debtor(path, new.debtor.as_ref());
        self.count(new.options.len(), || format!("{path}.options"));
        let instalments: usize = new.options.iter().map(|option| option.instalments.len()).sum();
        if instalments > INSTALMENTS_MAX {
            self.tell(
                || format!("{path}.options"),
                || format!("has {instalments} instalments, at most {INSTALMENTS_MAX} are allowed; split the position"),
            );
            return None;
        }
        let options = (new.options.iter().enumerate())
            .map(|(place, option)| self.option(&format!("{path}.options[{place}]"), option))
            .collect::<Vec<_>>();
        let metadata = self.given(given::metadata(&format!("{path}.metadata"), &new.metadata));
        if let Some(metadata) = &metadata {
            self.metadata_together(path, metadata, &options);
        }
        if let Some(debtor) = &debtor {
            self.no_fiscal_code(debtor, path, new);
        }
        Some(Draft {
            client_reference: client_reference?,
            service_code: service_code?,
            description: description?,
            debtor: debtor?,
            options: options.into_iter().collect::<Option<_>>()?,
            published: !new.draft,
            metadata: metadata?,
            // Protobuf without maps and unknown fields has one encoding per value, and default values leave no trace: fields
            // that are added later do not change the hash of those who do not use them.
            hash: Sha256::digest(new.encode_to_vec()).into(),
        })
    }

    fn option(&mut self, path: &str, new: &proto::NewOption) -> Option<DraftOption> {
        if !new.description.is_empty() {
            self.text::<140>(&new.description, || format!("{path}.description"))?;
        }
        self.count(new.instalments.len(), || format!("{path}.instalments"));
        let instalments = (new.instalments.iter().enumerate())
            .map(|(place, instalment)| {
                self.instalment(|field| format!("{path}.instalments[{place}].{field}"), instalment)
            })
            .collect::<Vec<_>>();
        let instalments = instalments.into_iter().collect::<Option<_>>()?;
        Some(DraftOption { description: new.description.clone(), instalments })
    }

    fn instalment(&mut self, at: impl Fn(&str) -> String, new: &proto::NewInstalment) -> Option<DraftInstalment> {
        let amount = self.keep(amount(new.amount_cents), || at("amount_cents"));
        let due = self.keep(due_date(&new.due_date), || at("due_date"));
        let description = self.text(&new.description, || at("description"));
        let number = match new.notice_number.as_str() {
            "" => Some(None),
            told => self.keep(foreign_number(told), || at("notice_number")).map(Some),
        };
        let transfers = self.given(given::read(&at("transfers"), amount, &new.transfers));
        let metadata = self.given(given::metadata(&at("metadata"), &new.metadata));
        let (amount, due, description, number) = (amount?, due?, description?, number?);
        Some(DraftInstalment { amount, due, description, number, transfers: transfers?, metadata: metadata? })
    }

    /// What of an instalment is its own is sent beside what is the position's.
    fn metadata_together(&mut self, path: &str, position: &[StoredEntry], options: &[Option<DraftOption>]) {
        for (option_no, option) in options.iter().enumerate() {
            for (place, instalment) in option.iter().flat_map(|option| &option.instalments).enumerate() {
                let field = || format!("{path}.options[{option_no}].instalments[{place}].metadata");
                self.keep(given::together(position, &instalment.metadata), field);
            }
        }
    }

    fn given<T>(&mut self, read: Result<T, Vec<Violation>>) -> Option<T> {
        read.map_err(|violations| violations.into_iter().for_each(|one| self.tell(|| one.field, || one.message))).ok()
    }

    fn debtor(&mut self, path: &str, told: Option<&proto::Debtor>) -> Option<Debtor> {
        let Some(told) = told else {
            self.tell(|| format!("{path}.debtor"), || "must be set; say who owes".to_owned());
            return None;
        };
        let kind = match told.kind() {
            proto::PersonKind::Natural => PersonKind::Natural,
            proto::PersonKind::Legal => PersonKind::Legal,
            proto::PersonKind::Unspecified => {
                let remedy = "must be PERSON_KIND_NATURAL or PERSON_KIND_LEGAL; say whether a person or a body owes";
                self.tell(|| format!("{path}.debtor.kind"), || remedy.to_owned());
                return None;
            }
        };
        let debtor = Debtor::new(&Told {
            kind,
            fiscal_code: &told.fiscal_code,
            full_name: &told.full_name,
            street_name: &told.street_name,
            civic_number: &told.civic_number,
            postal_code: &told.postal_code,
            city: &told.city,
            province: &told.province,
            country: &told.country,
            email: &told.email,
        });
        debtor
            .map_err(|error| {
                self.tell(|| format!("{path}.debtor.{}", error.field), || format!("{}; correct it", error.rule));
            })
            .ok()
    }

    /// Descriptions travel to the PSP and onto its receipts: no personal data in them (pagopa.md 2.9).
    fn no_fiscal_code(&mut self, debtor: &Debtor, path: &str, new: &proto::NewPosition) {
        self.no_code_in(debtor, &new.description, || format!("{path}.description"));
        let code = debtor.code().expose();
        if let Some(field) = given::naming_in(code, &format!("{path}.metadata"), &new.metadata) {
            self.tell(|| field, || DESCRIPTION_NAMES_DEBTOR.to_owned());
        }
        for (option, told) in new.options.iter().enumerate() {
            for (place, instalment) in told.instalments.iter().enumerate() {
                let at = format!("{path}.options[{option}].instalments[{place}]");
                self.no_code_in(debtor, &instalment.description, || format!("{at}.description"));
                let naming = given::naming(code, &format!("{at}.transfers"), &instalment.transfers)
                    .or_else(|| given::naming_in(code, &format!("{at}.metadata"), &instalment.metadata));
                if let Some(field) = naming {
                    self.tell(|| field, || DESCRIPTION_NAMES_DEBTOR.to_owned());
                }
            }
        }
    }

    fn no_code_in(&mut self, debtor: &Debtor, description: &str, field: impl FnOnce() -> String) {
        if names_the_debtor(debtor.code().expose(), description) {
            self.tell(field, || DESCRIPTION_NAMES_DEBTOR.to_owned());
        }
    }

    fn text<const MAX: usize>(&mut self, value: &str, field: impl FnOnce() -> String) -> Option<Text<MAX>> {
        let read = Text::parse(value).map_err(|error| format!("{error}; send 1 to {MAX} characters"));
        self.keep(read, field)
    }

    fn count(&mut self, count: usize, field: impl FnOnce() -> String) {
        if !(1..=usize::from(MAX_CHILDREN)).contains(&count) {
            self.tell(field, || format!("has {count} entries; send 1 to {MAX_CHILDREN}"));
        }
    }

    fn keep<T>(&mut self, read: Result<T, String>, field: impl FnOnce() -> String) -> Option<T> {
        read.map_err(|message| self.tell(field, || message)).ok()
    }

    fn tell(&mut self, field: impl FnOnce() -> String, message: impl FnOnce() -> String) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(Violation::new(field(), message()));
        }
    }
}

/// What is answered when a description holds the debtor's fiscal code.
pub(super) const DESCRIPTION_NAMES_DEBTOR: &str =
    "must not hold the debtor's fiscal code: it travels to the payer; leave it out";

/// Whether a description holds the debtor's Italian fiscal code; a code from abroad is a body's, and may be as short as a word.
pub(super) fn names_the_debtor(debtor_code: &str, description: &str) -> bool {
    FiscalCode::parse(debtor_code).is_ok() && description.to_ascii_uppercase().contains(debtor_code)
}

/// An instalment's amount.
pub(super) fn amount(cents: i64) -> Result<Cents, String> {
    let amount = Cents::new(cents).map_err(|error| format!("{error}; send whole cents"))?;
    if amount.is_zero() { Err("must be above zero; send whole cents".to_owned()) } else { Ok(amount) }
}

fn foreign_number(text: &str) -> Result<NoticeNumber, String> {
    let number = NoticeNumber::parse(text).map_err(|error| format!("{error}; leave it empty to have one issued"))?;
    if number == NoticeNumber::PROBE {
        return Err("is the number by which pagoPA probes stations; leave it empty to have one issued".to_owned());
    }
    Ok(number)
}

/// An instalment's due date; an empty text is none.
pub(super) fn due_date(text: &str) -> Result<Option<LegalDate>, String> {
    match text {
        "" => Ok(None),
        told => LegalDate::parse(told).map(Some).map_err(|error| format!("{error}; leave it empty for none")),
    }
}

#[cfg(test)]
#[path = "draft_tests.rs"]
mod tests;
