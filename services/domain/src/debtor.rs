//! Who owes: the debtor of a position, within the limits of paForNode's `ctSubject` (pagopa.md 2.5).

use crate::{
    fiscal_code::{self, DebtorCode},
    secret::Masked,
    text::{self, Text},
};

/// Result of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A person or a body that owes; everything but the kind is masked in `Debug`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Debtor {
    kind: PersonKind,
    code: DebtorCode,
    full_name: Masked<Text<70>>,
    street_name: Option<Masked<Text<70>>>,
    civic_number: Option<Masked<Text<16>>>,
    postal_code: Option<Masked<Text<16>>>,
    city: Option<Masked<Text<35>>>,
    province: Option<Masked<Text<35>>>,
    country: Option<Masked<Text<2>>>,
    email: Option<Masked<Text<256>>>,
}

/// `stEntityUniqueIdentifierType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PersonKind {
    /// `F`, a natural person.
    Natural,
    /// `G`, a body or firm.
    Legal,
}

/// A debtor as somebody told it; an empty text means not told.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "personal data, not yet masked")]
pub struct Told<'a> {
    /// Person or body.
    pub kind: PersonKind,
    /// Fiscal code or `ANONIMO`.
    pub fiscal_code: &'a str,
    /// 1-70 characters.
    pub full_name: &'a str,
    /// At most 70 characters.
    pub street_name: &'a str,
    /// At most 16 characters.
    pub civic_number: &'a str,
    /// At most 16 characters.
    pub postal_code: &'a str,
    /// At most 35 characters.
    pub city: &'a str,
    /// At most 35 characters.
    pub province: &'a str,
    /// Two capital letters (ISO 3166-1).
    pub country: &'a str,
    /// `stEMail`, at most 256 characters.
    pub email: &'a str,
}

/// Which field breaks which rule; the value is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct Error {
    /// Name of the field of [`Told`].
    pub field: &'static str,
    /// What it must be.
    pub rule: Rule,
}

/// What a field of a debtor must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rule {
    /// Length and characters.
    #[error(transparent)]
    Text(#[from] text::Error),
    /// Form of a code; the remedy for a person who has none is `ANONIMO`.
    #[error("{0}{remedy}", remedy = if matches!(.0, fiscal_code::Error::Person) { "; without one, ANONIMO" } else { "" })]
    FiscalCode(#[from] fiscal_code::Error),
    /// Only people are anonymous (pagopa.md 2.9).
    #[error("ANONIMO goes with a natural person only")]
    AnonymousBody,
    /// `stNazioneProvincia`.
    #[error("a country is two capital letters, such as IT")]
    Country,
    /// `stEMail`.
    #[error("an e-mail address is letters, digits and _.+- before the @, letters, digits, dots and hyphens after it")]
    Email,
}

// === impl PersonKind ===

impl PersonKind {
    /// `F` or `G`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Natural => "F",
            Self::Legal => "G",
        }
    }

    /// Reads `F` or `G`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "F" => Some(Self::Natural),
            "G" => Some(Self::Legal),
            _ => None,
        }
    }
}

// === impl Debtor ===

impl Debtor {
    /// Takes what was told, if the node would take it too.
    ///
    /// # Errors
    /// The first field that breaks its rule.
    pub fn new(told: &Told<'_>) -> Result<Self> {
        let code = DebtorCode::parse(told.fiscal_code, told.kind).map_err(|error| Error::new("fiscal_code", error))?;
        if code == DebtorCode::Anonymous && told.kind == PersonKind::Legal {
            return Err(Error::new("fiscal_code", Rule::AnonymousBody));
        }
        let country = optional("country", told.country)?;
        if !told.country.bytes().all(|byte| byte.is_ascii_uppercase()) || !matches!(told.country.len(), 0 | 2) {
            return Err(Error::new("country", Rule::Country));
        }
        if !told.email.is_empty() && !email_ok(told.email) {
            return Err(Error::new("email", Rule::Email));
        }
        Ok(Self {
            kind: told.kind,
            code,
            full_name: required("full_name", told.full_name)?,
            street_name: optional("street_name", told.street_name)?,
            civic_number: optional("civic_number", told.civic_number)?,
            postal_code: optional("postal_code", told.postal_code)?,
            city: optional("city", told.city)?,
            province: optional("province", told.province)?,
            country,
            email: optional("email", told.email)?,
        })
    }

    /// Person or body.
    pub const fn kind(&self) -> PersonKind {
        self.kind
    }

    /// Fiscal code or `ANONIMO`.
    pub const fn code(&self) -> &DebtorCode {
        &self.code
    }

