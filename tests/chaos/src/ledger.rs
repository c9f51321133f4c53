//! What the node was answered, and what was promised of the answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fiorino_rig::Stopwatch;

/// Within which everything is answered: the node's KPI, and the portal's promise (ARCHITECTURE.md 5.1, 5.3).
const LIMIT: Duration = Duration::from_secs(2);
/// How often it is measured whether this machine pauses.
const LOOK: Duration = Duration::from_millis(50);
/// A longer pause is no answer's fault.
const STALL: Duration = Duration::from_millis(20);

/// What was asked, of those who have to answer in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Verify or get.
    Notice,
    /// A receipt was sent.
    Receipt,
    /// A visitor of the portal looked a notice up.
    Page,
}

/// Everything that was sent and answered; shared by all senders.
#[derive(Debug)]
pub struct Ledger {
    opened: Stopwatch,
    book: Mutex<Book>,
}

/// Fiscal code of the institution addressed, and what is its own: a receipt's id or a notice's number.
pub type Key = (String, String);

#[derive(Debug, Default)]
struct Book {
    receipts: BTreeMap<Key, Sent>,
    /// Notices that somebody was told to be paid.
    paid: BTreeSet<Key>,
    late: Vec<Late>,
    broken: Vec<String>,
    excuses: Vec<Excuse>,
    stalls: Vec<(Duration, Duration)>,
    figures: Figures,
}

/// A receipt that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Fiscal code of who asked for the payment; another one than the addressee: this is the addressee's share.
    pub issuer: String,
    /// Of the issuer.
    pub notice_number: String,
    /// What the addressee is paid.
    pub cents: i64,
    attempts: u32,
    answered: bool,
}

#[derive(Debug)]
struct Late {
    asked: Asked,
    by: String,
    begun: Duration,
    ended: Duration,
}

/// A process that was itself killed, hung or cut off from who asks: no answer can come from there.
#[derive(Debug)]
struct Excuse {
    process: String,
    begun: Duration,
    ended: Option<Duration>,
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
    /// Pages of the portal that told a notice, or to come again.
    pub pages: usize,
    /// Of these, by 503.
    pub pages_later: usize,
    /// Calls without an answer.
    pub unanswered: usize,
    /// The slowest answer of verify or get, in milliseconds; a late one of a process that was itself away does not count.
    pub slowest_notice_ms: u128,
    /// The same to a receipt.
    pub slowest_receipt_ms: u128,
    /// The same of the portal.
    pub slowest_page_ms: u128,
}

// === impl Ledger ===

impl Ledger {
    /// This moment: time since the ledger was opened.
    pub fn now(&self) -> Duration {
        self.opened.elapsed()
    }

    /// A receipt is about to be sent, perhaps again; tells how often it was before.
    pub fn sending(&self, key: &Key, issuer: &str, notice_number: &str, cents: i64) -> u32 {
        let mut book = self.book();
        let new = || {
            let (issuer, notice_number) = (issuer.to_owned(), notice_number.to_owned());
            Sent { issuer, notice_number, cents, attempts: 0, answered: false }
        };
        let sent = book.receipts.entry(key.clone()).or_insert_with(new);
        sent.attempts += 1;
        sent.attempts - 1
    }

    /// It had its final answer.
    pub fn answered(&self, key: &Key, duplicate: bool) {
        let mut book = self.book();
        book.figures.receipts += 1;
        book.figures.duplicates += usize::from(duplicate);
        if let Some(sent) = book.receipts.get_mut(key) {
            sent.answered = true;
        }
    }

