//! New positions, many at a time: a constant number of statements for a batch, whoever its callers are.
//!
//! ```text
//!  known references -> plan (pure) -> numbers -> one transaction: configuration unchanged? references, positions, notices
//!        +--> replay, or ALREADY_EXISTS
//! ```
//! The first round plans with the configuration as it was read before, and believes that issued numbers are free; the transaction tells
//! if that was wrong. What it does not settle goes round again with care: the configuration is read, numbers are looked up, and what
//! cannot be created is refused.

mod batch;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use fiorino_domain::{date::LegalDate, institution::InstitutionCode, notice::NoticeNumber};
use fiorino_kit::clock::Clock;
use sqlx::PgPool;
use tokio::task;
use uuid::Uuid;

use self::batch::{Batch, reference_taken};
use super::{
    accounts::{self, Accounts},
    draft::Draft,
    facts::{self, Cache, Facts},
    plan::{self, Asked, Planned},
    references::{self, Known, Reference},
    write::{self, New, Written},
};
use crate::{
    Error, Result, Violation,
    nav::{self, Issuer, Point},
    restore::Witness,
};

/// Rounds of one batch. Only somebody who is faster, or a number that another system used, costs a further one.
const ROUNDS_MAX: usize = 8;

/// One position to be created.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) institution: InstitutionCode,
    pub(super) client: Arc<str>,
    /// Where it stands in its request.
    pub(super) path: Arc<str>,
    pub(super) draft: Arc<Draft>,
}

/// What became of it.
pub(super) enum Created {
    /// It is new.
    Fresh(Box<Planned>),
    /// It is new, and receipts that came before it have paid of it.
    Paid(Replayed),
    /// It existed: an equal repetition.
    Replayed(Replayed),
}

/// A position that existed.
#[derive(Debug, Clone)]
pub(super) struct Replayed {
    pub(super) position_id: Uuid,
    pub(super) numbers: Vec<String>,
}

/// Creates positions.
#[derive(Debug)]
pub(super) struct Creator {
    pool: PgPool,
    environment: String,
    clock: Clock,
    issuer: Issuer,
    facts: Cache,
}

/// How a round goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// As if nothing had changed and nobody else used our numbers.
    Hopeful,
    /// Everything is read anew; what cannot be created is refused.
    Careful,
}

/// An item that is to be written.
struct Plan {
    /// Of the item in its batch.
    place: usize,
    reference: Reference,
    planned: Box<Planned>,
}

// === impl Creator ===

impl Creator {
    pub(super) fn new(pool: PgPool, environment: String, clock: Clock, witness: Option<Witness>) -> Self {
        Self { issuer: Issuer::new(pool.clone(), witness), facts: Cache::default(), pool, environment, clock }
    }

    /// Creates what can be created; each item has its own outcome, in the order of the items.
    ///
    /// # Errors
    /// When the database fails: then nothing is known of any item, and a repetition is safe.
    pub(super) async fn create(&self, items: &[Item]) -> Result<Vec<Result<Created>>> {
        let mut batch = Batch::new(items);
        let leaders = batch.leaders();
        for round in 0..ROUNDS_MAX {
            let open: Vec<_> = leaders.iter().copied().filter(|place| batch.outcomes[*place].is_none()).collect();
            if open.is_empty() {
                break;
            }
            self.round(&mut batch, &open, if round == 0 { Mode::Hopeful } else { Mode::Careful }).await?;
        }
        batch.settle_followers();
        Ok(batch.outcomes.into_iter().map(|outcome| outcome.unwrap_or(Err(Error::Interrupted))).collect())
    }

    async fn round(&self, batch: &mut Batch<'_>, open: &[usize], mode: Mode) -> Result<()> {
        let plans = self.plan(batch, open, mode).await?;
        let plans = self.refuse_taken(batch, plans, mode).await?;
        let plans = self.number(batch, plans, mode).await?;
        if plans.is_empty() {
            return Ok(());
        }
        let news: Vec<_> = (plans.iter())
            .map(|Plan { place, reference, planned }| New { reference, hash: batch.items[*place].draft.hash, planned })
            .collect();
        // Who lost a race for a reference finds the winner's in the next round.
        if let Written::Created { references, paid } = write::all(&self.pool, &news, self.clock.now()).await? {
            for Plan { place, planned, .. } in plans.into_iter().filter(|plan| references.contains(&plan.reference)) {
                let was_paid = paid.contains(&planned.position.id);
                let fresh = Created::Fresh(planned);
                batch.outcomes[place] = Some(Ok(if was_paid { Created::Paid(fresh.replayed()) } else { fresh }));
            }
        }
        Ok(())
    }

