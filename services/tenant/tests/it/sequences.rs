//! The database against the pure model: over random sequences of events both say the same.

use std::collections::HashSet;

use fiorino_domain::position::{InstalmentEvent, InstalmentState as State, next};
use fiorino_proto::{
    positions::v1::{
        CancelInstalmentRequest, CancelPositionRequest, Position, PublishPositionRequest, RestorePositionRequest,
        UpdateInstalmentRequest, positions_server::Positions as _,
    },
    receipts::v1::ApplyOutcome,
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestCaseResult, TestRunner},
};
use tokio::runtime::Runtime;
use tonic::Status;

use crate::money::{Money, called, count, numbers, position};

/// Options of the position, by instalment.
const OPTIONS: [usize; 4] = [0, 0, 1, 2];

#[derive(Debug, Clone)]
enum Step {
    Publish,
    Cancel,
    CancelOne(usize),
    Restore,
    RestoreOne(usize),
    Update(usize),
    Activate(usize),
    /// Receipts in one batch: instalment and name.
    Receipts(Vec<(usize, u8)>),
}

/// What the database must say.
struct Model {
    states: [State; 4],
    /// What each was when it was cancelled last.
    before: [State; 4],
    /// Receipts that were told before.
    seen: HashSet<String>,
    cases: usize,
}

fn step() -> impl Strategy<Value = Step> {
    let receipts = prop::collection::vec((0..4usize, 0..5u8), 1..4);
    prop_oneof![
        Just(Step::Publish),
        Just(Step::Cancel),
        (0..4usize).prop_map(Step::CancelOne),
        Just(Step::Restore),
        (0..4usize).prop_map(Step::RestoreOne),
        (0..4usize).prop_map(Step::Update),
        (0..4usize).prop_map(Step::Activate),
        receipts.prop_map(Step::Receipts),
    ]
}

// === impl Model ===

impl Model {
    fn new() -> Self {
        Self { states: [State::Draft; 4], before: [State::Draft; 4], seen: HashSet::new(), cases: 0 }
    }

    /// A wish towards these instalments; whether it is granted.
    fn wish(&mut self, places: impl IntoIterator<Item = usize>, wish: impl Fn(State) -> InstalmentEvent) -> bool {
        let mut granted = false;
        for place in places {
            let state = self.states[place];
            let Ok(transition) = next(state, wish(self.before[place])) else { continue };
            granted = true;
            if transition.state == State::Cancelled && state != State::Cancelled {
                self.before[place] = state;
            }
            self.states[place] = transition.state;
        }
        granted
    }

    fn cancel(&mut self, places: impl IntoIterator<Item = usize>) -> bool {
        self.wish(places, |_| InstalmentEvent::Cancel)
    }

    fn restore(&mut self, places: impl IntoIterator<Item = usize>) -> bool {
        self.wish(places, |before| match before {
            State::Payable => InstalmentEvent::Restore,
            _ => InstalmentEvent::RestoreDraft,
        })
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

/// A position of the database beside its model.
struct Pair<'a> {
    money: &'a Money,
    created: Position,
    numbers: Vec<String>,
    reference: &'a str,
    model: Model,
}

// === impl Pair ===

impl<'a> Pair<'a> {
    async fn new(money: &'a Money, reference: &'a str) -> Self {
        let mut new = position(reference, &[&[100, 100], &[200], &[300]]);
        new.draft = true;
        let created = money.create(new).await;
        Self { money, numbers: numbers(&created), created, reference, model: Model::new() }
    }

