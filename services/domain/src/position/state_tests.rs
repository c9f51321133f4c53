//! The table row by row, and what holds over every sequence of events.

use proptest::{prelude::*, sample::select};
use rstest::rstest;

use super::{
    InstalmentEvent::{self, *},
    InstalmentState::{self, *},
    *,
};
use crate::case::CaseKind::{self, *};

/// One row per state, one column per event in the order of [`InstalmentEvent::ALL`]: the state, or `None` for refused.
#[rstest]
#[case(Draft, [Some(Payable), Some(Draft), Some(Cancelled), Some(Draft), Some(Draft), Some(Superseded), Some(Paid), Some(Paid), Some(ReportedWithoutReceipt), Some(Draft)])]
#[case(Payable, [Some(Payable), Some(Payable), Some(Cancelled), Some(Payable), Some(Payable), Some(Superseded), Some(Paid), Some(Paid), Some(ReportedWithoutReceipt), Some(Payable)])]
#[case(Paid, [None, None, None, None, None, Some(Paid), Some(Paid), Some(Paid), Some(Paid), Some(Paid)])]
#[case(Superseded, [None, None, None, None, None, Some(Superseded), Some(Paid), Some(Paid), Some(Superseded), Some(Superseded)])]
#[case(Cancelled, [None, None, Some(Cancelled), Some(Payable), Some(Draft), Some(Superseded), Some(Paid), Some(Paid), Some(Cancelled), Some(Cancelled)])]
#[case(ReportedWithoutReceipt, [None, None, None, None, None, Some(Superseded), Some(Paid), Some(Paid), Some(ReportedWithoutReceipt), Some(Payable)])]
fn every_pair_is_decided(#[case] state: InstalmentState, #[case] expect: [Option<InstalmentState>; 10]) {
    let found = InstalmentEvent::ALL.map(|event| next(state, event).ok().map(|transition| transition.state));
    assert_eq!(found, expect, "from {state}");
}

#[test]
fn cases() {
    let found: Vec<_> = InstalmentState::ALL
        .into_iter()
        .flat_map(|state| InstalmentEvent::ALL.map(|event| (state, event)))
        .filter_map(|(state, event)| Some((state, event, next(state, event).ok()?.case?)))
        .collect();
    let expect: [(InstalmentState, InstalmentEvent, CaseKind); 8] = [
        (Draft, ReceiptApplied, ReceiptUnpublished),
        (Draft, FlowReported, FlowNotPayable),
        (Paid, ReceiptApplied, ReceiptDouble),
        (Superseded, ReceiptApplied, ReceiptLate),
        (Superseded, FlowReported, FlowNotPayable),
        (Cancelled, ReceiptApplied, ReceiptLate),
        (Cancelled, FlowReported, FlowNotPayable),
        (ReportedWithoutReceipt, SiblingPaid, FlowNotPayable),
    ];
    assert_eq!(found, expect);
}

#[test]
fn refusals_are_sentences() {
    let refused = next(Paid, Cancel).unwrap_err();
    assert_eq!(refused.to_string(), "an instalment that is paid cannot be cancelled");
    let refused = next(ReportedWithoutReceipt, Change).unwrap_err();
    assert_eq!(refused.to_string(), "an instalment that is reported as paid cannot be changed");
    let refused = next(Superseded, Restore).unwrap_err();
    assert_eq!(refused.to_string(), "an instalment that is superseded cannot be restored");
}

#[test]
fn names_and_numbers_are_read_back() {
    for state in InstalmentState::ALL {
        assert_eq!(InstalmentState::parse(state.as_str()), Ok(state));
        assert_eq!(InstalmentState::from_number(state.number()), Ok(state));
    }
    assert_eq!(InstalmentState::from_number(0), Err(UnknownState));
    assert_eq!(InstalmentState::parse("Paid"), Err(UnknownState));
}

fn events() -> impl Strategy<Value = Vec<InstalmentEvent>> {
    prop::collection::vec(select(InstalmentEvent::ALL.as_slice()), 0..40)
}

/// What happens, with what was refused left out.
fn run(events: &[InstalmentEvent]) -> Vec<(InstalmentState, InstalmentEvent, Transition)> {
    let mut state = Draft;
    let mut steps = Vec::new();
    for &event in events {
        if let Ok(transition) = next(state, event) {
            steps.push((state, event, transition));
            state = transition.state;
        }
    }
    steps
}

proptest! {
    /// One receipt pays without a case at most; each further one is a case.
    #[test]
    fn no_sequence_pays_twice(events in events()) {
        let receipts: Vec<_> = run(&events).into_iter().filter(|(_, event, _)| *event == ReceiptApplied).collect();
        let entering = receipts.iter().filter(|(before, _, step)| *before != Paid && step.state == Paid).count();
        prop_assert!(entering <= 1);
        for (place, (_, _, step)) in receipts.iter().enumerate() {
            prop_assert_eq!(step.state, Paid, "a receipt is applied from every state");
            prop_assert!(place == 0 || step.case == Some(ReceiptDouble), "a second receipt without its case");
        }
    }

    #[test]
    fn paid_is_the_end(events in events()) {
        for (before, _, step) in run(&events) {
            prop_assert!(before != Paid || step.state == Paid);
        }
    }

    /// Between a report and its withdrawal nobody can pay, whatever else happens. The report of a cancelled one is a case, and while
    /// it is open nobody is asked to restore.
    #[test]
    fn what_is_reported_is_not_payable(mut events in events()) {
        let mut reported = false;
        events.retain(|event| {
            reported = *event == FlowReported || reported && *event != FlowWithdrawn;
            !(reported && matches!(event, Restore | RestoreDraft))
        });
        reported = false;
        for (_, event, step) in run(&events) {
            match event {
                FlowReported => reported = true,
                FlowWithdrawn => reported = false,
                Publish | Change | Cancel | Restore | RestoreDraft | SiblingPaid | ReceiptApplied | PaidElsewhere => {}
            }
            prop_assert!(!reported || step.state != Payable);
        }
    }

    /// Once another option was paid this one never opens again, were it cancelled then and restored later.
    #[test]
    fn superseded_for_good(before in events(), after in events()) {
        let sequence: Vec<_> = before.iter().copied().chain([SiblingPaid]).chain(after).collect();
        let steps = run(&sequence);
        let sibling = steps.iter().rposition(|(_, event, _)| *event == SiblingPaid).expect("a fact is not refused");
        prop_assert!(steps[sibling..].iter().all(|(_, _, step)| step.state != Payable && step.state != Draft));
    }

    #[test]
    fn facts_are_never_refused(state in select(InstalmentState::ALL.as_slice()), event in select(InstalmentEvent::ALL.as_slice())) {
        let wish = matches!(event, Publish | Change | Cancel | Restore | RestoreDraft);
        prop_assert!(wish || next(state, event).is_ok());
    }

    /// A message that is delivered twice changes nothing the second time; a receipt is known by its id before it comes here.
    #[test]
    fn repetitions_change_nothing(state in select(InstalmentState::ALL.as_slice()), event in select(InstalmentEvent::ALL.as_slice())) {
        if let Ok(first) = next(state, event) {
            prop_assert_eq!(next(first.state, event).map(|second| second.state), Ok(first.state));
        }
    }
}
