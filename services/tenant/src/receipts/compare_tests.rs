//! What is a difference and what is none, by example and for every receipt.

use proptest::{prelude::*, sample::select};
use rstest::rstest;

use super::*;

const US: &str = "80190000010";
const PROVINCE: &str = "80190000028";
const OURS: &str = "IT60X0542811101000000123456";
const POSTAL: &str = "IT66A0760103200000000012345";
const THEIRS: &str = "IT66A0306909606100000012345";
const NUMBER: &str = "312000000000471179";

fn answered(id: u32, cents: i64, beneficiary: &str, iban: &str) -> Answered {
    Answered { id, cents, beneficiary: beneficiary.into(), iban: iban.into(), alternative: None }
}

fn transfer(id: u32, cents: i64, beneficiary: &str, iban: &str) -> ReceiptTransfer {
    ReceiptTransfer {
        id,
        amount_cents: Some(cents),
        beneficiary: beneficiary.into(),
        iban: iban.into(),
        ..ReceiptTransfer::default()
    }
}

fn receipt(cents: i64, transfers: Vec<ReceiptTransfer>) -> Receipt {
    Receipt {
        notice_number: NUMBER.into(),
        iuv: NUMBER[1..].into(),
        amount_cents: Some(cents),
        transfers,
        ..Receipt::default()
    }
}

/// TARI of 100.00: 95.00 to us, 5.00 to the province.
fn tari() -> Activated {
    Activated { cents: 10_000, transfers: vec![answered(1, 9_500, US, OURS), answered(2, 500, PROVINCE, THEIRS)] }
}

#[rstest]
#[case::as_answered(vec![transfer(1, 9_500, US, OURS), transfer(2, 500, PROVINCE, THEIRS)], &[])]
#[case::in_another_order(vec![transfer(2, 500, PROVINCE, THEIRS), transfer(1, 9_500, US, OURS)], &[])]
#[case::spelled_otherwise(vec![transfer(1, 9_500, US, "it60 x054 2811 1010 0000 0123 456"), transfer(2, 500, PROVINCE, THEIRS)], &[])]
#[case::another_account(vec![transfer(1, 9_500, US, THEIRS), transfer(2, 500, PROVINCE, THEIRS)], &["account"])]
#[case::another_beneficiary(vec![transfer(1, 9_500, "80190000770", OURS), transfer(2, 500, PROVINCE, THEIRS)], &["beneficiary"])]
#[case::another_split(vec![transfer(1, 5_000, US, OURS), transfer(2, 5_000, PROVINCE, THEIRS)], &["amount"])]
#[case::all_to_the_issuer(vec![transfer(1, 10_000, US, OURS)], &["transfers", "amount"])]
#[case::one_more(
    vec![transfer(1, 9_500, US, OURS), transfer(2, 500, PROVINCE, THEIRS), transfer(3, 1, US, OURS)],
    &["transfers", "sum"]
)]
#[case::less(vec![transfer(1, 9_500, US, OURS), transfer(2, 400, PROVINCE, THEIRS)], &["amount", "sum"])]
#[case::ids_change_places(vec![transfer(2, 9_500, US, OURS), transfer(1, 500, PROVINCE, THEIRS)], &["beneficiary", "account", "amount"])]
#[case::another_id(vec![transfer(1, 9_500, US, OURS), transfer(3, 500, PROVINCE, THEIRS)], &["transfers"])]
#[case::an_id_twice(vec![transfer(1, 9_500, US, OURS), transfer(1, 500, PROVINCE, THEIRS)], &["transfers"])]
#[case::an_id_that_cannot_be_read(vec![transfer(1, 9_500, US, OURS), transfer(0, 500, PROVINCE, THEIRS)], &[])]
#[case::not_told(vec![], &[])]
fn transfers_are_compared_with_what_was_answered(#[case] transfers: Vec<ReceiptTransfer>, #[case] differs: &[&str]) {
    let found = compare(&receipt(10_000, transfers), Some(&tari()));
    let names: Vec<_> = found.kinds.iter().map(|it| it.as_str()).collect();
    assert_eq!(names, differs);
}

