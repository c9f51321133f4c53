//! The database against the pure model: over random sequences of events both say the same.

use std::collections::HashSet;

use fiorino_domain::position::{InstalmentEvent, InstalmentState as State, next};
use fiorino_proto::{
    positions::v1::{
        CancelPositionRequest, PublishPositionRequest, UpdateInstalmentRequest, positions_server::Positions as _,
    },
    receipts::v1::ApplyOutcome,
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestCaseResult, TestRunner},
};
use tokio::runtime::Runtime;

use crate::money::{Money, called, count, numbers, position};

/// Options of the position, by instalment.
const OPTIONS: [usize; 4] = [0, 0, 1, 2];

#[derive(Debug, Clone)]
enum Step {
    Publish,
    Cancel,
    Update(usize),
    Activate(usize),
    /// Receipts in one batch: instalment and name.
    Receipts(Vec<(usize, u8)>),
}

/// What the database must say.
struct Model {
    states: [State; 4],
    /// Receipts that were told before.
    seen: HashSet<String>,
    cases: usize,
}

fn step() -> impl Strategy<Value = Step> {
    let receipts = prop::collection::vec((0..4usize, 0..5u8), 1..4);
    prop_oneof![
        Just(Step::Publish),
        Just(Step::Cancel),
        (0..4usize).prop_map(Step::Update),
        (0..4usize).prop_map(Step::Activate),
        receipts.prop_map(Step::Receipts),
    ]
}

// === impl Model ===

impl Model {
    fn new() -> Self {
        Self { states: [State::Draft; 4], seen: HashSet::new(), cases: 0 }
    }

    /// A wish towards every instalment; whether it is granted.
    fn wish(&mut self, event: InstalmentEvent) -> bool {
        let granted: Vec<_> = self.states.iter().map(|state| next(*state, event)).collect();
        for (state, granted) in self.states.iter_mut().zip(&granted) {
            *state = granted.as_ref().map_or(*state, |transition| transition.state);
        }
        granted.iter().any(Result::is_ok)
    }

    fn receipt(&mut self, instalment: usize, name: &str) -> ApplyOutcome {
        if !self.seen.insert(name.to_owned()) {
            return ApplyOutcome::Repeated;
        }
        let paid = next(self.states[instalment], InstalmentEvent::ReceiptApplied).unwrap();
        self.states[instalment] = paid.state;
        for (sibling, state) in self.states.iter_mut().enumerate() {
            if OPTIONS[sibling] != OPTIONS[instalment] {
                *state = next(*state, InstalmentEvent::SiblingPaid).unwrap().state;
            }
        }
        self.cases += usize::from(paid.case.is_some());
        if paid.case.is_some() { ApplyOutcome::Case } else { ApplyOutcome::Applied }
    }
}

async fn run(money: &Money, reference: &str, steps: &[Step]) -> TestCaseResult {
    let mut new = position(reference, &[&[100, 100], &[200], &[300]]);
    new.draft = true;
    let created = money.create(new).await;
    let numbers = numbers(&created);
    let (institution, position_id) = (money.institution().to_owned(), created.position_id.clone());
    let (outbox, cases) = (count(money.pool(), "outbox").await, count(money.pool(), "cases").await);
    let mut model = Model::new();
    for step in steps {
        // A later moment, at which no attempt is open: force is tested elsewhere.
        money.advance(31);
        let (institution, position_id) = (institution.clone(), position_id.clone());
        match step {
            Step::Publish => {
                let request = PublishPositionRequest { institution, position_id };
                let done = money.replica.positions.publish_position(called("maria", request)).await;
                prop_assert_eq!(done.is_ok(), model.wish(InstalmentEvent::Publish), "{:?}", done);
            }
            Step::Cancel => {
                let request = CancelPositionRequest { institution, position_id, force: false };
                let done = money.replica.positions.cancel_position(called("maria", request)).await;
                prop_assert_eq!(done.is_ok(), model.wish(InstalmentEvent::Cancel), "{:?}", done);
            }
            Step::Update(place) => {
                let version = money.again(&created).await.options.iter().flat_map(|option| &option.instalments).nth(*place).unwrap().version;
                let description = Some("changed".to_owned());
                let notice_number = numbers[*place].clone();
                let request = UpdateInstalmentRequest { institution, notice_number, version, description, ..Default::default() };
                let done = money.replica.positions.update_instalment(called("maria", request)).await;
                prop_assert_eq!(done.is_ok(), next(model.states[*place], InstalmentEvent::Change).is_ok(), "{:?}", done);
            }
            Step::Activate(place) => {
                let payable = money.verify(&numbers[*place]).await.is_ok();
                money.activate(&numbers[*place]).await;
                prop_assert_eq!(payable, model.states[*place] == State::Payable);
            }
            Step::Receipts(receipts) => {
                let name = |receipt: u8| format!("{reference}-{receipt}");
                let cents = [100, 100, 200, 300];
                let batch = receipts.iter().map(|(place, receipt)| money.receipt(&name(*receipt), &numbers[*place], cents[*place]));
                let outcomes = money.pay(batch.collect()).await;
                let expect: Vec<_> = receipts.iter().map(|(place, receipt)| model.receipt(*place, &name(*receipt))).collect();
                prop_assert_eq!(outcomes, expect);
            }
        }
        let states: Vec<_> = money.states(&created).await.into_iter().map(|state| i32::from(state) as i16).collect();
        prop_assert_eq!(states, model.states.map(State::number), "after {:?}", step);
    }
    let told = usize::try_from(count(money.pool(), "outbox").await - outbox).unwrap();
    let found = usize::try_from(count(money.pool(), "cases").await - cases).unwrap();
    prop_assert_eq!((told, found), (model.seen.len(), model.cases), "every receipt is told once, every odd one has its case");
    Ok(())
}

#[test]
fn the_database_does_what_the_model_says() {
    let runtime = Runtime::new().unwrap();
    let money = runtime.block_on(Money::start());
    let mut runner = TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
    let attempts = std::cell::Cell::new(0);
    let outcome = runner.run(&prop::collection::vec(step(), 1..14), |steps| {
        attempts.set(attempts.get() + 1);
        runtime.block_on(run(&money, &format!("p{}", attempts.get()), &steps))
    });
    // The database goes before the runtime that its pool lives in.
    let _entered = runtime.enter();
    drop(money);
    outcome.unwrap();
}
