//! Instalments that another system was paid for: they are loaded as paid, so that nobody is asked for them again.

use fiorino_domain::{
    date::LegalDate,
    position::{InstalmentEvent, next},
    text::Text,
};
use fiorino_proto::positions::v1 as proto;
use serde::{Deserialize, Serialize};

use super::rows::NoticeRow;

/// When and how another system was paid; `notice.paid_elsewhere`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PaidElsewhere {
    pub(crate) on: LegalDate,
    /// 1 to 70 characters.
    pub(crate) how: String,
}

/// A rule that `already_paid` breaks.
pub(super) struct Broken {
    pub(super) field: &'static str,
    pub(super) message: String,
}

/// Instalments of what was paid become paid, those of the other options are out.
pub(super) fn settle(notices: &mut [NoticeRow]) {
    let paid: Vec<_> = (notices.iter())
        .filter(|notice| notice.paid_elsewhere.is_some())
        .map(|notice| (notice.option_no, notice.instalment_no))
        .collect();
    for (option_no, instalment_no) in paid {
        for notice in &mut *notices {
            let event = match (notice.option_no, notice.instalment_no) {
                place if place == (option_no, instalment_no) => InstalmentEvent::PaidElsewhere,
                (option, _) if option == option_no => continue,
                _ => InstalmentEvent::SiblingPaid,
            };
            // Facts are never refused.
            notice.state = next(notice.state, event).map_or(notice.state, |transition| transition.state);
        }
    }
}

// === impl PaidElsewhere ===

impl PaidElsewhere {
    /// Reads what was told.
    ///
    /// # Errors
    /// Every rule that it breaks, with its field.
    pub(super) fn read(told: &proto::AlreadyPaid) -> Result<Self, Vec<Broken>> {
        let on = LegalDate::parse(&told.paid_on).map_err(|error| Broken {
            field: "already_paid.paid_on",
            message: format!("{error}; send the day on which it was paid"),
        });
        let how = Text::<70>::parse(&told.how).map_err(|error| Broken {
            field: "already_paid.how",
            message: format!("{error}; send 1 to 70 characters that say which system was paid"),
        });
        match (on, how) {
            (Ok(on), Ok(how)) => Ok(Self { on, how: how.to_string() }),
            (on, how) => Err(on.err().into_iter().chain(how.err()).collect()),
        }
    }
}

impl From<&PaidElsewhere> for proto::AlreadyPaid {
    fn from(paid: &PaidElsewhere) -> Self {
        Self { paid_on: paid.on.to_string(), how: paid.how.clone() }
    }
}
