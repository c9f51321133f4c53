//! Natural batching: order, no loss, single retry, overload, cancellation, panics.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fiorino_kit::batch::{BatchError, Batcher};
use fiorino_test_support::eventually;
use futures::future::join_all;
use proptest::prelude::*;
use tokio::sync::Semaphore;

const SOON: Duration = Duration::from_secs(10);

type Answer = Result<u32, BatchError<String>>;

/// What the work saw, and a gate that it waits at.
#[derive(Debug)]
struct Work {
    batches: Mutex<Vec<Vec<u32>>>,
    in_flight: AtomicUsize,
    in_flight_max: AtomicUsize,
    gate: Semaphore,
}

impl Work {
    fn new(permits: usize) -> Arc<Self> {
        Arc::new(Self {
            batches: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            in_flight_max: AtomicUsize::new(0),
            gate: Semaphore::new(permits),
        })
    }

    /// Doubles; what is divisible by 10 is poison that fails its batch, 13 panics, 17 loses an answer.
    async fn run(&self, batch: Vec<u32>) -> Result<Vec<u32>, String> {
        let in_flight = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        self.in_flight_max.fetch_max(in_flight, Ordering::SeqCst);
        self.batches.lock().unwrap().push(batch.clone());
        drop(self.gate.acquire().await.unwrap());
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        assert!(!batch.contains(&13), "asked for");
        match batch.iter().find(|request| **request % 10 == 0) {
            Some(poison) => Err(format!("poison {poison}")),
            None => Ok(batch.iter().filter(|request| **request != 17).map(|request| request * 2).collect()),
        }
    }

    fn batcher(self: &Arc<Self>, lanes: usize, max_batch: usize, queue: usize) -> Batcher<u32, u32, String> {
        let work = Arc::clone(self);
        Batcher::new(lanes, max_batch, queue, move |batch| {
            let work = Arc::clone(&work);
            async move { work.run(batch).await }
        })
    }

    fn batches(&self) -> Vec<Vec<u32>> {
        self.batches.lock().unwrap().clone()
    }

