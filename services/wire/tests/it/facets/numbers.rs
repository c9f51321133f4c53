//! Amounts, counts, dates, booleans.

use fiorino_domain::money::Cents;
use fiorino_wire::{Rule, write_verify};
use rstest::rstest;

use super::{refuses, takes};
use crate::{
    answers::{
        assert_refused, assert_taken, assert_verify_refused, cents, golden_payment, golden_verify, notice, transfer,
    },
    messages::{GET_PAYMENT, GET_PAYMENT_V2, SEND_RT, SEND_RT_V2, full, get_payment_of, receipt_of, with},
    xsd,
};

const MALFORMED: [&str; 9] = ["120", "120.0", "120.000", "11,34", "-1.00", "+1.00", ".00", "1e2.00", ""];

#[test]
fn st_amount_pattern() {
    for message in [GET_PAYMENT, GET_PAYMENT_V2] {
        for amount in ["0120.00", " 120.00 ", "120.00"] {
            takes(message, "amount", amount);
            assert_eq!(get_payment_of(&with(&full(message), "amount", amount)).amount.unwrap().get(), 12_000);
            let nothing = get_payment_of(&with(&full(message), "amount", "0.00"));
            assert_eq!(nothing.amount, Some(Cents::ZERO), "asked for as stAmount: recorded, not judged");
        }
        for amount in MALFORMED {
            refuses(message, "amount", amount, Rule::Amount);
        }
    }
    for (message, element) in [(SEND_RT, "paymentAmount"), (SEND_RT_V2, "fee"), (SEND_RT_V2, "primaryCiIncurredFee")] {
        takes(message, element, "0.00");
        for amount in MALFORMED {
            refuses(message, element, amount, Rule::Amount);
        }
    }
}

#[test]
fn st_amount_max_inclusive() {
    for (message, element) in [(GET_PAYMENT, "amount"), (SEND_RT, "paymentAmount"), (SEND_RT_V2, "fee")] {
        takes(message, element, "999999999.99");
        takes(message, element, "000999999999.99");
        refuses(message, element, "1000000000.00", Rule::Amount);
    }
}

#[test]
fn st_amount_not_zero_pattern() {
    for amount in MALFORMED {
        refuses(SEND_RT, "transferAmount", amount, Rule::Amount);
        refuses(SEND_RT_V2, "transferAmount", amount, Rule::Amount);
        xsd::assert_invalid(&with(&golden_verify(), "amount", amount));
    }
    for amount in [1, 9, 10, 99, 100, 101, 12_345_600] {
        let message = write_verify(&fiorino_wire::VerifiedNotice { amount: cents(amount), ..notice() }).unwrap();
        xsd::assert_valid(&message);
        assert!(message.contains(&format!("<amount>{}.{:02}</amount>", amount / 100, amount % 100)));
    }
}

#[test]
fn st_amount_not_zero_min_inclusive() {
    takes(SEND_RT, "transferAmount", "0.01");
    refuses(SEND_RT, "transferAmount", "0.00", Rule::AmountNotZero);
    assert_verify_refused(
        |notice| notice.amount = Cents::ZERO,
        "paymentList.paymentOptionDescription.amount",
        Rule::AmountNotZero,
    );
    let zero = |payment: &mut fiorino_wire::Payment| {
        payment.transfers = vec![transfer(1, 0), transfer(2, 12_000)];
    };
    assert_refused(zero, "data.transferList.transfer[1].transferAmount", Rule::AmountNotZero);
    let nothing = |payment: &mut fiorino_wire::Payment| {
        payment.amount = Cents::ZERO;
        payment.transfers.clear();
    };
    assert_refused(nothing, "data.paymentAmount", Rule::AmountNotZero);
}

#[test]
fn st_amount_not_zero_max_inclusive() {
    takes(SEND_RT, "transferAmount", "999999999.99");
    refuses(SEND_RT, "transferAmount", "1000000000.00", Rule::Amount);
    assert_taken(|payment| {
        payment.amount = Cents::MAX;
        payment.transfers = vec![transfer(1, Cents::MAX.get())];
    });
    assert!(Cents::new(Cents::MAX.get() + 1).is_err());
}

/// An `xsd:int`: other spellings of 1..=5 are taken.
#[test]
fn st_id_transfer_enumeration() {
    for id in ["1", "2", "3", "4", "5", "05", "+5", " 5 "] {
        takes(SEND_RT, "idTransfer", id);
    }
    assert_eq!(receipt_of(&with(&full(SEND_RT), "idTransfer", " +05 ")).receipt.transfers[0].id, Some(5));
    for id in ["0", "6", "11", "a", "", "-1", "1.0", "261", "99999999999"] {
        refuses(SEND_RT, "idTransfer", id, Rule::Enumeration("1, 2, 3, 4, 5"));
    }
    let golden = golden_payment(fiorino_wire::Version::V1);
    assert!(golden.contains("<idTransfer>1</idTransfer>") && golden.contains("<idTransfer>2</idTransfer>"));
}

