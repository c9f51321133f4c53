//! What a call asks for, read: pure.

use fiorino_domain::{case::CaseKind, institution::InstitutionCode, text::Text};
use fiorino_kit::telemetry;
use fiorino_proto::{cases::v1 as proto, common::v1::CaseState};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::error::{Error, Result};

/// Cases on a page when the caller does not say.
const PAGE_DEFAULT: u32 = 100;

/// Cases on a page at most.
const PAGE_MAX: u32 = 500;

/// Cases that one call resolves at most.
const RESOLVED_MAX: u32 = 1_000;

/// Longest note, characters.
const NOTE_MAX: usize = 500;

/// Longest name of an owner, characters.
const OWNER_MAX: usize = 128;

/// Digits of the shortest number by which anybody learns what somebody owes (an IUV).
const SECRET_DIGITS: usize = 15;

/// Which cases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    /// `None` = any.
    pub(crate) institution: Option<InstitutionCode>,
    /// `None` = any.
    pub(crate) kind: Option<CaseKind>,
    /// [`CaseState::Unspecified`] = whatever is not resolved.
    pub(crate) state: CaseState,
    /// `None` = of any age.
    pub(crate) opened_before: Option<Timestamp>,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) filter: Filter,
    pub(crate) size: u32,
    /// When the last case of the page before was opened, and its id.
    pub(crate) after: Option<(Timestamp, Uuid)>,
}

/// Cases that are ended together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bulk {
    pub(crate) kind: CaseKind,
    /// `None` = any.
    pub(crate) institution: Option<InstitutionCode>,
    pub(crate) opened_before: Timestamp,
    pub(crate) note: String,
    pub(crate) limit: u32,
}

// === impl Page ===

impl Page {
    /// Reads a request.
    ///
    /// # Errors
    /// The field that breaks its rule.
    pub(crate) fn read(request: &proto::ListCasesRequest) -> Result<Self> {
        let filter = Filter {
            institution: institution(&request.institution)?,
            kind: optional(&request.kind).map(kind).transpose()?,
            state: CaseState::try_from(request.state)
                .map_err(|_| Error::invalid("state", "is none that is known; send 0 to 3"))?,
            opened_before: optional(&request.opened_before).map(time).transpose()?,
        };
        let size = size("page_size", request.page_size, PAGE_DEFAULT, PAGE_MAX)?;
        let after = optional(&request.page_token).map(|token| filter.after(token)).transpose()?;
        Ok(Self { filter, size, after })
    }

    /// The token of the page after this case.
    pub(crate) fn token(&self, opened_at: Timestamp, id: Uuid) -> String {
        format!("{:x}.{}.{}", opened_at.as_microsecond(), id.simple(), self.filter.mark())
    }
}

// === impl Filter ===

impl Filter {
    fn after(&self, token: &str) -> Result<(Timestamp, Uuid)> {
        let read = || {
            let mut parts = token.split('.');
            let (micros, id, mark) = (parts.next()?, parts.next()?, parts.next()?);
            let opened_at = Timestamp::from_microsecond(i64::from_str_radix(micros, 16).ok()?).ok()?;
            let whole = parts.next().is_none() && mark == self.mark();
            whole.then_some((opened_at, Uuid::try_parse(id).ok()?))
        };
        read().ok_or_else(|| {
            Error::invalid(
                "page_token",
                "is not the next_page_token of a call with the same filters; send that, or nothing",
            )
        })
    }

    /// Ties a token to its list: one of another list is refused instead of leaving cases out.
    fn mark(&self) -> String {
        let Self { institution, kind, state, opened_before } = self;
        let hash = Sha256::digest(format!("{institution:?}/{kind:?}/{state:?}/{opened_before:?}"));
        let mark = hash.iter().take(4).fold(0_u32, |mark, byte| mark << 8 | u32::from(*byte));
        format!("{mark:08x}")
    }
}

// === impl Bulk ===

impl Bulk {
    /// Reads a request.
    ///
    /// # Errors
    /// The field that breaks its rule.
    pub(crate) fn read(request: &proto::ResolveCasesRequest) -> Result<Self> {
        Ok(Self {
            kind: kind(&request.kind)?,
            institution: institution(&request.institution)?,
            opened_before: time(&request.opened_before)?,
            note: note(&request.note)?,
            limit: size("limit", request.limit, RESOLVED_MAX, RESOLVED_MAX)?,
        })
    }
}

/// Reads the id of a case.
///
/// # Errors
/// No UUID.
pub(crate) fn case_id(text: &str) -> Result<Uuid> {
    Uuid::try_parse(text).map_err(|_| Error::invalid("case_id", "must be the UUID of a case; take it from ListCases"))
}

/// Reads a note.
///
/// # Errors
/// Empty, too long, with line breaks or control characters, or with what looks like personal data.
pub(crate) fn note(text: &str) -> Result<String> {
    line::<NOTE_MAX>("note", text)
}

/// Reads a note that may be left out.
///
/// # Errors
/// As for [`note`].
pub(crate) fn optional_note(text: &str) -> Result<Option<String>> {
    optional(text).map(note).transpose()
}

/// Reads whom a case is assigned to.
///
/// # Errors
/// Empty, too long, with line breaks or control characters, or with what looks like personal data.
pub(crate) fn owner(text: &str) -> Result<String> {
    line::<OWNER_MAX>("owner", text)
}

