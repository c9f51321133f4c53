//! What receipts do to instalments: pure. Every receipt counts once, none is refused, what is odd becomes a case
//! (ARCHITECTURE.md 4.5, 4.6).

use std::collections::{BTreeMap, HashMap, HashSet};

use fiorino_domain::{case::CaseKind, position::InstalmentEvent};
use fiorino_kit::outbox::Message;
use fiorino_proto::receipts::v1::ApplyOutcome;
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    arrived::{Arrived, Key, ReceiptRow},
    compare::{Activated, Differences, compare},
    earlier::{self, Amounts, Earlier, Versions},
    event::{self, Paid},
    finding,
    instalment::Instalment,
};
use crate::{
    cases::{NO_INSTITUTION, NewCase},
    positions::transition::{Locked, Move},
};

/// What the database says of a batch, the rows that may change being locked.
#[derive(Default)]
pub(super) struct Known {
    /// By fiscal code.
    pub(super) institutions: HashMap<String, i32>,
    /// Keys that this transaction took.
    pub(super) fresh: HashSet<Key>,
    /// Content of every version of the receipts of the batch.
    pub(super) versions: HashMap<Key, Vec<u8>>,
    /// Every instalment of the positions that the batch is about.
    pub(super) instalments: Vec<Locked>,
    /// Of the same positions.
    pub(super) positions: HashMap<(i32, Uuid), PositionFacts>,
    /// What the latest activation before the receipt answered, by key of the receipt.
    pub(super) activated: HashMap<Key, Activated>,
    /// Other versions of the receipts of the batch, as they were applied before it.
    pub(super) earlier: Versions,
    /// Receipts of notices that are not here and have no number of ours, through an association by which those of others come as well.
    pub(super) elsewhere: HashSet<Key>,
    /// Receipts whose station and institution belong, or belonged, to each other, whatever the inbox believes.
    pub(super) associated: HashSet<Key>,
}

/// What an event tells of a position.
#[derive(Debug, Clone)]
pub(super) struct PositionFacts {
    pub(super) client_reference: String,
    pub(super) service_code: String,
}

/// What is to be written.
#[derive(Default)]
pub(super) struct Plan<'a> {
    pub(super) moves: Vec<Move>,
    pub(super) receipts: Vec<ReceiptRow<'a>>,
    pub(super) cases: Vec<NewCase>,
    pub(super) messages: Vec<Message>,
    /// One per receipt, in their order.
    pub(super) outcomes: Vec<ApplyOutcome>,
}

/// A plan in the making.
struct Planner<'a> {
    known: Known,
    now: Timestamp,
    /// By institution and notice number: as the receipts before have left them.
    instalments: BTreeMap<(i32, String), Instalment>,
    plan: Plan<'a>,
}

/// A version of a receipt that came after another one.
struct Later {
    detail: Value,
    /// Of the versions before: the receipt has counted.
    counted: bool,
    /// It counted for this notice.
    same_notice: bool,
}

/// What the row of a payment says beside the receipt.
#[derive(Default)]
struct Booked {
    elsewhere: bool,
    announced: Option<Amounts>,
}

/// Decides about the receipts one after the other.
pub(super) fn plan(arrived: &[Arrived], mut known: Known, now: Timestamp) -> Plan<'_> {
    let instalment = |locked: Locked| ((locked.institution_id, locked.nav.clone()), Instalment::new(locked));
    let instalments = std::mem::take(&mut known.instalments).into_iter().map(instalment).collect();
    let mut planner = Planner { known, now, instalments, plan: Plan::default() };
    for receipt in arrived {
        let outcome = planner.receipt(receipt);
        planner.plan.outcomes.push(outcome);
    }
    planner.finish()
}

// === impl Planner ===