#[rstest]
#[case("2024-10-05", "2024-10-05")]
#[case("2024-10-05+02:00", "2024-10-05")]
#[case("2024-10-05-12:30", "2024-10-05")]
#[case("2024-10-05Z", "2024-10-05")]
#[case("2024-02-29", "2024-02-29")]
#[case("0001-01-01", "0001-01-01")]
#[case("9999-12-31", "9999-12-31")]
fn st_iso_date(#[case] text: &str, #[case] day: &str) {
    takes(GET_PAYMENT, "dueDate", text);
    takes(SEND_RT, "applicationDate", text);
    assert_eq!(get_payment_of(&with(&full(GET_PAYMENT), "dueDate", text)).due_date.unwrap().to_string(), day);
}

#[rstest]
fn st_iso_date_refused(
    #[values(
        "",
        "12-28-2022",
        "2023-02-29",
        "2024-13-01",
        "2024-1-05",
        "20241005",
        "2024-10-05T00:00:00",
        "2024-10-05+15:00",
        "2024-10-05+0200",
        "24-10-05",
        "02024-10-05",
        "2024-10-05-01"
    )]
    text: &str,
) {
    refuses(GET_PAYMENT_V2, "dueDate", text, Rule::Date);
    refuses(SEND_RT_V2, "transferDate", text, Rule::Date);
}

/// XML Schema collapses white space around dates; libxml2 2.9 does not.
#[test]
fn white_space_around_dates() {
    let message =
        with(&with(&full(SEND_RT), "transferDate", " 2024-02-29\n"), "paymentDateTime", "\t2026-06-16T10:15:30Z ");
    let message = receipt_of(&message);
    assert_eq!(message.findings, []);
    assert_eq!(message.receipt.transfer_date.unwrap().to_string(), "2024-02-29");
}

/// Valid by the XSD, but in no calendar of ours.
#[rstest]
fn years_beyond_the_calendar(#[values("10000-01-01", "-0044-03-15", "-10000-01-01Z")] text: &str) {
    let message = with(&full(GET_PAYMENT), "dueDate", text);
    xsd::assert_valid(&message);
    assert_eq!(crate::messages::violations(&message)[0].rule, Rule::Year);
    assert_eq!(receipt_of(&with(&full(SEND_RT), "transferDate", text)).receipt.transfer_date, None);
}

#[rstest]
#[case("2026-06-16T10:15:30", "2026-06-16T08:15:30Z")] // summer time in Italy
#[case("2026-01-16T10:15:30", "2026-01-16T09:15:30Z")]
#[case("2026-06-16T10:15:30Z", "2026-06-16T10:15:30Z")]
#[case("2026-06-16T10:15:30.5-02:00", "2026-06-16T12:15:30.5Z")]
#[case("2026-06-16T10:15:30.1234567899Z", "2026-06-16T10:15:30.123456789Z")]
#[case("2026-12-31T24:00:00Z", "2027-01-01T00:00:00Z")]
#[case("2026-06-16T10:15:30+14:00", "2026-06-15T20:15:30Z")]
fn st_iso_date_time(#[case] text: &str, #[case] moment: &str) {
    takes(SEND_RT, "paymentDateTime", text);
    takes(SEND_RT_V2, "paymentDateTime", text);
    let receipt = receipt_of(&with(&full(SEND_RT), "paymentDateTime", text)).receipt;
    assert_eq!(receipt.paid_at.unwrap().to_string(), moment);
}

#[rstest]
fn st_iso_date_time_refused(
    #[values(
        "",
        "2026-06-16",
        "2026-06-16 10:15:30",
        "2026-06-16T10:15",
        "2026-06-16T25:00:00",
        "2026-06-16T10:60:00",
        "2026-06-16T10:15:60",
        "2026-06-16T10:15:30.",
        "2026-06-16T10:15:30+02",
        "2026-06-31T10:15:30",
        "T10:15:30",
        "2026-06-16T24:00:01"
    )]
    text: &str,
) {
    refuses(SEND_RT, "paymentDateTime", text, Rule::DateTime);
}

#[test]
fn boolean() {
    for (text, expect) in [("true", true), ("1", true), (" false ", false), ("0", false)] {
        takes(SEND_RT, "standIn", text);
        assert_eq!(receipt_of(&with(&full(SEND_RT), "standIn", text)).receipt.stand_in, Some(expect));
    }
    for text in ["", "TRUE", "3", "yes"] {
        refuses(SEND_RT_V2, "standIn", text, Rule::Boolean);
        xsd::assert_invalid(&with(&golden_verify(), "allCCP", text));
    }
}