fn line<const MAX: usize>(field: &'static str, text: &str) -> Result<String> {
    let text = Text::<MAX>::parse(text)
        .map_err(|error| Error::invalid(field, format!("{error}; send 1 to {MAX} characters in one line")))?;
    if telemetry::shows_a_person(text.as_str()) || shows_a_number(text.as_str()) {
        let rule =
            "must not name a fiscal code, an account number, a notice number or an IUV; the case says what it is about";
        return Err(Error::invalid(field, rule));
    }
    Ok(text.as_str().to_owned())
}

/// Whether a word is as many digits as an IUV or a notice number has, or more.
fn shows_a_number(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .any(|word| word.len() >= SECRET_DIGITS && word.bytes().all(|byte| byte.is_ascii_digit()))
}

fn optional(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn institution(text: &str) -> Result<Option<InstitutionCode>> {
    let read = |text| {
        InstitutionCode::parse(text)
            .map_err(|error| Error::invalid("institution", format!("{error}; send it, or nothing")))
    };
    optional(text).map(read).transpose()
}

fn kind(text: &str) -> Result<CaseKind> {
    CaseKind::parse(text).map_err(|error| Error::invalid("kind", format!("{error}; send a code of docs/cases.md")))
}

fn time(text: &str) -> Result<Timestamp> {
    text.parse()
        .map_err(|_| Error::invalid("opened_before", "must be a time of RFC 3339, such as 2026-07-14T10:00:00Z"))
}

fn size(field: &'static str, asked: u32, default: u32, max: u32) -> Result<u32> {
    match asked {
        0 => Ok(default),
        asked if asked <= max => Ok(asked),
        _ => Err(Error::invalid(field, format!("must be 1 to {max}; ask for less, or send 0"))),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn list(change: impl FnOnce(&mut proto::ListCasesRequest)) -> Result<Page> {
        let mut request = proto::ListCasesRequest::default();
        change(&mut request);
        Page::read(&request)
    }

    fn field<T: std::fmt::Debug>(refused: Result<T>) -> &'static str {
        match refused {
            Err(Error::Invalid { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    }

    #[rstest]
    #[case::plain("refunded by bank transfer on 12 May, see ticket 4711", true)]
    #[case::receipt_id("same as 5f2a0d3c4b1e4f7a9c8d7e6f5a4b3c2d", true)]
    #[case::institution("asked 80012340560", true)]
    #[case::longest(&"à".repeat(500), true)]
    #[case::too_long(&"a".repeat(501), false)]
    #[case::empty("", false)]
    #[case::lines("one\ntwo", false)]
    #[case::nul("a\0b", false)]
    #[case::person("paid by RSSMRA80A01H501U", false)]
    #[case::account("to IT60X0542811101000000123456", false)]
    #[case::notice("of 302000100000019421", false)]
    #[case::iuv("iuv 02000100000019421.", false)]
    fn notes_are_bounded_and_name_nobody(#[case] text: &str, #[case] taken: bool) {
        match note(text) {
            Ok(note) => assert!(taken && note == text),
            refused => assert!(!taken && field(refused) == "note", "{text}"),
        }
    }

    #[test]
    fn a_token_leads_on_in_its_own_list_alone() {
        let page = list(|request| request.kind = "receipt_double".to_owned()).unwrap();
        let (at, id) = ("2026-07-14T10:00:00.123456Z".parse().unwrap(), Uuid::now_v7());
        let token = page.token(at, id);
        let next = list(|request| {
            request.kind = "receipt_double".to_owned();
            request.page_token.clone_from(&token);
        });
        assert_eq!(next.unwrap().after, Some((at, id)));
        assert_eq!(field(list(|request| request.page_token = token)), "page_token", "of another list");
    }

    #[rstest]
    #[case("4711")]
    #[case("..")]
    #[case("x.y.z")]
    #[case("\0")]
    fn other_tokens_are_refused(#[case] token: &str) {
        assert_eq!(field(list(|request| request.page_token = token.to_owned())), "page_token");
    }

    #[rstest]
    #[case::institution("institution", |request: &mut proto::ListCasesRequest| request.institution = "1234".to_owned())]
    #[case::kind("kind", |request: &mut proto::ListCasesRequest| request.kind = "odd".to_owned())]
    #[case::state("state", |request: &mut proto::ListCasesRequest| request.state = 4)]
    #[case::age("opened_before", |request: &mut proto::ListCasesRequest| request.opened_before = "yesterday".to_owned())]
    #[case::size("page_size", |request: &mut proto::ListCasesRequest| request.page_size = 501)]
    fn a_broken_rule_names_its_field(#[case] name: &str, #[case] spoil: fn(&mut proto::ListCasesRequest)) {
        assert_eq!(field(list(spoil)), name);
    }

    #[rstest]
    #[case::kind("kind", |request: &mut proto::ResolveCasesRequest| request.kind = String::new())]
    #[case::age("opened_before", |request: &mut proto::ResolveCasesRequest| request.opened_before = String::new())]
    #[case::note("note", |request: &mut proto::ResolveCasesRequest| request.note = String::new())]
    #[case::limit("limit", |request: &mut proto::ResolveCasesRequest| request.limit = 1_001)]
    fn what_ends_many_needs_kind_age_and_reason(
        #[case] name: &str,
        #[case] spoil: fn(&mut proto::ResolveCasesRequest),
    ) {
        let mut request = proto::ResolveCasesRequest {
            kind: "receipt_double".to_owned(),
            opened_before: "2026-07-14T10:00:00Z".to_owned(),
            note: "refunded".to_owned(),
            ..proto::ResolveCasesRequest::default()
        };
        assert_eq!(Bulk::read(&request).unwrap().limit, 1_000);
        spoil(&mut request);
        assert_eq!(field(Bulk::read(&request)), name);
    }
}