    /// Decides what was created before, and plans the rest.
    async fn plan(&self, batch: &mut Batch<'_>, open: &[usize], mode: Mode) -> Result<Vec<Plan>> {
        let facts = self.facts(open.iter().map(|place| batch.items[*place].institution), mode).await?;
        let references: HashMap<_, _> = (open.iter().copied())
            .filter_map(|place| {
                Some((place, batch.items[place].reference(facts.get(&batch.items[place].institution)?)))
            })
            .collect();
        let known = references::find(&self.pool, &references.values().collect::<Vec<_>>()).await?;
        let accounts = self.accounts(open.iter().map(|place| &batch.items[*place])).await?;
        let now = self.clock.now();
        let mut plans = Vec::with_capacity(open.len());
        for (place, item) in open.iter().map(|place| (*place, &batch.items[*place])) {
            if place % super::TURN == super::TURN - 1 {
                task::yield_now().await;
            }
            let Some((facts, reference)) = facts.get(&item.institution).zip(references.get(&place)) else {
                batch.refuse(place, facts::unknown_institution(item.institution), mode);
                continue;
            };
            if let Some(known) = known.get(reference) {
                batch.outcomes[place] = Some(replay(item, known));
                continue;
            }
            let (path, client, id) = (&*item.path, &*item.client, Uuid::now_v7());
            let asked = Asked { path, client, id, now, accounts: &accounts };
            match plan::plan(&asked, &item.draft, facts) {
                Ok(planned) => plans.push(Plan { place, reference: reference.clone(), planned: Box::new(planned) }),
                Err(error) => batch.refuse(place, error, mode),
            }
        }
        Ok(plans)
    }

    async fn facts(
        &self,
        institutions: impl Iterator<Item = InstitutionCode>,
        mode: Mode,
    ) -> Result<HashMap<InstitutionCode, Arc<Facts>>> {
        let mut codes: Vec<_> = institutions.collect();
        codes.sort_unstable();
        codes.dedup();
        let mut facts = match mode {
            Mode::Hopeful => self.facts.get(&codes),
            Mode::Careful => HashMap::new(),
        };
        codes.retain(|code| !facts.contains_key(code));
        if !codes.is_empty() {
            let read = facts::read(&mut *self.pool.acquire().await?, &self.environment, &codes).await?;
            self.facts.put(&read);
            facts.extend(read);
        }
        Ok(facts)
    }

