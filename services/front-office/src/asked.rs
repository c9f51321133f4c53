//! What a visitor wrote into the form, and what is wrong with it, in his words. Pure.

use fiorino_domain::{institution::InstitutionCode, notice::NoticeNumber};
use serde::Deserialize;

/// The form's fields as they came: anything at all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Form {
    /// The notice's number.
    pub(crate) codice: Option<String>,
    /// The institution's fiscal code.
    pub(crate) ente: Option<String>,
    /// He looked again: the number of which he says that it stands so on the notice.
    pub(crate) conferma: Option<String>,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) number: NoticeNumber,
    pub(crate) institution: InstitutionCode,
}

/// What the form lacks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Wrong {
    /// Of the notice's number.
    pub(crate) number: Option<String>,
    /// Of the institution.
    pub(crate) institution: Option<String>,
}

/// What came of reading the form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Nothing was written yet.
    Blank,
    /// He must correct it.
    Wrong(Wrong),
    /// The check digits do not fit, and he has not said that they are right: notices of other systems may have such ones
    /// (pagopa.md 3.2).
    Doubtful(NoticeNumber),
    /// It can be looked up.
    Asked(Asked),
}

// === impl Form ===

impl Form {
    /// Reads it. What a notice's QR code says may be pasted into the first field, and then counts for both.
    pub(crate) fn read(&self) -> Reading {
        let (code, institution) = (self.codice.as_deref(), self.ente.as_deref());
        let (Some(code), institution) = (code, institution.unwrap_or_default()) else { return Reading::Blank };
        let (code, institution) = qr(code).unwrap_or((code, institution));
        let (number, institution) = (number(&digits(code)), organisation(&digits(institution)));
        match (number, institution) {
            (Ok(number), Ok(_)) if !number.check_digits_ok() && !self.confirms(&number) => Reading::Doubtful(number),
            (Ok(number), Ok(institution)) => Reading::Asked(Asked { number, institution }),
            (number, institution) => Reading::Wrong(Wrong { number: number.err(), institution: institution.err() }),
        }
    }

    /// Whether it is this very number that he looked at again: not another one that he wrote since.
    fn confirms(&self, number: &NoticeNumber) -> bool {
        self.conferma.as_deref() == Some(number.as_str())
    }
}

/// `PAGOPA|002|<number>|<institution>|<cents>` (pagopa.md 3.4).
fn qr(text: &str) -> Option<(&str, &str)> {
    let mut fields = text.trim().strip_prefix("PAGOPA|")?.split('|').skip(1);
    Some((fields.next()?, fields.next()?))
}

/// Without what people put between digits.
fn digits(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '-' | '.' | '/')).collect()
}

fn number(text: &str) -> Result<NoticeNumber, String> {
    NoticeNumber::parse(text).map_err(|_| match text.chars().count() {
        0 => "Scrivi il codice avviso: sono 18 cifre e lo trovi sull’avviso di pagamento.".to_owned(),
        _ if !text.bytes().all(|byte| byte.is_ascii_digit()) => {
            "Il codice avviso è fatto di sole cifre: togli lettere e simboli.".to_owned()
        }
        18 => "Il codice avviso comincia con 0, 1, 2 o 3: controlla la prima cifra.".to_owned(),
        count => format!("Il codice avviso ha 18 cifre, ne hai scritte {count}: controlla di averle copiate tutte."),
    })
}

fn organisation(text: &str) -> Result<InstitutionCode, String> {
    InstitutionCode::parse(text).map_err(|_| match text.chars().count() {
        0 => "Scrivi il codice fiscale dell’ente: sono 11 cifre e lo trovi sull’avviso.".to_owned(),
        _ if !text.bytes().all(|byte| byte.is_ascii_digit()) => {
            "Il codice fiscale dell’ente è fatto di sole cifre: togli lettere e simboli. Non è il tuo codice fiscale."
                .to_owned()
        }
        count => format!("Il codice fiscale dell’ente ha 11 cifre, ne hai scritte {count}: controlla sull’avviso."),
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const NUMBER: &str = "312000000000471179";
    const ENTE: &str = "80041780356";

    fn form(codice: &str, ente: &str) -> Form {
        Form { codice: Some(codice.into()), ente: Some(ente.into()), conferma: None }
    }

    fn asked() -> Reading {
        let number = NoticeNumber::parse(NUMBER).unwrap();
        Reading::Asked(Asked { number, institution: InstitutionCode::parse(ENTE).unwrap() })
    }

    #[rstest]
    #[case(NUMBER, ENTE)]
    #[case(" 3120 0000 0000 4711 79 ", "800.417.80356")]
    #[case("3120-0000-0000-4711-79\u{a0}", ENTE)]
    #[case("PAGOPA|002|312000000000471179|80041780356|12000", "")]
    fn as_people_write_it(#[case] codice: &str, #[case] ente: &str) {
        assert_eq!(form(codice, ente).read(), asked());
    }

    #[rstest]
    #[case("", ENTE, Some("Scrivi il codice avviso"), None)]
    #[case("31200000000047117", ENTE, Some("ne hai scritte 17"), None)]
    #[case("31200000000047117O", ENTE, Some("sole cifre"), None)]
    #[case("712000000000471179", ENTE, Some("prima cifra"), None)]
    #[case(NUMBER, "", None, Some("Scrivi il codice fiscale"))]
    #[case(NUMBER, "8004178035", None, Some("ne hai scritte 10"))]
    #[case(NUMBER, "RSSMRA80A01H501U", None, Some("Non è il tuo codice fiscale"))]
    #[case("١٢", "٣", Some("sole cifre"), Some("sole cifre"))]
    #[case("PAGOPA|002|1|2|3", "", Some("ne hai scritte 1:"), Some("ne hai scritte 1:"))]
    fn what_is_wrong_is_told_with_the_remedy(
        #[case] codice: &str,
        #[case] ente: &str,
        #[case] number: Option<&str>,
        #[case] institution: Option<&str>,
    ) {
        let Reading::Wrong(wrong) = form(codice, ente).read() else { panic!("{codice:?} {ente:?} was taken") };
        for (told, expected) in [(&wrong.number, number), (&wrong.institution, institution)] {
            assert_eq!(told.is_some(), expected.is_some(), "{wrong:?}");
            assert!(told.as_deref().unwrap_or_default().contains(expected.unwrap_or_default()), "{wrong:?}");
        }
    }

    #[test]
    fn wrong_check_digits_are_a_doubt_that_he_can_dispel() {
        let wrong = "312000000000471178";
        let doubtful = |conferma: Option<&str>| Form { conferma: conferma.map(Into::into), ..form(wrong, ENTE) };
        // What he confirmed before was another number.
        for conferma in [None, Some(""), Some("si"), Some("312000000000471177"), Some(NUMBER)] {
            let told = doubtful(conferma).read();
            assert!(matches!(&told, Reading::Doubtful(number) if number.as_str() == wrong), "{conferma:?}: {told:?}");
        }
        let sure = doubtful(Some(wrong)).read();
        assert!(matches!(sure, Reading::Asked(asked) if asked.number.as_str() == wrong));
    }

    #[test]
    fn nothing_was_written() {
        assert_eq!(Form::default().read(), Reading::Blank);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(codice in ".{0,40}", ente in ".{0,40}") {
            let _ = form(&codice, &ente).read();
        }
    }
}