impl<'a> Planner<'a> {
    fn receipt(&mut self, arrived: &'a Arrived) -> ApplyOutcome {
        let institution_id = self.known.institutions.get(&arrived.told.institution).copied();
        if arrived.is_nobodys() {
            self.nobodys(arrived, institution_id.unwrap_or(NO_INSTITUTION));
            return ApplyOutcome::Case;
        }
        // The inbox found it to be ours: the institution is applied again soon, as after a restore, and the inbox keeps it until then.
        let Some(institution_id) = institution_id else { return ApplyOutcome::Unspecified };
        let key = arrived.key(institution_id);
        // Taken out: the same receipt further down the batch is a repetition.
        if !self.known.fresh.remove(&key) {
            return self.repeated(arrived, &key);
        }
        let before = self.plan.cases.len();
        let mut later = self.later(arrived, &key);
        self.findings(arrived, &key);
        let mut booked = Booked::default();
        let outcome = if !arrived.is_paid() {
            if !later.as_ref().is_some_and(|later| later.counted) {
                self.case(arrived, &key, CaseKind::ReceiptOutcome, json!({ "outcome": arrived.told.outcome }));
            }
            ApplyOutcome::Case
        } else if arrived.is_of_beneficiary() {
            self.share(arrived, &key, &mut booked)
        } else {
            booked = self.payment(arrived, &key, later.as_mut());
            ApplyOutcome::Applied
        };
        if let Some(later) = later {
            self.case(arrived, &key, CaseKind::ReceiptVersion, later.detail);
        }
        let odd = self.plan.cases.len() > before;
        let outcome = if odd && outcome == ApplyOutcome::Applied { ApplyOutcome::Case } else { outcome };
        let receipt = (key.institution_id, key.receipt_id.clone());
        self.known.earlier.entry(receipt).or_default().push(Earlier::of(arrived));
        let Booked { elsewhere, announced } = booked;
        self.plan.receipts.push(ReceiptRow { key, arrived, outcome, elsewhere, announced });
        outcome
    }

    fn nobodys(&mut self, arrived: &Arrived, institution_id: i32) {
        // Without an institution the number of its row does not tell whose it is.
        let key = Key {
            receipt_id: format!("{}/{}", arrived.told.institution, arrived.told.receipt_id),
            ..arrived.key(institution_id)
        };
        let detail = json!({ "institution": arrived.told.institution, "station": arrived.told.station_id });
        self.case(arrived, &key, CaseKind::AddresseeNeverOurs, detail);
    }

    fn repeated(&mut self, arrived: &Arrived, key: &Key) -> ApplyOutcome {
        let same = self.known.versions.get(key).is_none_or(|hash| *hash == arrived.told.content_hash);
        if same {
            return ApplyOutcome::Repeated;
        }
        // Two inboxes numbered versions on their own, as after a restore: what came second is in the inbox, and told here.
        let hash = arrived.told.content_hash.iter().take(8).fold(0u64, |hash, byte| hash << 8 | u64::from(*byte));
        let key = Key { receipt_id: format!("{}/{hash:016x}", key.receipt_id), ..key.clone() };
        self.case(
            arrived,
            &key,
            CaseKind::ReceiptVersion,
            json!({ "version": key.version, "amount_cents": arrived.told.amount_cents }),
        );
        ApplyOutcome::Case
    }

    /// What the inbox found.
    fn findings(&mut self, arrived: &Arrived, key: &Key) {
        for finding in &arrived.findings {
            let known_better = match finding.kind {
                // Told with the other versions.
                CaseKind::ReceiptVersion => finding.unknown_code.is_none() && self.has_others(key),
                // The inbox knows the present alone, and perhaps not even that.
                CaseKind::ReceiptNotAssociated => self.known.associated.contains(key),
                _ => false,
            };
            if !known_better {
                self.case(arrived, key, finding.kind, finding::detail(arrived, finding));
            }
        }
        if finding::lacks_an_amount(&arrived.told) && !arrived.has_finding(CaseKind::ReceiptSchema) {
            self.case(arrived, key, CaseKind::ReceiptSchema, finding::schema(&arrived.told));
        }
    }