    async fn until_in_flight(&self, count: usize) {
        let reached = eventually(SOON, async || match self.in_flight.load(Ordering::SeqCst) {
            now if now == count => Ok(()),
            now => Err(format!("{now} in flight")),
        });
        reached.await.unwrap();
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn each_request_gets_its_own_answer(
        requests in prop::collection::vec(0_u32..10_000, 1..200), lanes in 1_usize..4, max_batch in 1_usize..20,
    ) {
        let work = Work::new(Semaphore::MAX_PERMITS);
        let answers: Vec<Answer> = runtime().block_on(async {
            let batcher = work.batcher(lanes, max_batch, requests.len());
            join_all(requests.iter().map(|request| batcher.call(*request))).await
        });
        for (request, answer) in requests.iter().zip(&answers) {
            match (request, answer) {
                (13, Err(BatchError::Panicked)) | (17, Err(BatchError::Miscounted { requests: 1, answers: 0 })) => {}
                (poison, Err(BatchError::Failed(text))) if poison % 10 == 0 => {
                    prop_assert_eq!(text, &format!("poison {poison}"));
                }
                (request, Ok(answer)) => prop_assert_eq!(*answer, request * 2),
                (request, answer) => prop_assert!(false, "{} got {:?}", request, answer),
            }
        }
        let batches = work.batches();
        prop_assert!(batches.iter().all(|batch| (1..=max_batch).contains(&batch.len())));
        prop_assert!(work.in_flight_max.load(Ordering::SeqCst) <= lanes);
        // Each request is tried at most twice: with others, and alone.
        let mut wanted = BTreeMap::<u32, usize>::new();
        let mut tried = BTreeMap::<u32, usize>::new();
        for request in &requests {
            *wanted.entry(*request).or_default() += 1;
        }
        for request in batches.iter().flatten() {
            *tried.entry(*request).or_default() += 1;
        }
        prop_assert!(tried.iter().all(|(request, times)| *times <= 2 * wanted[request]), "{:?}", tried);
        prop_assert_eq!(tried.len(), wanted.len());
    }
}

#[tokio::test]
async fn the_next_batch_fills_while_one_is_in_flight() {
    let work = Work::new(0);
    let batcher = work.batcher(1, 4, 16);
    let first = tokio::spawn(call(&batcher, 1));
    work.until_in_flight(1).await;
    let others: Vec<_> = (2..8).map(|request| tokio::spawn(call(&batcher, request))).collect();
    eventually(SOON, async || if format!("{batcher:?}").contains("free: 10") { Ok(()) } else { Err("queueing") })
        .await
        .unwrap();
    work.gate.add_permits(100);
    assert_eq!(first.await.unwrap().unwrap(), 2);
    for (request, other) in (2..8).zip(others) {
        assert_eq!(other.await.unwrap().unwrap(), request * 2);
    }
    assert_eq!(work.batches(), [vec![1], vec![2, 3, 4, 5], vec![6, 7]]);
}

#[tokio::test]
async fn lanes_work_at_the_same_time() {
    let work = Work::new(0);
    let batcher = work.batcher(3, 1, 16);
    let calls: Vec<_> = (1..4).map(|request| tokio::spawn(call(&batcher, request))).collect();
    work.until_in_flight(3).await;
    work.gate.add_permits(100);
    assert!(join_all(calls).await.into_iter().all(|answer| answer.unwrap().is_ok()));
}

#[tokio::test]
async fn poison_hurts_itself_alone() {
    let work = Work::new(0);
    let batcher = work.batcher(1, 8, 16);
    let first = tokio::spawn(call(&batcher, 1));
    work.until_in_flight(1).await;
    let calls = [2, 10, 13, 17, 4].map(|request| batcher.call(request));
    let calls = join_all(calls);
    work.gate.add_permits(100);
    let answers = calls.await;
    first.await.unwrap().unwrap();
    assert_eq!(*answers[0].as_ref().unwrap(), 4);
    assert!(matches!(&answers[1], Err(BatchError::Failed(text)) if text == "poison 10"));
    assert!(matches!(answers[2], Err(BatchError::Panicked)));
    assert!(matches!(answers[3], Err(BatchError::Miscounted { requests: 1, answers: 0 })));
    assert_eq!(*answers[4].as_ref().unwrap(), 8);
    let expected = [vec![1], vec![2, 10, 13, 17, 4], vec![2], vec![10], vec![13], vec![17], vec![4]];
    assert_eq!(work.batches(), expected);
}

#[tokio::test]
async fn what_hits_everybody_is_tried_once_for_all() {
    let work = Work::new(0);
    let batcher = {
        let work = Arc::clone(&work);
        let run = move |batch| {
            let work = Arc::clone(&work);
            async move { work.run(batch).await }
        };
        Batcher::failing_together(1, 8, 16, |error: &String| error == "poison 20", run)
    };
    let first = tokio::spawn(call(&batcher, 1));
    work.until_in_flight(1).await;
    let away = join_all([2, 20, 4].map(|request| batcher.call(request)));
    work.gate.add_permits(2);
    let answers = away.await;
    first.await.unwrap().unwrap();
    assert!(matches!(&answers[0], Err(BatchError::Failed(text)) if text == "poison 20"), "{answers:?}");
    assert!(answers[1..].iter().all(|answer| matches!(answer, Err(BatchError::Together))), "{answers:?}");
    // What is the fault of one is still found.
    work.gate.add_permits(100);
    let poison = join_all([10, 6].map(|request| batcher.call(request))).await;
    assert!(matches!(poison[0], Err(BatchError::Failed(_))) && poison[1].is_ok(), "{poison:?}");
    assert_eq!(work.batches(), [vec![1], vec![2, 20, 4], vec![10, 6], vec![10], vec![6]]);
}

#[tokio::test]
async fn a_request_that_was_alone_is_not_tried_again() {
    let work = Work::new(100);
    let batcher = work.batcher(1, 8, 16);
    assert!(matches!(batcher.call(10).await, Err(BatchError::Failed(_))));
    assert!(matches!(batcher.call(13).await, Err(BatchError::Panicked)));
    assert_eq!(work.batches(), [[10], [13]]);
    assert_eq!(batcher.call(1).await.unwrap(), 2);
}

#[tokio::test]
async fn a_full_queue_answers_at_once() {
    let work = Work::new(0);
    let batcher = work.batcher(1, 1, 2);
    let first = tokio::spawn(call(&batcher, 1));
    work.until_in_flight(1).await;
    let waiting = [tokio::spawn(call(&batcher, 2)), tokio::spawn(call(&batcher, 3))];
    eventually(SOON, async || if format!("{batcher:?}").contains("free: 0") { Ok(()) } else { Err("queueing") })
        .await
        .unwrap();
    let refused = tokio::time::timeout(Duration::from_secs(1), batcher.call(4)).await.unwrap();
    assert!(matches!(refused, Err(BatchError::Overloaded)));
    work.gate.add_permits(100);
    assert!(first.await.unwrap().is_ok());
    assert!(join_all(waiting).await.into_iter().all(|answer| answer.unwrap().is_ok()));
    assert!(!work.batches().concat().contains(&4));
}

#[tokio::test]
async fn who_gives_up_hurts_nobody_and_is_passed_over() {
    let work = Work::new(0);
    let batcher = work.batcher(1, 8, 16);
    let first = tokio::spawn(call(&batcher, 1));
    work.until_in_flight(1).await;
    let (second, third) = (tokio::spawn(call(&batcher, 2)), tokio::spawn(call(&batcher, 3)));
    eventually(SOON, async || if format!("{batcher:?}").contains("free: 14") { Ok(()) } else { Err("queueing") })
        .await
        .unwrap();
    // The first is in flight, the second waits.
    first.abort();
    second.abort();
    assert!(first.await.unwrap_err().is_cancelled() && second.await.unwrap_err().is_cancelled());
    work.gate.add_permits(100);
    assert_eq!(third.await.unwrap().unwrap(), 6);
    assert_eq!(work.batches(), [[1], [3]]);
}

#[tokio::test]
async fn what_waits_is_done_after_the_last_handle_is_gone() {
    let work = Work::new(0);
    let batcher = work.batcher(1, 1, 16);
    let calls: Vec<_> = (1..4).map(|request| tokio::spawn(call(&batcher, request))).collect();
    work.until_in_flight(1).await;
    drop(batcher);
    work.gate.add_permits(100);
    assert!(join_all(calls).await.into_iter().all(|answer| answer.unwrap().is_ok()));
}

fn call(batcher: &Batcher<u32, u32, String>, request: u32) -> impl Future<Output = Answer> + Send + use<> {
    let batcher = batcher.clone();
    async move { batcher.call(request).await }
}
