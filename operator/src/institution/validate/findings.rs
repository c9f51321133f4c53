//! What is wrong, where, and how to mend it.

use fiorino_crds::{ConditionType, ObjectStatus, Reason};
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
    aggregated: Vec<Told>,
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
        self.aggregated.push(complaint.told());
    }

    /// Another object was judged: the institution tells of its errors too.
    pub fn add(&mut self, judged: Judged) {
        let of_platform =
            matches!(judged.subject.kind, SubjectKind::Station | SubjectKind::Broker | SubjectKind::ServiceProfile);
        let reason = if of_platform { Reason::InvalidReference } else { Reason::InvalidChild };
        let told = |error: &Told| Told { reason, text: format!("{}: {}", judged.subject, error.text) };
        self.aggregated.extend(judged.errors.iter().map(told));
        self.judged.push(judged);
    }

    /// Tenant's verdict on one of the objects; a service that a profile brings is the institution's.
    pub fn judge(&mut self, uid: &str, reason: Reason, words: &str) {
        let told = Told { reason, text: words.to_owned() };
        match self.judged.iter_mut().skip(1).find(|judged| judged.subject.uid == uid) {
            Some(judged) => {
                let text = format!("{}: {words}", judged.subject);
                judged.errors.push(told);
                self.aggregated.push(Told { reason: Reason::InvalidChild, text });
            }
            None => self.aggregated.push(Told { reason: Reason::InvalidChild, ..told }),
        }
    }

    /// Takes statuses over that were written since the objects were read.
    pub fn refresh(&mut self, written: impl Fn(&Subject) -> Option<Value>) {
        for judged in self.judged.iter_mut().skip(1) {
            let status =
                written(&judged.subject).and_then(|status| serde_json::from_value::<ObjectStatus>(status).ok());
            if let Some(status) = status {
                judged.subject.conditions = status.conditions;
                judged.subject.observed_generation = status.observed_generation;
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

    /// The institution's condition `Validated`: its own errors first, then those around it.
    pub fn draft(&self) -> Draft {
        let own = &self.judged[0];
        let errors: Vec<Told> = own.errors.iter().chain(&self.aggregated).cloned().collect();
        draft(&errors, &own.warnings)
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
