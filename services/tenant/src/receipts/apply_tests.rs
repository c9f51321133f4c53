//! What receipts do, row by row and over every sequence.

use fiorino_domain::position::InstalmentState::{self, *};
use fiorino_proto::{
    payments::v1::PaymentRecorded,
    receipts::v1::{Receipt, ReceiptTransfer},
};
use proptest::{prelude::*, sample::select};
use prost::Message as _;
use rstest::rstest;

use super::*;

const US: &str = "80012340560";
const OTHER: &str = "80001234567";
const ID: i32 = 7;

fn at() -> Timestamp {
    "2026-11-24T10:00:00Z".parse().unwrap()
}

fn receipt(receipt_id: &str, notice_number: &str) -> Receipt {
    Receipt {
        institution: US.to_owned(),
        issuer: US.to_owned(),
        receipt_id: receipt_id.to_owned(),
        notice_number: notice_number.to_owned(),
        version: 1,
        amount_cents: Some(100),
        outcome: "OK".to_owned(),
        ..Receipt::default()
    }
}

/// A position: one instalment per element, (option, state).
fn instalments(of: &[(i16, InstalmentState)]) -> Vec<Locked> {
    let instalment = |(place, (option_no, state)): (usize, &(i16, InstalmentState))| Locked {
        institution_id: ID,
        nav: place.to_string(),
        position_id: Uuid::nil(),
        option_no: *option_no,
        state: *state,
        version: 3,
        amount_cents: 100,
        receipt_id: (*state == Paid).then(|| "before".to_owned()),
    };
    of.iter().enumerate().map(instalment).collect()
}

/// As the database answers when none of the receipts was seen before.
fn known(arrived: &[Arrived], instalments: Vec<Locked>) -> Known {
    let ours: Vec<_> = arrived.iter().filter(|one| one.told.institution == US && !one.is_nobodys()).collect();
    let facts = PositionFacts { client_reference: "ref".to_owned(), service_code: "TARI".to_owned() };
    Known {
        institutions: HashMap::from([(US.to_owned(), ID)]),
        fresh: ours.iter().map(|one| one.key(ID)).collect(),
        versions: ours.iter().map(|one| (one.key(ID), one.told.content_hash.to_vec())).collect(),
        instalments,
        positions: HashMap::from([((ID, Uuid::nil()), facts)]),
        ..Known::default()
    }
}

fn arrived(receipts: Vec<Receipt>) -> Vec<Arrived> {
    receipts.into_iter().map(|receipt| Arrived::read(receipt, at())).collect()
}

fn kinds(plan: &Plan<'_>) -> Vec<CaseKind> {
    plan.cases.iter().map(|case| case.kind).collect()
}

fn event(plan: &Plan<'_>) -> PaymentRecorded {
    assert_eq!(plan.messages.len(), 1);
    PaymentRecorded::decode(plan.messages[0].payload.clone()).unwrap()
}

#[rstest]
#[case(Payable, ApplyOutcome::Applied, &[])]
#[case(ReportedWithoutReceipt, ApplyOutcome::Applied, &[])]
#[case(Draft, ApplyOutcome::Case, &[CaseKind::ReceiptUnpublished])]
#[case(Superseded, ApplyOutcome::Case, &[CaseKind::ReceiptLate])]
#[case(Cancelled, ApplyOutcome::Case, &[CaseKind::ReceiptLate])]
fn from_every_state_it_is_paid(
    #[case] state: InstalmentState,
    #[case] outcome: ApplyOutcome,
    #[case] cases: &[CaseKind],
) {
    let arrived = arrived(vec![receipt("r", "0")]);
    let plan = plan(&arrived, known(&arrived, instalments(&[(1, state)])), at());
    assert_eq!((plan.outcomes.as_slice(), kinds(&plan).as_slice()), ([outcome].as_slice(), cases));
    assert_eq!((plan.moves[0].state, plan.moves[0].receipt_id.as_deref(), plan.moves[0].version), (Paid, Some("r"), 3));
    let event = event(&plan);
    assert_eq!(
        (event.amount_cents, event.client_reference.as_str(), event.service_code.as_str()),
        (Some(100), "ref", "TARI")
    );
    assert_eq!(event.position_id, Uuid::nil().to_string());
}

