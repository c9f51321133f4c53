//! What is wrong, where, and how to mend it.

use fiorino_crds::{ConditionType, IbanStatus, Reason};
use serde_json::Value;

use crate::{
    conditions::Draft,
    institution::subject::{Subject, SubjectKind},
};

/// Findings that are told in one message; more are counted.
const TOLD_MAX: usize = 8;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// The kind of trouble.
    pub reason: Reason,
    /// Path of the field, as in the manifest.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
    /// What mends it.
    pub remedy: String,
}

/// What was found about one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The object.
    pub subject: Subject,
    /// What makes it wrong.
    pub errors: Vec<Told>,
    /// What should be looked at.
    pub warnings: Vec<String>,
}

/// A finding in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The kind of trouble.
    pub reason: Reason,
    /// Field, problem, remedy.
    pub text: String,
}

/// Everything that was judged for one institution: first itself, then the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    judged: Vec<Judged>,
    /// Of its children and of what it refers to.
    aggregated: Vec<Around>,
}

/// Something around an institution that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Around {
    /// Whose fault it is: an object, or a service that a profile brings.
    of: String,
    told: Told,
    /// An account is told of before the services that lack it.
    is_account: bool,
}

// === impl Complaint ===

impl Complaint {
    /// Field, problem, remedy.
    pub fn text(&self) -> String {
        format!("{}: {}: {}", self.field, self.problem, self.remedy)
    }

    fn told(&self) -> Told {
        Told { reason: self.reason, text: self.text() }
    }
}

// === impl Judged ===

impl Judged {
    /// Nothing is wrong so far.
    pub fn new(subject: Subject) -> Self {
        Self { subject, errors: Vec::new(), warnings: Vec::new() }
    }

    /// Adds an error.
    pub fn error(&mut self, complaint: &Complaint) {
        self.errors.push(complaint.told());
    }

    /// Adds a warning.
    pub fn warn(&mut self, complaint: &Complaint) {
        self.warnings.push(complaint.text());
    }

    /// The condition `Validated`.
    pub fn draft(&self) -> Draft {
        draft(&self.errors, &self.warnings)
    }
}

// === impl Report ===

impl Report {
    /// A report about an institution.
    pub fn new(institution: Subject) -> Self {
        Self { judged: vec![Judged::new(institution)], aggregated: Vec::new() }
    }

    /// The institution is wrong.
    pub fn institution(&mut self, complaint: &Complaint) {
        self.judged[0].error(complaint);
    }

    /// Something of the institution should be looked at.
    pub fn warn_institution(&mut self, complaint: &Complaint) {
        self.judged[0].warn(complaint);
    }

    /// Something around the institution is wrong; the rest goes on.
    pub fn aggregate(&mut self, complaint: &Complaint) {
        self.around(String::new(), false, complaint.told());
    }

    /// A service that a profile brings is wrong; the rest goes on.
    pub fn service(&mut self, code: &str, complaint: &Complaint) {
        self.around(format!("service {code}"), false, complaint.told());
    }

    /// Another object was judged: the institution tells of its errors too.
    pub fn add(&mut self, judged: Judged) {
        let of_platform =
            matches!(judged.subject.kind, SubjectKind::Station | SubjectKind::Broker | SubjectKind::ServiceProfile);
        let reason = if of_platform { Reason::InvalidReference } else { Reason::InvalidChild };
        for error in &judged.errors {
            self.around_object(&judged.subject, Told { reason, text: error.text.clone() });
        }
        self.judged.push(judged);
    }

    /// Tenant's verdict on one of the objects; a service that a profile brings is the institution's.
    pub fn judge(&mut self, uid: &str, reason: Reason, words: &str) {
        let told = Told { reason, text: words.to_owned() };
        let around = Told { reason: Reason::InvalidChild, ..told.clone() };
        if let Some(judged) = self.judged.iter_mut().skip(1).find(|judged| judged.subject.uid == uid) {
            judged.errors.push(told);
            let subject = judged.subject.clone();
            self.around_object(&subject, around);
        } else {
            let brought = uid.strip_prefix(&self.judged[0].subject.uid).and_then(|rest| rest.strip_prefix('/'));
            self.around(brought.map(|code| format!("service {code}")).unwrap_or_default(), false, around);
        }
    }

    /// Takes statuses over that were written since the objects were read.
    pub fn refresh(&mut self, written: impl Fn(&Subject) -> Option<Value>) {
        for judged in self.judged.iter_mut().skip(1) {
            let status =
                // An account's status is that of any object and more.
                written(&judged.subject).and_then(|status| serde_json::from_value::<IbanStatus>(status).ok());
            if let Some(status) = status {
                judged.subject.conditions = status.conditions;
                judged.subject.observed_generation = status.observed_generation;
                judged.subject.fixed_numbers = status.fixed_numbers;
            }
        }
    }

    /// Whether the institution itself is wrong: then nothing of it is sent.
    pub fn institution_is_wrong(&self) -> bool {
        !self.judged[0].errors.is_empty()
    }

    /// The institution.
    pub fn subject(&self) -> &Subject {
        &self.judged[0].subject
    }

    /// The other objects that were judged.
    pub fn others(&self) -> &[Judged] {
        &self.judged[1..]
    }

    /// The institution's condition `Validated`: its own errors first, then those around it, causes before what follows from them, and
    /// what several have in common once.
    pub fn draft(&self) -> Draft {
        let own = &self.judged[0];
        let mut grouped: Vec<(&Told, bool, Vec<&str>)> = Vec::new();
        for Around { of, told, is_account } in &self.aggregated {
            match grouped.iter_mut().find(|(known, ..)| known.text == told.text) {
                Some((.., whose)) => whose.push(of),
                None => grouped.push((told, *is_account, vec![of.as_str()])),
            }
        }
        grouped.sort_by_key(|(_, is_account, _)| !is_account);
        let around = grouped.into_iter().map(|(told, _, whose)| {
            let whose = whose.join(", ");
            let text = if whose.is_empty() { told.text.clone() } else { format!("{whose}: {}", told.text) };
            Told { reason: told.reason, text }
        });
        let errors: Vec<Told> = own.errors.iter().cloned().chain(around).collect();
        draft(&errors, &own.warnings)
    }

    fn around_object(&mut self, subject: &Subject, told: Told) {
        self.around(subject.to_string(), subject.kind == SubjectKind::Iban, told);
    }

    fn around(&mut self, of: String, is_account: bool, told: Told) {
        self.aggregated.push(Around { of, told, is_account });
    }
}

fn draft(errors: &[Told], warnings: &[String]) -> Draft {
    let Some(first) = errors.first() else {
        if warnings.is_empty() {
            return Draft::yes(ConditionType::Validated, Reason::Valid, "nothing is wrong");
        }
        let message = format!("to be looked at: {}; nothing else is wrong", listed(warnings));
        return Draft::yes(ConditionType::Validated, Reason::Doubtful, message);
    };
    let texts: Vec<&String> = errors.iter().map(|error| &error.text).collect();
    Draft::no(ConditionType::Validated, first.reason, listed(&texts))
}

fn listed(texts: &[impl AsRef<str>]) -> String {
    let mut told: Vec<String> = texts.iter().take(TOLD_MAX).map(|text| text.as_ref().to_owned()).collect();
    if texts.len() > TOLD_MAX {
        told.push(format!("and {} more", texts.len() - TOLD_MAX));
    }
    told.join("; ")
}