    /// Every field in clear, an empty text where it was not told: for the database and the wire, never for logs.
    pub fn expose(&self) -> Told<'_> {
        Told {
            kind: self.kind,
            fiscal_code: self.code.expose(),
            full_name: self.full_name.expose().as_str(),
            street_name: text_of(self.street_name.as_ref()),
            civic_number: text_of(self.civic_number.as_ref()),
            postal_code: text_of(self.postal_code.as_ref()),
            city: text_of(self.city.as_ref()),
            province: text_of(self.province.as_ref()),
            country: text_of(self.country.as_ref()),
            email: text_of(self.email.as_ref()),
        }
    }
}

// === impl Error ===

impl Error {
    fn new(field: &'static str, rule: impl Into<Rule>) -> Self {
        Self { field, rule: rule.into() }
    }
}

fn required<const MAX: usize>(field: &'static str, text: &str) -> Result<Masked<Text<MAX>>> {
    Text::parse(text).map(Masked::new).map_err(|error| Error::new(field, error))
}

fn optional<const MAX: usize>(field: &'static str, text: &str) -> Result<Option<Masked<Text<MAX>>>> {
    if text.is_empty() { Ok(None) } else { required(field, text).map(Some) }
}

fn text_of<const MAX: usize>(field: Option<&Masked<Text<MAX>>>) -> &str {
    field.map_or("", |text| text.expose().as_str())
}

/// `[a-zA-Z0-9_\.\+\-]+@[a-zA-Z0-9\-]+(\.[a-zA-Z0-9\-]+)*`
fn email_ok(text: &str) -> bool {
    let local = |byte: u8| byte.is_ascii_alphanumeric() || b"_.+-".contains(&byte);
    let label =
        |label: &str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    text.split_once('@')
        .is_some_and(|(user, host)| !user.is_empty() && user.bytes().all(local) && host.split('.').all(label))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn told() -> Told<'static> {
        Told {
            kind: PersonKind::Natural,
            fiscal_code: "RSSMRA80A01H501U",
            full_name: "Maria Rossi",
            street_name: "Via Roma",
            civic_number: "1/A",
            postal_code: "00100",
            city: "Roma",
            province: "RM",
            country: "IT",
            email: "maria.rossi+tari@example.it",
        }
    }

    #[test]
    fn what_was_told_is_exposed() {
        let debtor = Debtor::new(&told()).unwrap();
        assert_eq!(Debtor::new(&debtor.expose()), Ok(debtor.clone()));
        assert_eq!(debtor.expose().email, "maria.rossi+tari@example.it");
    }

    #[test]
    fn least() {
        let least = Told { fiscal_code: "anonimo", full_name: "ANONIMO", ..empty() };
        assert_eq!(Debtor::new(&least).unwrap().expose().fiscal_code, "ANONIMO");
    }

    fn empty() -> Told<'static> {
        Told {
            kind: PersonKind::Natural,
            fiscal_code: "",
            full_name: "",
            street_name: "",
            civic_number: "",
            postal_code: "",
            city: "",
            province: "",
            country: "",
            email: "",
        }
    }

    #[rstest]
    #[case(Told { fiscal_code: "RSSMRA", ..told() }, "fiscal_code", Rule::FiscalCode(fiscal_code::Error::Person))]
    #[case(Told { fiscal_code: "ANONIMO", kind: PersonKind::Legal, ..told() }, "fiscal_code", Rule::AnonymousBody)]
    #[case(Told { full_name: "", ..told() }, "full_name", Rule::Text(text::Error::Empty))]
    #[case(Told { civic_number: "12345678901234567", ..told() }, "civic_number", Rule::Text(text::Error::TooLong { length: 17, max: 16 }))]
    #[case(Told { city: "a\nb", ..told() }, "city", Rule::Text(text::Error::Control))]
    #[case(Told { country: "it", ..told() }, "country", Rule::Country)]
    #[case(Told { country: "I", ..told() }, "country", Rule::Country)]
    #[case(Told { email: "maria", ..told() }, "email", Rule::Email)]
    #[case(Told { email: "maria@", ..told() }, "email", Rule::Email)]
    #[case(Told { email: "maria@a..b", ..told() }, "email", Rule::Email)]
    #[case(Told { email: "mar ia@a.b", ..told() }, "email", Rule::Email)]
    fn refused(#[case] told: Told<'_>, #[case] field: &'static str, #[case] rule: Rule) {
        assert_eq!(Debtor::new(&told), Err(Error { field, rule }));
    }

    #[test]
    fn errors_name_field_and_rule() {
        let error = Debtor::new(&Told { country: "Italia", ..told() }).unwrap_err();
        assert_eq!(error.to_string(), "country: has 6 characters, at most 2 are allowed");
    }

    #[test]
    fn nothing_personal_is_shown() {
        let shown = format!("{:?}", Debtor::new(&told()).unwrap());
        for secret in ["RSSMRA", "Maria", "Roma", "1/A", "00100", "RM", "example"] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
    }
}