    /// An answer of a process came.
    pub fn timed(&self, asked: Asked, by: &str, begun: Duration, ended: Duration) {
        let took = ended.saturating_sub(begun);
        let mut book = self.book();
        book.figures.notices += usize::from(asked == Asked::Notice);
        book.figures.pages += usize::from(asked == Asked::Page);
        if took > LIMIT {
            book.late.push(Late { asked, by: by.to_owned(), begun, ended });
        } else {
            book.figures.took(asked, took);
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

    /// A visitor of the portal was told to come again.
    pub fn page_later(&self) {
        self.book().figures.pages_later += 1;
    }

    /// The node, or a visitor, was told that a notice is paid.
    pub fn told_paid(&self, notice: &Key) {
        self.book().paid.insert(notice.clone());
    }

    /// Whether it was.
    pub fn was_told_paid(&self, notice: &Key) -> bool {
        self.book().paid.contains(notice)
    }

    /// A promise was broken.
    pub fn broken(&self, what: String) {
        self.book().broken.push(what);
    }

    /// From now on a process cannot answer.
    pub fn excuse(&self, process: &str) {
        self.book().excuses.push(Excuse { process: process.to_owned(), begun: self.now(), ended: None });
    }

    /// From now on it can.
    pub fn excuse_no_more(&self, process: &str) {
        let mut book = self.book();
        for excuse in book.excuses.iter_mut().filter(|excuse| excuse.process == process && excuse.ended.is_none()) {
            excuse.ended = Some(self.now());
        }
    }

    /// Counts so far.
    pub fn figures(&self) -> Figures {
        let book = self.book();
        let mut figures = book.figures;
        for late in book.late.iter().filter(|late| !book.was_away(late)) {
            figures.took(late.asked, late.took());
        }
        figures
    }

    /// Receipts sent.
    pub fn sent(&self) -> BTreeMap<Key, Sent> {
        self.book().receipts.clone()
    }

    /// Promises that were broken; answers that were late for no reason of their process or of this machine among them.
    pub fn complaints(&self) -> Vec<String> {
        let book = self.book();
        let late = book.late.iter().filter(|late| !book.excused(late)).map(|late| {
            let took = late.took().as_millis();
            format!("{:?} was answered by {} after {took} ms", late.asked, late.by)
        });
        book.broken.iter().cloned().chain(late).collect()
    }

    /// Measures for ever how long this machine lets everybody wait.
    pub async fn measure_stalls(&self) {
        loop {
            let begun = self.now();
            tokio::time::sleep(LOOK).await;
            let (due, ended) = (begun + LOOK, self.now());
            if ended.saturating_sub(due) > STALL {
                self.book().stalls.push((due, ended));
            }
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // What is noted is whole after each statement.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Figures ===

impl Figures {
    fn took(&mut self, asked: Asked, took: Duration) {
        let slowest = match asked {
            Asked::Notice => &mut self.slowest_notice_ms,
            Asked::Receipt => &mut self.slowest_receipt_ms,
            Asked::Page => &mut self.slowest_page_ms,
        };
        *slowest = (*slowest).max(took.as_millis());
    }
}

// === impl Sent ===

impl Sent {
    /// Whether it had its final answer.
    pub const fn is_answered(&self) -> bool {
        self.answered
    }
}

// === impl Book ===

impl Book {
    fn was_away(&self, late: &Late) -> bool {
        self.excuses.iter().any(|excuse| {
            excuse.process == late.by
                && excuse.begun < late.ended
                && excuse.ended.is_none_or(|ended| ended > late.begun)
        })
    }

    fn excused(&self, late: &Late) -> bool {
        let stalled: Duration = (self.stalls.iter())
            .map(|(begun, ended)| (*ended).min(late.ended).saturating_sub((*begun).max(late.begun)))
            .sum();
        self.was_away(late) || late.took() <= LIMIT + stalled
    }
}

impl Default for Ledger {
    fn default() -> Self {
        Self { opened: Stopwatch::start(), book: Mutex::default() }
    }
}

// === impl Late ===

impl Late {
    fn took(&self) -> Duration {
        self.ended.saturating_sub(self.begun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: Duration = Duration::from_millis(2_100);

    #[test]
    fn a_late_answer_is_told_unless_its_process_was_away() {
        let ledger = Ledger::default();
        ledger.excuse("one");
        ledger.excuse_no_more("one");
        let begun = ledger.now();
        ledger.excuse("other");
        ledger.timed(Asked::Notice, "one", begun, begun + LIMIT);
        ledger.timed(Asked::Notice, "other", begun, begun + LATE);
        ledger.timed(Asked::Receipt, "other", begun, begun + LATE);
        assert_eq!(ledger.complaints(), Vec::<String>::new());
        ledger.timed(Asked::Receipt, "one", begun, begun + LATE);
        assert_eq!(ledger.complaints(), ["Receipt was answered by one after 2100 ms"]);
    }

    #[test]
    fn a_pause_of_the_machine_is_nobodys_fault() {
        let ledger = Ledger::default();
        let begun = ledger.now();
        ledger.timed(Asked::Page, "one", begun, begun + LATE);
        ledger.book().stalls.push((begun + LATE, begun + LATE * 2));
        assert_eq!(ledger.complaints().len(), 1, "a pause after it");
        ledger.book().stalls.push((begun + LIMIT / 2, begun + LIMIT));
        assert_eq!(ledger.complaints(), Vec::<String>::new());
    }

    #[test]
    fn receipts_are_counted_once() {
        let ledger = Ledger::default();
        let key = |institution: &str| (institution.to_owned(), "r".to_owned());
        assert_eq!(ledger.sending(&key("a"), "a", "n", 100), 0);
        assert_eq!(ledger.sending(&key("a"), "a", "n", 100), 1);
        assert_eq!(ledger.sending(&key("b"), "a", "n", 5), 0, "the same receipt for another institution is another");
        ledger.answered(&key("a"), true);
        assert_eq!((ledger.figures().receipts, ledger.figures().duplicates), (1, 1));
        assert_eq!(ledger.sent().values().map(Sent::is_answered).collect::<Vec<_>>(), [true, false]);
    }
}