#[test]
fn a_second_receipt_is_a_double_payment_and_the_first_one_stays() {
    let arrived = arrived(vec![receipt("r", "0")]);
    let plan = plan(&arrived, known(&arrived, instalments(&[(1, Paid)])), at());
    assert_eq!(kinds(&plan), [CaseKind::ReceiptDouble]);
    assert!(plan.moves.is_empty(), "nothing changes on the row");
    assert_eq!((plan.receipts.len(), plan.messages.len()), (1, 1), "it is kept and told all the same");
}

/// Loaded as paid: the same payment or a second one is for a person; what comes after that is a second one.
#[test]
fn the_first_receipt_of_what_was_paid_elsewhere_is_its_own_case() {
    let arrived = arrived(vec![receipt("r1", "0"), receipt("r2", "0")]);
    let mut rows = instalments(&[(1, Paid), (2, Superseded)]);
    rows[0].receipt_id = None;
    let plan = plan(&arrived, known(&arrived, rows), at());
    assert_eq!(kinds(&plan), [CaseKind::ReceiptPaidElsewhere, CaseKind::ReceiptDouble]);
    let moves: Vec<_> = plan.moves.iter().map(|one| (one.nav.as_str(), one.state, one.receipt_id.as_deref())).collect();
    assert_eq!(moves, [("0", Paid, Some("r1"))]);
}

#[test]
fn two_receipts_in_one_batch() {
    let arrived = arrived(vec![receipt("r1", "0"), receipt("r2", "0")]);
    let plan = plan(&arrived, known(&arrived, instalments(&[(1, Payable)])), at());
    assert_eq!(plan.outcomes, [ApplyOutcome::Applied, ApplyOutcome::Case]);
    assert_eq!(kinds(&plan), [CaseKind::ReceiptDouble]);
    assert_eq!(plan.moves.len(), 1);
    assert_eq!(plan.moves[0].receipt_id.as_deref(), Some("r1"));
}

#[test]
fn the_same_receipt_twice_in_one_batch_counts_once() {
    let arrived = arrived(vec![receipt("r", "0"), receipt("r", "0")]);
    let plan = plan(&arrived, known(&arrived, instalments(&[(1, Payable)])), at());
    assert_eq!(plan.outcomes, [ApplyOutcome::Applied, ApplyOutcome::Repeated]);
    assert_eq!((plan.receipts.len(), plan.messages.len(), plan.cases.len()), (1, 1, 0));
}

#[test]
fn the_other_options_are_superseded_and_the_other_instalments_are_not() {
    let arrived = arrived(vec![receipt("r", "0")]);
    let rows = instalments(&[
        (1, Payable),
        (1, Payable),
        (2, Payable),
        (3, Draft),
        (3, Cancelled),
        (2, ReportedWithoutReceipt),
    ]);
    let plan = plan(&arrived, known(&arrived, rows), at());
    let moves: Vec<_> = plan.moves.iter().map(|one| (one.nav.as_str(), one.state)).collect();
    assert_eq!(moves, [("0", Paid), ("2", Superseded), ("3", Superseded), ("4", Superseded), ("5", Superseded)]);
    assert_eq!(kinds(&plan), [CaseKind::FlowNotPayable], "what a flow reported as paid is for a person");
}

#[test]
fn an_amount_is_compared_with_the_activation_and_without_one_with_the_instalment() {
    let receipts = arrived(vec![Receipt { amount_cents: Some(90), ..receipt("r", "0") }]);
    let plain = plan(&receipts, known(&receipts, instalments(&[(1, Payable)])), at());
    assert_eq!((kinds(&plain), plain.moves[0].state), (vec![CaseKind::ReceiptAmountDiffers], Paid));
    assert_eq!(plain.cases[0].detail, json!({ "paid_cents": 90, "expected_cents": 100 }));
    let mut activated = known(&receipts, instalments(&[(1, Payable)]));
    activated.activated.insert(receipts[0].key(ID), Activated { cents: 90, transfers: Vec::new() });
    assert!(plan(&receipts, activated, at()).cases.is_empty(), "paid as it was asked for");
}

