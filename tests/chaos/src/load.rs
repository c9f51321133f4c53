//! People who pay: debts are made, looked at, activated and paid, some of them twice, and every receipt is sent until it is answered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::future::join_all;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::debts::Debts;
use crate::node::{Node, Receipt, Told};
use crate::visitor::Visitor;

/// Debts of each institution made at once.
const BATCH: usize = 10;
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
    nodes: Vec<Arc<Node>>,
    debts: Debts,
    visitor: Visitor,
    stock: Mutex<Vec<Notice>>,
    made: Mutex<Vec<Notice>>,
}

/// A debt.
#[derive(Debug, Clone)]
struct Notice {
    node: Arc<Node>,
    number: String,
}

// === impl Load ===

impl Load {
    /// Makes the first debts, then begins.
    ///
    /// # Errors
    /// When no debts can be made.
    pub async fn start(nodes: Vec<Arc<Node>>, debts: Debts, visitor: Visitor) -> Result<Self> {
        let shared = Arc::new(Shared { nodes, debts, visitor, stock: Mutex::default(), made: Mutex::default() });
        let stop = CancellationToken::new();
        shared.make("first").await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&shared).make_more(stop.clone()));
        for _ in 0..PAYERS {
            tasks.spawn(Arc::clone(&shared).pay(stop.clone()));
        }
        for _ in 0..VERIFIERS {
            tasks.spawn(Arc::clone(&shared).verify(stop.clone()));
        }
        tasks.spawn(Arc::clone(&shared).visit(stop.clone()));
        Ok(Self { tasks, stop, shared })
    }

    /// Begins nothing more and waits until everything has its answer; the number of debts made, by institution.
    ///
    /// # Errors
    /// When something has none.
    pub async fn finish(mut self) -> Result<BTreeMap<String, usize>> {
        self.stop.cancel();
        let all = async {
            while let Some(ended) = self.tasks.join_next().await {
                ended??;
            }
            anyhow::Ok(())
        };
        timeout(END, all).await.context("not everything was answered although nothing is broken any more")??;
        let mut made = BTreeMap::new();
        for notice in lock(&self.shared.made).iter() {
            *made.entry(notice.node.institution().names.fiscal_code.clone()).or_default() += 1;
        }
        Ok(made)
    }
}

// === impl Shared ===

impl Shared {
    async fn make(&self, name: &str) -> Result<()> {
        let references: Vec<String> = (0..BATCH).map(|number| format!("{name}-{number}")).collect();
        for node in &self.nodes {
            let numbers = self.debts.create(node.institution(), &references).await.context("failed to make debts")?;
            let notice = |number| Notice { node: Arc::clone(node), number };
            let notices: Vec<_> = numbers.into_iter().map(notice).collect();
            lock(&self.made).extend(notices.iter().cloned());
            lock(&self.stock).extend(notices);
        }
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
            if let Some(notice) = any(&self.stock, Vec::swap_remove) {
                self.pay_one(&notice).await;
            }
            stop.run_until_cancelled(pause()).await;
        }
        Ok(())
    }

    async fn pay_one(&self, Notice { node, number }: &Notice) {
        let Some(payment) = node.activate(number).await else { return };
        let first = node.receipt(number, &payment);
        if rand::random_range(0..TWICE) == 0 {
            let second = node.receipt(number, &payment);
            tokio::join!(self.deliver(&first), self.deliver(&second));
        } else {
            self.deliver(&first).await;
        }
    }

    /// To everybody whom it pays, at the same time.
    async fn deliver(&self, receipt: &Receipt) {
        let paid = self.nodes.iter().filter(|node| receipt.pays(&node.institution().names.fiscal_code));
        join_all(paid.map(|node| node.deliver(receipt))).await;
    }

    /// Looks at any notice on the portal.
    async fn visit(self: Arc<Self>, stop: CancellationToken) -> Result<()> {
        while !stop.is_cancelled() {
            let Notice { node, number } = self.any()?;
            self.visitor.look(&node, &number).await;
            stop.run_until_cancelled(pause()).await;
        }
        Ok(())
    }

    /// Looks at any notice: it is payable or paid, and once paid it stays so.
    async fn verify(self: Arc<Self>, stop: CancellationToken) -> Result<()> {
        while !stop.is_cancelled() {
            let Notice { node, number } = self.any()?;
            let (ledger, key) = (node.ledger(), node.key(&number));
            let was_paid = ledger.was_told_paid(&key);
            match node.verify(node.any(), &number).await {
                Told::Ok(_) if was_paid => ledger.broken(format!("{key:?} was paid and is payable again")),
                Told::Ko(code) if code == "PAA_PAGAMENTO_DUPLICATO" => ledger.told_paid(&key),
                Told::Ko(code) if code != "PAA_SYSTEM_ERROR" => {
                    ledger.broken(format!("{key:?} was refused with {code}"));
                }
                Told::Ok(_) | Told::Ko(_) | Told::Later | Told::Malformed | Told::Nothing => {}
            }
            stop.run_until_cancelled(pause()).await;
        }
        Ok(())
    }

    /// Any debt that was made.
    fn any(&self) -> Result<Notice> {
        any(&self.made, |made, at| made[at].clone()).context("debts are made first")
    }
}

/// Any of them, if there are some.
fn any<T>(of: &Mutex<Vec<T>>, take: impl FnOnce(&mut Vec<T>, usize) -> T) -> Option<T> {
    let mut of = lock(of);
    let count = of.len();
    (count > 0).then(|| take(&mut of, rand::random_range(0..count)))
}

async fn pause() {
    sleep(Duration::from_millis(rand::random_range(PAUSE_MS))).await;
}

/// What the locks guard is whole after each statement.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
