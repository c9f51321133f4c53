//! Codes, numbers, dates and amounts as people and other systems write them.

use fiorino_domain::{
    date::LegalDate,
    debtor::PersonKind,
    fiscal_code::{DebtorCode, FiscalCode},
    iban::Iban,
    institution::InstitutionCode,
    money::Cents,
    notice::{Iuv, NoticeNumber, SegregationCode},
    taxonomy::TaxonomyCode,
    text::Text,
};

pub(crate) const DICTIONARY: &[&str] = &[
    "IT60X0542811101000000123456",
    "RSSMRA80A01H501U",
    "77777777777",
    "312000000000471179",
    "9/0101101IM/",
    "2026-02-29",
    "2028-02-29",
    "999999999.99",
    "ANONIMO",
    "\u{e8}",
    "\u{1d7d9}",
    "0",
    "+",
    "-",
];

/// Each reader gets the same text; what was read says the same when it is written and read again.
pub(crate) fn codes(data: &[u8]) {
    let text = &*String::from_utf8_lossy(data);
    if let Ok(iban) = Iban::parse(text) {
        assert_eq!(Iban::parse(iban.expose()).as_ref(), Ok(&iban));
        assert!(!format!("{iban:?}").contains(iban.expose()), "an account number is masked");
        let _parts = (iban.tail(), iban.is_postal(), iban.postal_account());
    }
    if let Ok(code) = FiscalCode::parse(text) {
        assert_eq!(FiscalCode::parse(code.expose()).as_ref(), Ok(&code));
        assert!(!format!("{code:?}").contains(code.expose()), "a person's code is masked");
        let _checked = code.check_digit_ok();
    }
    for kind in [PersonKind::Natural, PersonKind::Legal] {
        let Ok(code) = DebtorCode::parse(text, kind) else { continue };
        assert_eq!(DebtorCode::parse(code.expose(), kind).as_ref(), Ok(&code));
    }
    if let Ok(code) = InstitutionCode::parse(text) {
        assert_eq!(InstitutionCode::parse(code.as_str()), Ok(code));
        let _checked = code.check_digit_ok();
    }
    if let Ok(number) = NoticeNumber::parse(text) {
        assert_eq!(NoticeNumber::parse(number.as_str()), Ok(number));
        let parts = (number.code(), number.base(), number.check_digits_ok());
        assert_eq!(Iuv::parse(number.iuv().as_str()), Ok(number.iuv()), "{parts:?}");
        if let (Some(code), Some(base), true) = parts {
            assert_eq!(NoticeNumber::compose(number.aux_digit(), code, base), Ok(number), "composed again");
        }
    }
    if let Ok(code) = SegregationCode::parse(text) {
        assert_eq!(SegregationCode::parse(code.as_str()), Ok(code));
    }
    if let Ok(code) = TaxonomyCode::parse(text) {
        assert_eq!(TaxonomyCode::parse(code.as_str()), Ok(code));
        let bare = TaxonomyCode::parse(code.bare()).map(|bare| bare.bare().to_owned());
        assert_eq!(bare.as_deref(), Ok(code.bare()), "the prefix alone is another one");
    }
    if let Ok(date) = LegalDate::parse(text) {
        assert_eq!(LegalDate::parse(&date.to_string()), Ok(date));
        assert!(
            date.fifth_year_end() > date && date.is_over(date.end_of_day()) != date.is_over(date.end_of_day() - ONE)
        );
    }
    if let Ok(amount) = Cents::parse_decimal(text) {
        assert_eq!(Cents::parse_decimal(&amount.to_decimal()), Ok(amount));
        assert_eq!(Cents::new(amount.get()), Ok(amount));
    }
    if let Ok(read) = Text::<140>::parse(text) {
        assert_eq!(Text::<140>::parse(read.as_str()), Ok(read));
    }
}

const ONE: std::time::Duration = std::time::Duration::from_nanos(1);

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "IT60X0542811101000000123456",
        "IT81A0760101600000012345678",
        "DE89370400440532013000",
        "RSSMRA80A01H501U",
        "15376371009",
        "77777777777",
        "312000000000471179",
        "001000000012345678",
        "12",
        "9/0101101IM/",
        "0101101IM",
        "2026-12-31",
        "120.00",
        "0.01",
        "Imposta unit\u{e0}",
    ];
    texts.map(|text| text.as_bytes().to_vec()).into()
}