#[test]
fn names_texts_and_categories_are_no_difference() {
    let told = |transfer: ReceiptTransfer| ReceiptTransfer {
        remittance: "otherwise".into(),
        taxonomy_code: "9/0000000XX/".into(),
        ..transfer
    };
    let transfers = vec![told(transfer(1, 9_500, US, OURS)), told(transfer(2, 500, PROVINCE, THEIRS))];
    assert!(compare(&receipt(10_000, transfers), Some(&tari())).is_empty());
}

/// A slip is paid to the postal number of the same account, where that was answered beside the bank's (pagopa.md 2.6).
#[test]
fn either_number_that_was_answered_is_right() {
    let both = Answered { alternative: Some(POSTAL.into()), ..answered(1, 100, US, OURS) };
    let paid_to = |iban: &str, answered: &Answered| {
        let activated = Activated { cents: 100, transfers: vec![answered.clone()] };
        compare(&receipt(100, vec![transfer(1, 100, US, iban)]), Some(&activated)).kinds
    };
    assert!(paid_to(OURS, &both).is_empty() && paid_to(POSTAL, &both).is_empty());
    assert_eq!(paid_to(THEIRS, &both), BTreeSet::from([Difference::Account]));
    assert_eq!(paid_to(POSTAL, &answered(1, 100, US, OURS)), BTreeSet::from([Difference::Account]), "not answered");
}

#[test]
fn a_stamp_is_no_account() {
    let stamp = ReceiptTransfer { stamp: true, ..transfer(1, 1_600, US, "") };
    let found = |iban: &str, told: &ReceiptTransfer| {
        let activated = Activated { cents: 1_600, transfers: vec![answered(1, 1_600, US, iban)] };
        compare(&receipt(1_600, vec![told.clone()]), Some(&activated)).kinds
    };
    assert!(found("", &stamp).is_empty());
    let other = BTreeSet::from([Difference::Account]);
    assert_eq!((found(OURS, &stamp), found("", &transfer(1, 1_600, US, OURS))), (other.clone(), other));
}

/// What cannot be read is told as such, once.
#[test]
fn what_is_not_told_is_no_difference() {
    let unread = ReceiptTransfer {
        amount_cents: None,
        beneficiary: String::new(),
        iban: String::new(),
        ..transfer(1, 0, "", "")
    };
    let transfers = vec![unread, transfer(2, 500, PROVINCE, THEIRS)];
    assert!(compare(&receipt(10_000, transfers.clone()), Some(&tari())).is_empty());
    let without = Receipt { amount_cents: None, ..receipt(0, transfers) };
    assert!(compare(&without, Some(&tari())).is_empty());
}

/// Another total has its own kind of case, and is not told twice.
#[test]
fn transfers_that_follow_another_total_are_one_finding() {
    let more = vec![transfer(1, 9_600, US, OURS), transfer(2, 500, PROVINCE, THEIRS)];
    assert!(compare(&receipt(10_100, more), Some(&tari())).is_empty());
    let elsewhere = vec![transfer(1, 9_600, US, THEIRS), transfer(2, 500, PROVINCE, THEIRS)];
    let found = compare(&receipt(10_100, elsewhere), Some(&tari()));
    assert_eq!(found.kinds, BTreeSet::from([Difference::Account]));
}

#[rstest]
#[case(NUMBER, &NUMBER[1..], false)]
#[case(NUMBER, "12000000000471178", true)]
#[case("012000000000471179", "000000000471179", false)]
#[case("012000000000471179", "12000000000471179", true)]
#[case("", "12000000000471179", false)]
#[case(NUMBER, "", false)]
fn the_reference_is_that_of_the_number(#[case] number: &str, #[case] iuv: &str, #[case] differs: bool) {
    let told = Receipt { notice_number: number.into(), iuv: iuv.into(), ..receipt(100, vec![]) };
    assert_eq!(compare(&told, None).kinds.contains(&Difference::Reference), differs);
}

