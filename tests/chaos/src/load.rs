//! People who pay: debts are made, looked at, activated and paid, some of them twice, and every receipt is sent until it is answered.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::debts::Debts;
use crate::node::{Node, Receipt, Told};

/// Debts made at once.
const BATCH: usize = 20;
/// Debts that wait to be paid: more are made when there are fewer.
const STOCK: usize = 40;
/// Of so many payers one pays again elsewhere, at the same time.
const TWICE: u32 = 8;
const PAYERS: usize = 6;
const VERIFIERS: usize = 2;
/// Between two payments of one payer: with all of them about 15 receipts a second, modest on two cores.
const PAUSE_MS: std::ops::Range<u64> = 150..450;
/// For everything that is under way to come to its end, once nothing is broken any more.
const END: Duration = Duration::from_secs(90);

/// The load while it lasts.
#[derive(Debug)]
pub struct Load {
    tasks: JoinSet<Result<()>>,
    stop: CancellationToken,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    node: Arc<Node>,
    debts: Debts,
    stock: Mutex<VecDeque<String>>,
    made: Mutex<Vec<String>>,
}

// === impl Load ===

impl Load {
    /// Makes the first debts, then begins.
    ///
    /// # Errors
    /// When no debts can be made.
    pub async fn start(node: Arc<Node>, debts: Debts) -> Result<Self> {
        let shared = Arc::new(Shared { node, debts, stock: Mutex::default(), made: Mutex::default() });
        let stop = CancellationToken::new();
        for batch in 0..STOCK.div_ceil(BATCH) {
            shared.make(&format!("first-{batch}")).await?;
        }
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&shared).make_more(stop.clone()));
        for _ in 0..PAYERS {
            tasks.spawn(Arc::clone(&shared).pay(stop.clone()));
        }
        for _ in 0..VERIFIERS {
            tasks.spawn(Arc::clone(&shared).verify(stop.clone()));
        }
        Ok(Self { tasks, stop, shared })
    }

    /// Begins nothing more and waits until everything has its answer; the number of debts made.
    ///
    /// # Errors
    /// When something has none.
    pub async fn finish(mut self) -> Result<usize> {
        self.stop.cancel();
        let all = async {
            while let Some(ended) = self.tasks.join_next().await {
                ended??;
            }
            anyhow::Ok(())
        };
        timeout(END, all).await.context("not everything was answered although nothing is broken any more")??;
        Ok(lock(&self.shared.made).len())
    }
}

// === impl Shared ===

impl Shared {
    async fn make(&self, name: &str) -> Result<()> {
        let references: Vec<String> = (0..BATCH).map(|number| format!("{name}-{number}")).collect();
        let notices = self.debts.create(&references).await.context("failed to make debts")?;
        lock(&self.made).extend(notices.iter().cloned());
        lock(&self.stock).extend(notices);
        Ok(())
    }

    async fn make_more(self: Arc<Self>, stop: CancellationToken) -> Result<()> {
        let mut batch = 0;
        while !stop.is_cancelled() {
            if lock(&self.stock).len() < STOCK {
                self.make(&format!("more-{batch}")).await?;
                batch += 1;
            }
            stop.run_until_cancelled(pause()).await;
        }
        Ok(())
    }

    async fn pay(self: Arc<Self>, stop: CancellationToken) -> Result<()> {
        while !stop.is_cancelled() {
            // Outside of the condition: the lock is not held while it is paid.
            let next = lock(&self.stock).pop_front();
            if let Some(notice_number) = next {
                self.pay_one(&notice_number).await;
            }
            stop.run_until_cancelled(pause()).await;
        }
        Ok(())
    }

    async fn pay_one(&self, notice_number: &str) {
        let node = &self.node;
        let Some(payment) = node.activate(notice_number).await else { return };
        let first = Receipt::new(notice_number, &payment);
        if rand::random_range(0..TWICE) == 0 {
            let second = Receipt::new(notice_number, &payment);
            tokio::join!(node.deliver(&first), node.deliver(&second));
        } else {
            node.deliver(&first).await;
        }
    }

    /// Looks at any notice: it is payable or paid, and once paid it stays so.
    async fn verify(self: Arc<Self>, stop: CancellationToken) -> Result<()> {
        while !stop.is_cancelled() {
            let notice_number = {
                let made = lock(&self.made);
                made[rand::random_range(0..made.len())].clone()
            };
            let ledger = self.node.ledger();
            let was_paid = ledger.was_told_paid(&notice_number);
            match self.node.verify(self.node.any(), &notice_number).await {
                Told::Ok(_) if was_paid => ledger.broken(format!("{notice_number} was paid and is payable again")),
                Told::Ko(code) if code == "PAA_PAGAMENTO_DUPLICATO" => ledger.told_paid(&notice_number),
                Told::Ko(code) if code != "PAA_SYSTEM_ERROR" => {
                    ledger.broken(format!("{notice_number} was refused with {code}"));
                }
                Told::Ok(_) | Told::Ko(_) | Told::Later | Told::Malformed | Told::Nothing => {}
            }
            stop.run_until_cancelled(pause()).await;
        }
        Ok(())
    }
}

async fn pause() {
    sleep(Duration::from_millis(rand::random_range(PAUSE_MS))).await;
}

/// What the locks guard is whole after each statement.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
