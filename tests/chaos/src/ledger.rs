//! What the node was answered, and what was promised of the answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fiorino_simulator::judge::Operation;
use tokio::time::Instant;

/// Within which every call is answered: the node's KPI. The node-connector has one deadline of 1.8 s for each (ARCHITECTURE.md 5.3).
const LIMIT: Duration = Duration::from_secs(2);
/// How often it is measured whether this machine pauses.
const LOOK: Duration = Duration::from_millis(50);
/// A longer pause is no answer's fault.
const STALL: Duration = Duration::from_millis(20);

/// Everything that was sent and answered; shared by all senders.
#[derive(Debug, Default)]
pub struct Ledger {
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    receipts: BTreeMap<String, Sent>,
    /// Notices that the node was told to be paid.
    paid: BTreeSet<String>,
    late: Vec<Late>,
    broken: Vec<String>,
    excuses: Vec<Excuse>,
    stalls: Vec<(Instant, Instant)>,
    figures: Figures,
}

#[derive(Debug)]
struct Sent {
    notice_number: String,
    attempts: u32,
    answered: bool,
}

#[derive(Debug)]
struct Late {
    operation: Operation,
    replica: usize,
    begun: Instant,
    ended: Instant,
}

/// A replica that was itself killed, hung or cut off from the node: no answer can come from there.
#[derive(Debug)]
struct Excuse {
    replica: usize,
    begun: Instant,
    ended: Option<Instant>,
}

/// Counts of a run.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Receipts that had their final answer.
    pub receipts: usize,
    /// Of these, by `PAA_RECEIPT_DUPLICATA`: an earlier answer was lost.
    pub duplicates: usize,
    /// Receipts answered 503, to come again.
    pub later: usize,
    /// Verify and get answered.
    pub notices: usize,
    /// Of these, by `PAA_SYSTEM_ERROR`.
    pub system_errors: usize,
    /// Calls without an answer.
    pub unanswered: usize,
    /// The slowest answer of verify or get, in milliseconds.
    pub slowest_notice_ms: u128,
    /// The slowest answer to a receipt, in milliseconds.
    pub slowest_receipt_ms: u128,
}

// === impl Ledger ===

impl Ledger {
    /// A receipt is about to be sent, perhaps again; tells how often it was before.
    pub fn sending(&self, receipt_id: &str, notice_number: &str) -> u32 {
        let mut book = self.book();
        let new = || Sent { notice_number: notice_number.to_owned(), attempts: 0, answered: false };
        let sent = book.receipts.entry(receipt_id.to_owned()).or_insert_with(new);
        sent.attempts += 1;
        sent.attempts - 1
    }

    /// It had its final answer.
    pub fn answered(&self, receipt_id: &str, duplicate: bool) {
        let mut book = self.book();
        book.figures.receipts += 1;
        book.figures.duplicates += usize::from(duplicate);
        if let Some(sent) = book.receipts.get_mut(receipt_id) {
            sent.answered = true;
        }
    }

    /// An answer of a station came.
    pub fn timed(&self, operation: Operation, replica: usize, begun: Instant, ended: Instant) {
        let took = ended - begun;
        let mut book = self.book();
        let notice = is_notice(operation);
        let slowest = if notice { &mut book.figures.slowest_notice_ms } else { &mut book.figures.slowest_receipt_ms };
        *slowest = (*slowest).max(took.as_millis());
        book.figures.notices += usize::from(notice);
        if took > LIMIT {
            book.late.push(Late { operation, replica, begun, ended });
        }
    }

    /// A call had no answer.
    pub fn unanswered(&self) {
        self.book().figures.unanswered += 1;
    }

    /// A receipt was answered 503.
    pub fn later(&self) {
        self.book().figures.later += 1;
    }

    /// Verify or get was answered `PAA_SYSTEM_ERROR`.
    pub fn system_error(&self) {
        self.book().figures.system_errors += 1;
    }

    /// The node was told that a notice is paid.
    pub fn told_paid(&self, notice_number: &str) {
        self.book().paid.insert(notice_number.to_owned());
    }

    /// Whether it was.
    pub fn was_told_paid(&self, notice_number: &str) -> bool {
        self.book().paid.contains(notice_number)
    }

    /// A promise was broken.
    pub fn broken(&self, what: String) {
        self.book().broken.push(what);
    }