#[test]
fn an_unknown_notice_is_kept_told_and_a_case() {
    let arrived = arrived(vec![receipt("r", "99")]);
    let plan = plan(&arrived, known(&arrived, Vec::new()), at());
    assert_eq!(
        (plan.outcomes.as_slice(), kinds(&plan)),
        ([ApplyOutcome::Case].as_slice(), vec![CaseKind::ReceiptUnknownNotice])
    );
    assert_eq!((plan.receipts.len(), event(&plan).position_id.as_str()), (1, ""));
}

#[test]
fn a_receipt_that_is_not_ok_pays_nothing() {
    let arrived = arrived(vec![Receipt { outcome: "KO".to_owned(), ..receipt("r", "0") }]);
    let plan = plan(&arrived, known(&arrived, instalments(&[(1, Payable)])), at());
    assert_eq!(kinds(&plan), [CaseKind::ReceiptOutcome]);
    assert_eq!((plan.moves.len(), plan.messages.len(), plan.receipts.len()), (0, 0, 1));
}

#[test]
fn a_beneficiary_gets_its_own_transfers_and_never_a_case() {
    let transfer = |id, amount_cents, beneficiary: &str| ReceiptTransfer {
        id,
        amount_cents: Some(amount_cents),
        beneficiary: beneficiary.to_owned(),
        ..ReceiptTransfer::default()
    };
    let transfers = vec![transfer(1, 70, OTHER), transfer(2, 20, US), transfer(3, 10, US)];
    let arrived = arrived(vec![Receipt { issuer: OTHER.to_owned(), transfers, ..receipt("r", "0") }]);
    let plan = plan(&arrived, known(&arrived, instalments(&[(1, Payable)])), at());
    assert_eq!((plan.outcomes.as_slice(), plan.cases.len()), ([ApplyOutcome::Beneficiary].as_slice(), 0));
    assert!(plan.moves.is_empty(), "a notice of ours with the same number is another one");
    let event = event(&plan);
    assert_eq!((event.amount_cents, event.transfers.len(), event.issuer.as_str()), (Some(30), 2, OTHER));
}

#[test]
fn findings_of_the_inbox_become_cases_and_the_payment_counts() {
    let findings = ["receipt_schema", "receipt_path_mismatch", "from_the_future"].map(str::to_owned).to_vec();
    let arrived = arrived(vec![Receipt { findings, ..receipt("r", "0") }]);
    let plan = plan(&arrived, known(&arrived, instalments(&[(1, Payable)])), at());
    assert_eq!(kinds(&plan), [CaseKind::ReceiptSchema, CaseKind::ReceiptPathMismatch, CaseKind::ReceiptSchema]);
    assert_eq!(plan.cases[2].detail, json!({ "code": "from_the_future" }), "a code that is not ours yet is not lost");
    assert_eq!((plan.outcomes[0], plan.moves[0].state), (ApplyOutcome::Case, Paid));
}

#[rstest]
#[case("unknown")]
#[case(US)]
fn what_was_never_ours_is_a_case_and_no_payment(#[case] institution: &str) {
    let findings = vec!["addressee_never_ours".to_owned()];
    let arrived = arrived(vec![Receipt { institution: institution.to_owned(), findings, ..receipt("r", "0") }]);
    let plan = plan(&arrived, known(&arrived, instalments(&[(1, Payable)])), at());
    assert_eq!(
        (plan.outcomes.as_slice(), kinds(&plan)),
        ([ApplyOutcome::Case].as_slice(), vec![CaseKind::AddresseeNeverOurs])
    );
    assert_eq!((plan.moves.len(), plan.messages.len(), plan.receipts.len()), (0, 0, 0));
    assert_eq!(plan.cases[0].institution_id, if institution == US { ID } else { NO_INSTITUTION });
    assert_eq!(plan.cases[0].key, format!("{institution}/r/1"));
}

#[test]
fn of_an_institution_that_is_not_known_yet_nothing_is_done() {
    let ours = receipt("r", "0");
    let arrived = arrived(vec![Receipt { institution: "unknown".to_owned(), ..ours.clone() }, ours]);
    let plan = plan(&arrived, known(&arrived, instalments(&[(1, Payable)])), at());
    assert_eq!(plan.outcomes, [ApplyOutcome::Unspecified, ApplyOutcome::Applied], "the inbox keeps it");
    assert_eq!((kinds(&plan).len(), plan.moves.len(), plan.messages.len(), plan.receipts.len()), (0, 1, 1, 1));
}