    async fn step(&mut self, step: &Step) -> TestCaseResult {
        match step {
            Step::Publish => {
                let (institution, position_id) = self.named();
                let request = PublishPositionRequest { institution, position_id };
                let done = self.money.replica.positions.publish_position(called("maria", request)).await;
                prop_assert_eq!(done.is_ok(), self.model.wish(0..4, |_| InstalmentEvent::Publish), "{:?}", done);
            }
            Step::Cancel => {
                let (institution, position_id) = self.named();
                let request = CancelPositionRequest { institution, position_id, force: false };
                let done = self.money.replica.positions.cancel_position(called("maria", request)).await;
                prop_assert_eq!(done.is_ok(), self.model.cancel(0..4), "{:?}", done);
            }
            Step::CancelOne(place) => {
                let (institution, notice_number) = (self.named().0, self.numbers[*place].clone());
                let request = CancelInstalmentRequest { institution, notice_number, force: false };
                let done = self.money.replica.positions.cancel_instalment(called("maria", request)).await;
                prop_assert_eq!(done.is_ok(), self.model.cancel([*place]), "{:?}", done);
            }
            Step::Restore => {
                let done = self.restore("").await;
                prop_assert_eq!(done.is_ok(), self.model.restore(0..4), "{:?}", done);
            }
            Step::RestoreOne(place) => {
                let done = self.restore(&self.numbers[*place]).await;
                prop_assert_eq!(done.is_ok(), self.model.restore([*place]), "{:?}", done);
            }
            Step::Update(place) => return self.update(*place).await,
            Step::Activate(place) => {
                let payable = self.money.verify(&self.numbers[*place]).await.is_ok();
                self.money.activate(&self.numbers[*place]).await;
                prop_assert_eq!(payable, self.model.states[*place] == State::Payable);
            }
            Step::Receipts(receipts) => return self.receipts(receipts).await,
        }
        Ok(())
    }

    async fn restore(&self, notice_number: &str) -> Result<(), Status> {
        let (institution, position_id) = self.named();
        let request =
            RestorePositionRequest { institution, position_id, notice_number: notice_number.to_owned(), force: false };
        self.money.replica.positions.restore_position(called("maria", request)).await.map(drop)
    }

    async fn update(&self, place: usize) -> TestCaseResult {
        let present = self.money.again(&self.created).await;
        let version = present.options.iter().flat_map(|option| &option.instalments).nth(place).unwrap().version;
        let request = UpdateInstalmentRequest {
            institution: self.named().0,
            notice_number: self.numbers[place].clone(),
            version,
            description: Some("changed".to_owned()),
            ..UpdateInstalmentRequest::default()
        };
        let done = self.money.replica.positions.update_instalment(called("maria", request)).await;
        let allowed = next(self.model.states[place], InstalmentEvent::Change).is_ok();
        prop_assert_eq!(done.is_ok(), allowed, "{:?}", done);
        Ok(())
    }

    async fn receipts(&mut self, receipts: &[(usize, u8)]) -> TestCaseResult {
        let name = |receipt: u8| format!("{}-{receipt}", self.reference);
        let cents = [100, 100, 200, 300];
        let batch = (receipts.iter())
            .map(|(place, receipt)| self.money.receipt(&name(*receipt), &self.numbers[*place], cents[*place]))
            .collect();
        let outcomes = self.money.pay(batch).await;
        let names: Vec<_> = receipts.iter().map(|(place, receipt)| (*place, name(*receipt))).collect();
        let expect: Vec<_> = names.iter().map(|(place, name)| self.model.receipt(*place, name)).collect();
        prop_assert_eq!(outcomes, expect);
        Ok(())
    }

    fn named(&self) -> (String, String) {
        (self.money.institution().to_owned(), self.created.position_id.clone())
    }
}

async fn run(money: &Money, reference: &str, steps: &[Step]) -> TestCaseResult {
    let (outbox, cases) = (count(money.pool(), "outbox").await, count(money.pool(), "cases").await);
    let mut pair = Pair::new(money, reference).await;
    for step in steps {
        // A later moment, at which no attempt is open: force is tested elsewhere.
        money.advance(31);
        pair.step(step).await?;
        let states: Vec<_> = money.states(&pair.created).await.into_iter().map(i32::from).collect();
        prop_assert_eq!(states, pair.model.states.map(|state| i32::from(state.number())), "after {:?}", step);
    }
    let told = usize::try_from(count(money.pool(), "outbox").await - outbox).unwrap();
    let found = usize::try_from(count(money.pool(), "cases").await - cases).unwrap();
    let expect = (pair.model.seen.len(), pair.model.cases);
    prop_assert_eq!((told, found), expect, "every receipt is told once, every odd one has its case");
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
