//! Patterns and closed lists.

use fiorino_domain::{institution::InstitutionCode, secret::Masked};
use fiorino_wire::{Account, EntityKind, Rule, Stamp, TransferType, Version, Violation, write_get_payment};

use super::{refuses, takes};
use crate::{
    answers::{assert_refused, assert_taken, full_payment, golden_stamp, golden_verify},
    messages::{
        DEMAND, GET_PAYMENT, GET_PAYMENT_V2, SEND_RT, SEND_RT_V2, VERIFY, full, get_payment_of, receipt_of, violations,
        with,
    },
    xsd,
};

const INSTITUTION: Rule = Rule::Pattern("[0-9]{11}");
const NOTICE_NUMBER: Rule = Rule::Pattern("[0-9]{18}");
const CAPITALS: Rule = Rule::Pattern("[A-Z]{2}");

#[test]
fn st_fiscal_code_pa_length() {
    for (message, element) in [(VERIFY, "fiscalCode"), (GET_PAYMENT, "fiscalCode"), (SEND_RT, "fiscalCodePA")] {
        takes(message, element, "01234567890");
        refuses(message, element, "0123456789", INSTITUTION);
        refuses(message, element, "012345678901", INSTITUTION);
        refuses(message, element, "", INSTITUTION);
    }
    assert!(InstitutionCode::parse("012345678901").is_err());
}

#[test]
fn st_fiscal_code_pa_pattern() {
    for (message, element) in [(VERIFY, "fiscalCode"), (GET_PAYMENT_V2, "fiscalCode"), (SEND_RT_V2, "fiscalCodePA")] {
        refuses(message, element, "0123456789A", INSTITUTION);
        refuses(message, element, " 0123456789", INSTITUTION);
        refuses(message, element, "٠١٢٣٤٥٦٧٨٩٠", INSTITUTION);
    }
    assert!(InstitutionCode::parse("0123456789A").is_err());
}

#[test]
fn st_notice_number_pattern() {
    for message in [VERIFY, GET_PAYMENT, GET_PAYMENT_V2, SEND_RT, SEND_RT_V2] {
        takes(message, "noticeNumber", "000000000000000000");
        takes(message, "noticeNumber", "999999999999999999");
        refuses(message, "noticeNumber", "31200000000047117", NOTICE_NUMBER);
        refuses(message, "noticeNumber", "3120000000004711790", NOTICE_NUMBER);
        refuses(message, "noticeNumber", "31200000000047117X", NOTICE_NUMBER);
        refuses(message, "noticeNumber", "", NOTICE_NUMBER);
    }
}

#[test]
fn st_nazione_provincia_pattern() {
    takes(SEND_RT, "country", "ZZ");
    for country in ["ITA", "it", "I", "", "I1", "I "] {
        refuses(SEND_RT, "country", country, CAPITALS);
        if !country.is_empty() {
            let field = "data.debtor.country";
            assert_refused(|payment| payment.debtor.country = Some(Masked::new(country.into())), field, CAPITALS);
        }
        let mut payment = full_payment();
        payment.transfers[0].account = Account::Stamp(Stamp { document_hash: [1; 32], province: country.into() });
        let field = "data.transferList.transfer[1].richiestaMarcaDaBollo.provinciaResidenza".to_owned();
        assert_eq!(write_get_payment(Version::V2, &payment), Err(Violation { field, rule: CAPITALS }));
    }
}

#[test]
fn st_e_mail_pattern() {
    let rule = Rule::Pattern(r"[a-zA-Z0-9_\.\+\-]+@[a-zA-Z0-9\-]+(\.[a-zA-Z0-9\-]+)*");
    for email in ["a@b", "A.b+c_d-e@f-g.h.i", ".@-", "1@2.3"] {
        takes(SEND_RT, "e-mail", email);
        assert_taken(|payment| payment.debtor.email = Some(Masked::new(email.into())));
    }
    for email in ["a", "a@", "@b", "a@b.", "a@.b", "a@b..c", "a@b@c", "a b@c", "à@b", "a@b_c", " a@b", ""] {
        refuses(SEND_RT, "e-mail", email, rule);
        if !email.is_empty() {
            let field = "data.debtor.e-mail";
            assert_refused(|payment| payment.debtor.email = Some(Masked::new(email.into())), field, rule);
        }
    }
}