    fn has_others(&self, key: &Key) -> bool {
        !self.others(key).is_empty()
    }

    /// Versions of the receipt that came before.
    fn others(&self, key: &Key) -> Vec<i32> {
        let mut others: Vec<_> = (self.known.versions.keys())
            .filter(|other| {
                other.institution_id == key.institution_id && other.receipt_id == key.receipt_id && *other != key
            })
            // What stands further down the batch comes after this one.
            .filter(|other| !self.known.fresh.contains(*other))
            .map(|other| other.version)
            .collect();
        others.sort_unstable();
        others
    }

    /// A further version of a receipt, and what becomes of its payment: who counted it already, counts it once.
    fn later(&self, arrived: &Arrived, key: &Key) -> Option<Later> {
        let others = self.others(key);
        if others.is_empty() {
            return None;
        }
        let mut detail = json!({ "version": key.version, "others": others });
        if let Some(cents) = arrived.told.amount_cents {
            detail["amount_cents"] = json!(cents);
        }
        if !arrived.is_paid() {
            detail["outcome"] = json!(arrived.told.outcome);
        }
        let versions = earlier::of(&self.known.earlier, key);
        let counted = versions.iter().any(|version| version.counted);
        let same_notice = versions.iter().any(|version| version.paid_notice_of(&arrived.told));
        let is_other = |version: &Earlier| version.notice_number != arrived.told.notice_number;
        if !versions.is_empty() && versions.iter().all(is_other) {
            detail["notice"] = json!("another than before");
        }
        Some(Later { detail, counted, same_notice })
    }

    /// The addressee's share of what another institution asked for.
    fn share(&mut self, arrived: &Arrived, key: &Key, booked: &mut Booked) -> ApplyOutcome {
        if arrived.own_transfers().next().is_none() {
            let detail = json!({ "transfers": arrived.told.transfers.len() });
            self.case(arrived, key, CaseKind::ReceiptNoShare, detail);
            return ApplyOutcome::Case;
        }
        let amounts = Amounts::of(&arrived.told, earlier::of(&self.known.earlier, key), None);
        self.plan.messages.push(event::share(arrived, &amounts, self.now));
        booked.announced = amounts.beside(&arrived.told);
        ApplyOutcome::Beneficiary
    }

    fn payment(&mut self, arrived: &Arrived, key: &Key, later: Option<&mut Later>) -> Booked {
        let activated = self.known.activated.get(key);
        let amounts = Amounts::of(&arrived.told, earlier::of(&self.known.earlier, key), activated);
        let differences = compare(&arrived.told, activated);
        let activated_cents = activated.map(|activated| activated.cents);
        let notice = (key.institution_id, arrived.told.notice_number.clone());
        let Some(instalment) = self.instalments.get(&notice) else {
            let elsewhere = self.known.elsewhere.contains(key);
            if !elsewhere && !later.as_ref().is_some_and(|later| later.counted) {
                self.case(arrived, key, CaseKind::ReceiptUnknownNotice, json!({ "iuv": arrived.told.iuv }));
            }
            self.differing(arrived, key, None, &differences, later);
            let paid = if elsewhere { Paid::Elsewhere } else { Paid::Unknown };
            self.plan.messages.push(event::payment(arrived, &amounts, paid, self.now));
            return Booked { elsewhere, announced: amounts.beside(&arrived.told) };
        };
        let position_id = instalment.locked.position_id;
        let expected_cents = activated_cents.unwrap_or(instalment.locked.amount_cents);
        self.pay(arrived, key, later.as_deref());
        self.differing(arrived, key, Some(expected_cents), &differences, later);
        let facts = self.known.positions.get(&(key.institution_id, position_id));
        let paid = facts.map_or(Paid::Unknown, |facts| Paid::Position(position_id, facts));
        self.plan.messages.push(event::payment(arrived, &amounts, paid, self.now));
        Booked { elsewhere: false, announced: amounts.beside(&arrived.told) }
    }