#[test]
fn a_case_names_what_differs_and_no_number() {
    let transfers = vec![transfer(1, 9_500, US, THEIRS), transfer(2, 500, "80190000770", THEIRS)];
    let detail = compare(&receipt(10_000, transfers), Some(&tari())).detail();
    let expected = json!({
        "differs": ["beneficiary", "account"],
        "transfers": [
            { "id": 1, "differs": ["account"], "expected_cents": 9_500, "paid_cents": 9_500 },
            { "id": 2, "differs": ["beneficiary"], "expected_cents": 500, "paid_cents": 500 },
        ],
    });
    assert_eq!(detail, expected);
    assert!(!detail.to_string().contains("IT"));
}

/// Cents, beneficiary and account of each transfer.
type Shares = Vec<(i64, &'static str, &'static str)>;

fn shares() -> impl Strategy<Value = Shares> {
    prop::collection::vec((1_i64..1_000, select(vec![US, PROVINCE]), select(vec![OURS, THEIRS, ""])), 1..=5)
}

fn activated(shares: Shares) -> Activated {
    let shares = (1..).zip(shares);
    let transfers: Vec<_> =
        shares.map(|(id, (cents, beneficiary, iban))| answered(id, cents, beneficiary, iban)).collect();
    Activated { cents: transfers.iter().map(|transfer| transfer.cents).sum(), transfers }
}

/// The receipt of exactly this.
fn paid(activated: &Activated) -> Receipt {
    let told = |it: &Answered| ReceiptTransfer {
        stamp: it.iban.is_empty(),
        ..transfer(it.id, it.cents, &it.beneficiary, &it.iban)
    };
    receipt(activated.cents, activated.transfers.iter().map(told).collect())
}

proptest! {
    /// Nothing differs from itself, in whatever order it is told.
    #[test]
    fn a_receipt_of_what_was_answered_differs_in_nothing(shares in shares(), turn in 0_usize..5) {
        let activated = activated(shares);
        let mut told = paid(&activated);
        let length = told.transfers.len();
        told.transfers.rotate_left(turn % length);
        prop_assert!(compare(&told, Some(&activated)).is_empty());
    }

    /// Whatever is changed of one transfer is found, under its name and nothing else but the sum.
    #[test]
    fn every_change_is_found(shares in shares(), at in 0_usize..5, cents in 1_i64..1_000, what in 0..4) {
        let activated = activated(shares);
        let mut told = paid(&activated);
        let at = at % told.transfers.len();
        let transfer = &mut told.transfers[at];
        let expected = match what {
            0 => { transfer.beneficiary = "80190000770".into(); Difference::Beneficiary }
            1 => { transfer.iban = POSTAL.into(); transfer.stamp = false; Difference::Account }
            2 => { transfer.amount_cents = transfer.amount_cents.map(|before| before + cents); Difference::Amount }
            _ => { told.transfers.remove(at); Difference::Transfers }
        };
        prop_assume!(!told.transfers.is_empty());
        let kinds = compare(&told, Some(&activated)).kinds;
        prop_assert!(kinds.contains(&expected), "{kinds:?}");
        let sum = matches!(expected, Difference::Amount | Difference::Transfers);
        prop_assert_eq!(kinds.contains(&Difference::Sum), sum);
        prop_assert_eq!(kinds.len(), 1 + usize::from(sum));
    }

    /// However odd a receipt is, a case stays small.
    #[test]
    fn a_case_is_bounded(shares in shares(), ids in prop::collection::vec(0_u32..9, 0..40)) {
        let activated = activated(shares);
        let transfers = ids.into_iter().map(|id| transfer(id, 1, US, OURS)).collect();
        let detail = compare(&receipt(1, transfers), Some(&activated)).detail().to_string();
        prop_assert!(detail.len() < 1_000, "{detail}");
    }
}