#[test]
fn st_entity_unique_identifier_type_enumeration() {
    for (letter, kind) in [("F", EntityKind::Natural), ("G", EntityKind::Legal)] {
        takes(SEND_RT, "entityUniqueIdentifierType", letter);
        let receipt = receipt_of(&with(&full(SEND_RT), "entityUniqueIdentifierType", letter)).receipt;
        assert_eq!(receipt.debtor.unwrap().kind, Some(kind));
        assert_taken(|payment| payment.debtor.kind = kind);
    }
    for letter in ["X", "f", "", " F"] {
        refuses(SEND_RT, "entityUniqueIdentifierType", letter, Rule::Enumeration("F, G"));
    }
}

#[test]
fn st_entity_unique_identifier_type_length() {
    refuses(SEND_RT, "entityUniqueIdentifierType", "FF", Rule::Enumeration("F, G"));
    assert_eq!([EntityKind::Natural, EntityKind::Legal].map(|kind| kind.as_str().len()), [1, 1]);
}

/// Only EQ can be used today (pagopa.md 2.2); the official schema knows three more, and nothing else.
#[test]
fn st_amount_option_enumeration() {
    let message = golden_verify();
    for option in ["EQ", "LS", "GT", "ANY"] {
        xsd::assert_valid(&with(&message, "options", option));
    }
    xsd::assert_invalid(&with(&message, "options", "XX"));
    assert!(message.contains("<options>EQ</options>"));
}

#[test]
fn st_transfer_type_enumeration() {
    for message in [GET_PAYMENT, GET_PAYMENT_V2] {
        for (text, expect) in [("POSTAL", TransferType::Postal), ("PAGOPA", TransferType::Pagopa)] {
            takes(message, "transferType", text);
            let request = get_payment_of(&with(&full(message), "transferType", text));
            assert_eq!(request.transfer_type, Some(expect));
        }
        for text in ["postal", "OTHER", "", " POSTAL"] {
            refuses(message, "transferType", text, Rule::Enumeration("POSTAL, PAGOPA"));
        }
    }
}

#[test]
fn st_outcome_enumeration() {
    for message in [SEND_RT, SEND_RT_V2] {
        takes(message, "outcome", "OK");
        takes(message, "outcome", "KO");
        refuses(message, "outcome", "ok", Rule::Enumeration("OK, KO"));
        refuses(message, "outcome", "", Rule::Enumeration("OK, KO"));
    }
    xsd::assert_invalid(&with(&golden_verify(), "outcome", "MAYBE"));
}

/// The writer takes a hash of 32 bytes alone: 44 characters.
#[test]
fn st_base64_binary72_pattern() {
    let message = golden_stamp();
    assert!(message.contains("<hashDocumento>47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=</hashDocumento>"));
    xsd::assert_valid(&with(&message, "hashDocumento", "AAAA"));
    xsd::assert_invalid(&with(&message, "hashDocumento", ""));
    xsd::assert_invalid(&with(&message, "hashDocumento", &"A".repeat(76)));
}

#[test]
fn st_tipo_bollo_digitale_enumeration() {
    assert!(golden_stamp().contains("<tipoBollo>01</tipoBollo>"));
    xsd::assert_invalid(&with(&golden_stamp(), "tipoBollo", "02"));
}

#[test]
fn st_tipo_bollo_digitale_length() {
    xsd::assert_invalid(&with(&golden_stamp(), "tipoBollo", "1"));
    xsd::assert_invalid(&with(&golden_stamp(), "tipoBollo", "001"));
}

#[test]
fn base64_binary() {
    for (message, element) in [(DEMAND, "datiSpecificiServizioRequest"), (SEND_RT_V2, "MBDAttachment")] {
        for text in ["PGE+MTwvYT4=", "", " PGE+\nMTwv YT4= "] {
            takes(message, element, text);
        }
        for text in ["PGE", "PGE+MTwvYT4=="] {
            refuses(message, element, text, Rule::Base64);
        }
        // XML Schema refuses them too; libxml2 passes over what is not of the alphabet.
        for text in ["PGE+*", "è"] {
            assert_eq!(violations(&with(&full(message), element, text))[0].rule, Rule::Base64);
        }
    }
    let receipt = receipt_of(&with(&full(SEND_RT_V2), "MBDAttachment", " PGE+\nMTwv YT4= ")).receipt;
    assert_eq!(receipt.transfers[1].stamp.as_ref().unwrap().expose(), "PGE+MTwvYT4=");
}