    /// The instalment is paid, unless another version of the receipt has counted for it.
    fn pay(&mut self, arrived: &Arrived, key: &Key, later: Option<&Later>) {
        let counted = later.is_some_and(|later| later.counted);
        if later.is_some_and(|later| later.same_notice) {
            return;
        }
        let notice = (key.institution_id, arrived.told.notice_number.clone());
        let Some(instalment) = self.instalments.get_mut(&notice) else { return };
        if instalment.receipt_id.as_deref() == Some(&arrived.told.receipt_id) {
            return;
        }
        let (position_id, option_no) = (instalment.locked.position_id, instalment.locked.option_no);
        let elsewhere = instalment.is_paid_elsewhere();
        let case = instalment.happens(InstalmentEvent::ReceiptApplied);
        // The same payment as the one that was loaded, or a second one: only a person can tell.
        let case = if elsewhere { Some(CaseKind::ReceiptPaidElsewhere) } else { case };
        instalment.receipt_id.get_or_insert_with(|| arrived.told.receipt_id.clone());
        if let Some(kind) = case.filter(|_| !counted) {
            self.case(arrived, key, kind, json!({ "amount_cents": arrived.told.amount_cents }));
        }
        self.supersede(arrived, key, position_id, option_no);
    }

    /// It is not what was expected: a case, or, of a version whose receipt has counted, what that version's case says.
    fn differing(
        &mut self,
        arrived: &Arrived,
        key: &Key,
        expected_cents: Option<i64>,
        differences: &Differences,
        later: Option<&mut Later>,
    ) {
        let other_amount = arrived.told.amount_cents.zip(expected_cents).filter(|(paid, expected)| paid != expected);
        if let Some(later) = later.filter(|later| later.counted) {
            if let Some((_, expected)) = other_amount {
                later.detail["expected_cents"] = json!(expected);
            }
            if !differences.is_empty() {
                later.detail["transfers"] = differences.detail();
            }
            return;
        }
        if let Some((paid, expected)) = other_amount {
            let detail = json!({ "paid_cents": paid, "expected_cents": expected });
            self.case(arrived, key, CaseKind::ReceiptAmountDiffers, detail);
        }
        if !differences.is_empty() {
            self.case(arrived, key, CaseKind::ReceiptTransfersDiffer, differences.detail());
        }
    }

    /// The other options of the position are out.
    fn supersede(&mut self, arrived: &Arrived, key: &Key, position_id: Uuid, option_no: i16) {
        let mut odd = Vec::new();
        let siblings = self.instalments.values_mut().filter(|sibling| {
            let Locked { institution_id, position_id: of, option_no: option, .. } = sibling.locked;
            (institution_id, of) == (key.institution_id, position_id) && option != option_no
        });
        for sibling in siblings {
            if let Some(kind) = sibling.happens(InstalmentEvent::SiblingPaid) {
                odd.push((kind, sibling.locked.nav.clone()));
            }
        }
        for (kind, nav) in odd {
            let key = Key { receipt_id: format!("{}/{nav}", key.receipt_id), ..key.clone() };
            self.case(arrived, &key, kind, json!({ "sibling": nav }));
        }
    }

    fn case(&mut self, arrived: &Arrived, key: &Key, kind: CaseKind, detail: Value) {
        self.plan.cases.push(NewCase {
            institution_id: key.institution_id,
            kind,
            key: key.case_key(kind),
            nav: Some(arrived.told.notice_number.clone()).filter(|nav| !nav.is_empty()),
            receipt_id: Some(arrived.told.receipt_id.clone()),
            detail,
            opened_at: self.now,
        });
    }

    fn finish(self) -> Plan<'a> {
        let Self { mut plan, instalments, .. } = self;
        plan.moves = instalments.into_values().filter_map(Instalment::moved).collect();
        plan
    }
}

#[cfg(test)]
#[path = "apply_tests.rs"]
mod tests;