    /// The accounts that transfers of the items name.
    async fn accounts<'a>(&self, items: impl Iterator<Item = &'a Item>) -> Result<Accounts> {
        let given = items.flat_map(|item| {
            let instalments = item.draft.options.iter().flat_map(|option| &option.instalments);
            accounts::named(item.institution, instalments.flat_map(|instalment| &instalment.transfers))
        });
        let names: HashSet<_> = given.collect();
        if names.is_empty() {
            return Ok(Accounts::default());
        }
        let today = LegalDate::today(self.clock.now());
        Ok(accounts::find(&mut *self.pool.acquire().await?, &self.environment, &names, today).await?)
    }

    /// Refuses positions with a foreign number that another notice has, in the database or before it in the batch, or whose IUV another
    /// notice has: IUVs are unique for an institution (pagopa.md 3.3). A number that is issued here shares an IUV with one of another aux
    /// digit once in 10^13.
    async fn refuse_taken(&self, batch: &mut Batch<'_>, plans: Vec<Plan>, mode: Mode) -> Result<Vec<Plan>> {
        let alike = |(institution, nav): (i32, NoticeNumber)| {
            nav.of_the_same_iuv().into_iter().map(move |nav| (institution, nav))
        };
        let foreign: Vec<_> = plans.iter().flat_map(|plan| plan.planned.foreign_numbers()).flat_map(alike).collect();
        if foreign.is_empty() {
            return Ok(plans);
        }
        let mut taken = write::taken(&self.pool, &foreign).await?;
        let mut kept = Vec::with_capacity(plans.len());
        for plan in plans {
            let mut own = HashSet::new();
            let double = plan.planned.foreign_numbers().find(|number| {
                let free = alike(*number).all(|number| !taken.contains(&number) && !own.contains(&number));
                own.insert(*number);
                !free
            });
            if let Some((_, nav)) = double {
                batch.refuse(plan.place, number_taken(&batch.items[plan.place], nav), mode);
            } else {
                taken.extend(own);
                kept.push(plan);
            }
        }
        Ok(kept)
    }

    /// Issues the numbers that are missing, a sequence at a time. A sequence that is used up refuses its positions.
    async fn number(&self, batch: &mut Batch<'_>, mut plans: Vec<Plan>, mode: Mode) -> Result<Vec<Plan>> {
        let mut wanted: HashMap<Point, (u64, usize)> = HashMap::new();
        for (point, floor, missing) in plans.iter().filter_map(Plan::wanted) {
            let (highest, count) = wanted.entry(point.clone()).or_default();
            (*highest, *count) = ((*highest).max(floor), *count + missing);
        }
        for (point, (floor, count)) in wanted {
            let asks = |plan: &Plan| plan.wanted().is_some_and(|(from, ..)| *from == point);
            match self.issue(&point, floor, count, mode).await {
                Ok(numbers) => {
                    let mut numbers = numbers.into_iter();
                    plans.iter_mut().filter(|plan| asks(plan)).for_each(|plan| plan.planned.number(&mut numbers));
                }
                Err(nav::Error::Store { source }) => return Err(source.into()),
                Err(nav::Error::Restored) => {
                    for plan in plans.extract_if(.., |plan| asks(plan)) {
                        batch.refuse(plan.place, Error::Restored, mode);
                    }
                }
                Err(error @ (nav::Error::UsedUp { .. } | nav::Error::NoSequence { .. })) => {
                    let message = format!("{error}; give the association another prefix or code");
                    for plan in plans.extract_if(.., |plan| asks(plan)) {
                        batch.refuse(plan.place, Error::precondition("institution", message.clone()), mode);
                    }
                }
            }
        }
        Ok(plans)
    }

    async fn issue(&self, point: &Point, floor: u64, count: usize, mode: Mode) -> nav::Result<Vec<NoticeNumber>> {
        if mode == Mode::Hopeful {
            return self.issuer.issue(point, floor, count).await;
        }
        // Ends with the sequence at the latest: a number is given out once.
        let mut free = Vec::with_capacity(count);
        while free.len() < count {
            let numbers = self.issuer.issue(point, floor, count - free.len()).await?;
            let asked: Vec<_> = numbers.into_iter().map(|nav| (point.institution_id, nav)).collect();
            let used = write::used(&self.pool, &asked).await?;
            free.extend(asked.into_iter().filter(|number| !used.contains(number)).map(|(_, nav)| nav));
        }
        Ok(free)
    }
}

fn replay(item: &Item, known: &Known) -> Result<Created> {
    if known.hash != item.draft.hash {
        return Err(reference_taken(&item.path));
    }
    Ok(Created::Replayed(Replayed { position_id: known.position_id, numbers: known.numbers.clone() }))
}

fn number_taken(item: &Item, nav: NoticeNumber) -> Error {
    let mut field = format!("{}.options", item.path);
    for (option, told) in item.draft.options.iter().enumerate() {
        for place in (0..told.instalments.len()).filter(|place| told.instalments[*place].number == Some(nav)) {
            field = format!("{}.options[{option}].instalments[{place}].notice_number", item.path);
        }
    }
    Error::AlreadyExists(Violation::new(
        field,
        "belongs to another notice, or shares its IUV with one; correct it, or leave it empty to have one issued",
    ))
}

// === impl Item ===

impl Item {
    fn reference(&self, facts: &Facts) -> Reference {
        Reference {
            institution_id: facts.owner.institution_id,
            client: self.client.as_ref().to_owned(),
            name: self.draft.client_reference.to_string(),
        }
    }

    fn identity(&self) -> (InstitutionCode, &str, &str) {
        (self.institution, &self.client, self.draft.client_reference.as_str())
    }
}

// === impl Plan ===

impl Plan {
    /// Where and how many numbers are to be issued, from which floor on.
    fn wanted(&self) -> Option<(&Point, u64, usize)> {
        let missing = Some(self.planned.missing_numbers()).filter(|missing| *missing > 0)?;
        self.planned.issuing.as_ref().map(|(point, floor)| (point, *floor, missing))
    }
}

// === impl Created ===

impl Created {
    /// As a repetition of the same request sees it.
    pub(super) fn replayed(&self) -> Replayed {
        match self {
            Self::Fresh(planned) => Replayed {
                position_id: planned.position.id,
                numbers: planned.notices.iter().map(|notice| notice.nav.to_string()).collect(),
            },
            Self::Paid(replayed) | Self::Replayed(replayed) => replayed.clone(),
        }
    }
}