#[test]
fn a_further_version_is_a_case_and_no_second_payment() {
    let receipts = arrived(vec![receipt("r", "0"), Receipt { version: 2, ..receipt("r", "0") }]);
    let together = plan(&receipts, known(&receipts, instalments(&[(1, Payable)])), at());
    assert_eq!(together.outcomes, [ApplyOutcome::Applied, ApplyOutcome::Case]);
    assert_eq!(
        (kinds(&together), together.cases[0].detail.clone()),
        (vec![CaseKind::ReceiptVersion], json!({ "version": 2, "others": [1], "amount_cents": 100 }))
    );
    assert_eq!(together.messages.len(), 2, "consumers take the higher version");
    let ids: HashSet<_> = together.messages.iter().map(|message| message.event_id).collect();
    assert_eq!(ids.len(), 2);
}

#[test]
fn the_same_key_with_other_content_is_told() {
    let receipts = arrived(vec![Receipt { content_hash: vec![1; 32].into(), ..receipt("r", "0") }]);
    let before = |hash: Vec<u8>| Known {
        fresh: HashSet::new(),
        versions: HashMap::from([(receipts[0].key(ID), hash)]),
        ..known(&receipts, instalments(&[(1, Paid)]))
    };
    assert_eq!(plan(&receipts, before(vec![1; 32]), at()).outcomes, [ApplyOutcome::Repeated]);
    let other = plan(&receipts, before(vec![2; 32]), at());
    assert_eq!(
        (other.outcomes.as_slice(), kinds(&other)),
        ([ApplyOutcome::Case].as_slice(), vec![CaseKind::ReceiptVersion])
    );
    assert_eq!((other.messages.len(), other.receipts.len()), (0, 0));
}

/// Written into the outbox and compared by consumers: must not change with a release.
#[test]
fn event_ids_follow_from_the_receipt() {
    let arrived = arrived(vec![receipt("r", "0"), receipt("s", "0")]);
    let id = |at: usize| {
        let plan = plan(&arrived[at..=at], known(&arrived, instalments(&[(1, Payable)])), super::tests::at());
        plan.messages[0].event_id
    };
    assert_eq!(id(0), id(0));
    assert_ne!(id(0), id(1));
    assert_eq!(id(0).to_string(), "a0893685-787b-82e5-b1ae-c7bc1041c428");
}

fn receipts() -> impl Strategy<Value = Vec<Receipt>> {
    let one = (select(vec!["a", "b", "c", "d", "e"]), select(vec!["0", "1", "2", "3", "9"]), 1u32..3);
    let told = one.prop_map(|(id, notice, version)| Receipt { version, ..receipt(id, notice) });
    prop::collection::vec(told, 0..24)
}

proptest! {
    /// Every fresh receipt is kept and told once, pays at most one notice, and a notice is paid by at most one without a case.
    #[test]
    fn every_receipt_counts_once(receipts in receipts(), states in prop::collection::vec(select(InstalmentState::ALL.to_vec()), 4)) {
        let rows: Vec<_> = [1, 1, 2, 3].into_iter().zip(states).collect();
        let before = instalments(&rows);
        let arrived = arrived(receipts);
        let distinct: HashSet<_> = arrived.iter().map(|one| one.key(ID)).collect();
        let plan = plan(&arrived, known(&arrived, before.clone()), at());
        prop_assert_eq!(plan.outcomes.len(), arrived.len());
        prop_assert_eq!(plan.receipts.len(), distinct.len());
        prop_assert_eq!(plan.messages.len(), distinct.len());
        let repeated = plan.outcomes.iter().filter(|outcome| **outcome == ApplyOutcome::Repeated).count();
        prop_assert_eq!(repeated, arrived.len() - distinct.len());
        let applied = plan.outcomes.iter().filter(|outcome| **outcome == ApplyOutcome::Applied).count();
        prop_assert!(applied <= plan.moves.iter().filter(|one| one.receipt_id.is_some()).count());
        for one in &plan.moves {
            let row = before.iter().find(|row| row.nav == one.nav).unwrap();
            prop_assert!(row.state != Paid, "a paid row is written again");
            prop_assert!(matches!(one.state, Paid | Superseded));
            prop_assert_eq!(one.receipt_id.is_some(), one.state == Paid);
        }
    }
}