    /// From now on a replica cannot answer.
    pub fn excuse(&self, replica: usize) {
        self.book().excuses.push(Excuse { replica, begun: Instant::now(), ended: None });
    }

    /// From now on it can.
    pub fn excuse_no_more(&self, replica: usize) {
        let mut book = self.book();
        for excuse in book.excuses.iter_mut().filter(|excuse| excuse.replica == replica && excuse.ended.is_none()) {
            excuse.ended = Some(Instant::now());
        }
    }

    /// Counts so far.
    pub fn figures(&self) -> Figures {
        self.book().figures
    }

    /// Receipts sent, with their notice.
    pub fn sent(&self) -> BTreeMap<String, String> {
        let book = self.book();
        book.receipts.iter().map(|(id, sent)| (id.clone(), sent.notice_number.clone())).collect()
    }

    /// Receipts that had their final answer.
    pub fn receipts_answered(&self) -> BTreeSet<String> {
        let book = self.book();
        book.receipts.iter().filter(|(_, sent)| sent.answered).map(|(id, _)| id.clone()).collect()
    }

    /// Promises that were broken; answers that were late for no reason of their replica or of this machine among them.
    pub fn complaints(&self) -> Vec<String> {
        let book = self.book();
        let late = book.late.iter().filter(|late| !book.excused(late)).map(|late| {
            let took = (late.ended - late.begun).as_millis();
            format!("{:?} was answered by replica {} after {took} ms", late.operation, late.replica + 1)
        });
        book.broken.iter().cloned().chain(late).collect()
    }

    /// Measures for ever how long this machine lets everybody wait.
    pub async fn measure_stalls(&self) {
        loop {
            let begun = Instant::now();
            tokio::time::sleep(LOOK).await;
            let (due, ended) = (begun + LOOK, Instant::now());
            if ended.saturating_duration_since(due) > STALL {
                self.book().stalls.push((due, ended));
            }
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // What is noted is whole after each statement.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Book ===

impl Book {
    fn excused(&self, late: &Late) -> bool {
        let away = self.excuses.iter().any(|excuse| {
            excuse.replica == late.replica
                && excuse.begun < late.ended
                && excuse.ended.is_none_or(|ended| ended > late.begun)
        });
        let stalled: Duration = (self.stalls.iter())
            .map(|(begun, ended)| (*ended).min(late.ended).saturating_duration_since((*begun).max(late.begun)))
            .sum();
        away || late.ended - late.begun <= LIMIT + stalled
    }
}

const fn is_notice(operation: Operation) -> bool {
    matches!(operation, Operation::Verify | Operation::GetPayment | Operation::GetPaymentV2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: Duration = Duration::from_millis(2_100);

    #[test]
    fn a_late_answer_is_told_unless_its_replica_was_away() {
        let ledger = Ledger::default();
        ledger.excuse(0);
        ledger.excuse_no_more(0);
        let begun = Instant::now();
        ledger.excuse(1);
        ledger.timed(Operation::Verify, 0, begun, begun + LIMIT);
        ledger.timed(Operation::Verify, 1, begun, begun + LATE);
        ledger.timed(Operation::SendRtV2, 1, begun, begun + LATE);
        assert_eq!(ledger.complaints(), Vec::<String>::new());
        ledger.timed(Operation::SendRtV2, 0, begun, begun + LATE);
        assert_eq!(ledger.complaints(), ["SendRtV2 was answered by replica 1 after 2100 ms"]);
    }

    #[test]
    fn a_pause_of_the_machine_is_nobodys_fault() {
        let ledger = Ledger::default();
        let begun = Instant::now();
        ledger.timed(Operation::Verify, 0, begun, begun + LATE);
        ledger.book().stalls.push((begun + LATE, begun + LATE * 2));
        assert_eq!(ledger.complaints().len(), 1, "a pause after it");
        ledger.book().stalls.push((begun + LIMIT / 2, begun + LIMIT));
        assert_eq!(ledger.complaints(), Vec::<String>::new());
    }

    #[test]
    fn receipts_are_counted_once() {
        let ledger = Ledger::default();
        assert_eq!(ledger.sending("r", "n"), 0);
        assert_eq!(ledger.sending("r", "n"), 1);
        assert!(ledger.receipts_answered().is_empty());
        ledger.answered("r", true);
        assert_eq!((ledger.figures().receipts, ledger.figures().duplicates), (1, 1));
        assert_eq!(ledger.receipts_answered().len(), ledger.sent().len());
    }
}
