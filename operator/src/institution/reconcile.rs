//! The reconcile of one institution, as a table of contents.

use std::{sync::Arc, time::Duration};

use fiorino_crds::{CreditorInstitution, InstitutionStatus, condition::ConditionStatus};
use fiorino_kit::{clock::Clock, error::chain};
use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};
use kube::{
    ResourceExt as _,
    runtime::{controller::Action, reflector::ObjectRef},
};
use rand::RngExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{
    Memory, Remembered,
    apply::{self, Executor},
    dereference::{Dereferencer, Snapshot},
    plan::{Absence, Knowledge, Step, plan},
    status::{self, Facts},
    validate::{Rules, Validated, validate},
};
use crate::{
    backoff::Backoffs,
    metrics::{Metrics, Outcome},
    runtime::{cache::Guarded, queue::Queue},
    tenant::{self, pass::Passes},
};

/// While replicas have not acknowledged, tenant tells when they have; behind that stands this.
const PENDING_INTERVAL: Duration = Duration::from_mins(1);

/// Why a reconcile is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A step failed.
    #[error(transparent)]
    Apply(#[from] apply::Error),
    /// Tenant does not answer: everything that could be told was told.
    #[error("failed to ask tenant")]
    Tenant(#[source] tenant::Error),
}

/// What every reconcile shares.
#[derive(Debug)]
pub struct Context {
    /// Reads.
    pub dereferencer: Dereferencer,
    /// Judges.
    pub rules: Rules,
    /// Writes.
    pub executor: Executor,
    /// Remembers.
    pub memory: Arc<Memory>,
    /// How many do what at once.
    pub slots: Slots,
    /// Waits after failures.
    pub backoffs: Arc<Backoffs>,
    /// Waits for Secrets that are not there.
    pub absences: Arc<Backoffs>,
    /// Measures.
    pub metrics: Metrics,
    /// What waits.
    pub queue: Queue,
    /// How often an institution is looked at when nothing changes.
    pub resync: Duration,
    /// Time.
    pub clock: Clock,
    /// Whether everything was looked at since tenant's store began.
    pub passes: Passes,
}

/// So many institutions at once: who waits for tenant takes nothing from who is only looked at and told what is wrong.
#[derive(Debug)]
pub struct Slots {
    /// Reads the cluster, judges, writes statuses.
    looking: Semaphore,
    /// Asks tenant.
    asking: Semaphore,
}

/// Brings one institution to what its manifest says, and its status to what is true.
///
/// # Errors
/// What is tried again after a pause ([`Context::after`]).
pub async fn reconcile(object: Arc<Guarded<CreditorInstitution>>, ctx: Arc<Context>) -> Result<Action, Error> {
    let reference = ObjectRef::from_obj(&*object);
    let (object, superseded) = ctx.queue.begin(&ctx.dereferencer.caches.institutions, object);
    let store = ctx.passes.store();
    let looked_at = |held_back| ctx.passes.looked_at(&reference, store.as_deref(), held_back);
    let institution = match &object.0 {
        Ok(institution) => institution,
        Err(broken) => {
            looked_at(true);
            return Ok(ctx.unreadable(broken).await);
        }
    };
    if !ctx.dereferencer.is_ours(institution) {
        looked_at(false);
        return Ok(Action::await_change());
    }
    let started = ctx.clock.monotonic();
    let outcome = Box::pin(ctx.reconcile(institution, superseded)).await;
    let label = outcome.as_ref().map_or(Outcome::Failed, |(outcome, _)| *outcome);
    ctx.metrics.reconciled(label, ctx.clock.monotonic().saturating_sub(started));
    let (outcome, wait) = outcome?;
    match outcome {
        Outcome::Done => looked_at(false),
        Outcome::Invalid | Outcome::Stalled => looked_at(true),
        // The next look counts.
        Outcome::Superseded | Outcome::Failed => {}
    }
    let uid = institution.uid().unwrap_or_default();
    if outcome == Outcome::Stalled {
        return Ok(Action::requeue(ctx.pause(&uid, institution.metadata.generation.unwrap_or_default())));
    }
    ctx.backoffs.succeeded(&uid);
    Ok(Action::requeue(wait))
}

// === impl Context ===

impl Context {
    async fn reconcile(
        &self,
        institution: &CreditorInstitution,
        superseded: impl Future<Output = ()>,
    ) -> Result<(Outcome, Duration), Error> {
        let today = self.clock.today();
        let deleting = institution.metadata.deletion_timestamp.is_some();
        let slot = self.slots.looking().await;
        let snapshot = self.dereferencer.snapshot(institution, today).await;
        let validated = validate(&snapshot, &self.rules);
        if !deleting {
            let nothing = Knowledge::Never;
            let steps = self.told(institution, &validated, &nothing, today, status::first);
            self.executor.run(institution, steps).await?;
        }
        drop(slot);

        // Who waits for tenant is not waited for: the next look tells at once what is wrong with the new manifest.
        let (knowledge, trouble) = tokio::select! {
            biased;
            reached = self.reach(institution, &validated) => reached?,
            () = superseded => return Ok((Outcome::Superseded, self.resync())),
        };
        if deleting && trouble.is_none() {
            return Ok((Outcome::Done, self.resync()));
        }

        let _slot = self.slots.looking().await;
        let steps = self.told(institution, &validated, &knowledge, today, status::last);
        self.executor.run(institution, steps).await?;
        if let Some(trouble) = trouble {
            return Err(Error::Tenant(trouble));
        }
        let stalled = self.told(institution, &validated, &knowledge, today, status::stalled);
        Ok(self.conclude(&snapshot, &validated, &knowledge, stalled))
    }

    /// Brings tenant's configuration to what the manifest says; what tenant knows afterwards, and why it could not be asked.
    async fn reach(
        &self,
        institution: &CreditorInstitution,
        validated: &Validated,
    ) -> Result<(Knowledge, Option<tenant::Error>), Error> {
        let _slot = self.slots.asking().await;
        let uid = institution.uid().unwrap_or_default();
        let deleting = institution.metadata.deletion_timestamp.is_some();
        let (knowledge, trouble) = if deleting { (Knowledge::Never, None) } else { self.ask(institution, &uid).await };
        let remembered = self.memory.remembered(&uid);
        let steps = plan(institution, validated.bundle.as_ref(), remembered.as_ref(), &knowledge);
        let changes = steps.iter().any(|step| matches!(step, Step::ApplyBundle(_)));
        match self.executor.run(institution, steps).await {
            // Another operator leads: what this one would tell of tenant is not true.
            Err(apply::Error::Tenant(error @ tenant::Error::Deposed(_))) => Err(Error::Tenant(error)),
            Err(apply::Error::Tenant(error)) => Ok((Knowledge::Away(Absence::of(&error)), Some(error))),
            Err(error) => Err(error.into()),
            Ok(()) if changes => Ok(self.ask(institution, &uid).await),
            Ok(()) => Ok((knowledge, trouble)),
        }
    }

    /// Calls one of [`status`]'s functions with the facts as they are now.
    fn told<T>(
        &self,
        institution: &CreditorInstitution,
        validated: &Validated,
        knowledge: &Knowledge,
        today: Date,
        tell: impl FnOnce(&Facts<'_>) -> T,
    ) -> T {
        let uid = institution.uid().unwrap_or_default();
        let answer = self.memory.remembered(&uid);
        let answer =
            answer.zip(validated.bundle.as_ref()).map(|(answer, bundle)| Remembered::still_about(answer, bundle));
        let mut report = validated.report.clone();
        report.refresh(|subject| self.memory.written(&subject.uid, &subject.resource_version));
        tell(&Facts {
            institution,
            previous: &self.previous(institution),
            report: &report,
            held_back: validated.bundle.is_none(),
            answer: answer.as_ref(),
            knowledge,
            now: self.clock.now(),
            today,
        })
    }

    /// The status that the institution has, also when the watch has not brought the latest one back yet.
    fn previous(&self, institution: &CreditorInstitution) -> InstitutionStatus {
        let version = institution.resource_version().unwrap_or_default();
        let written = self.memory.written(&institution.uid().unwrap_or_default(), &version);
        let written = written.and_then(|status| serde_json::from_value(status).ok());
        written.or_else(|| institution.status.clone()).unwrap_or_default()
    }

    async fn ask(&self, institution: &CreditorInstitution, uid: &str) -> (Knowledge, Option<tenant::Error>) {
        match self.executor.tenant.institution(&institution.spec.fiscal_code).await {
            Ok(answer) => {
                if let Some(status) = &answer {
                    self.learn_holder(&institution.spec.fiscal_code, &status.uid).await;
                }
                (Knowledge::of(answer, uid), None)
            }
            Err(error) => (Knowledge::Away(Absence::of(&error)), Some(error)),
        }
    }

    /// Of rivals another one holds the fiscal code than was known: those who pay shares to it look again.
    async fn learn_holder(&self, fiscal_code: &str, uid: &str) {
        let Dereferencer { caches, platform, .. } = &self.dereferencer;
        if !self.memory.held(fiscal_code, uid) || caches.claimants(fiscal_code, platform).len() < 2 {
            return;
        }
        for institution in caches.sharing_with(fiscal_code) {
            self.queue.push(institution).await;
        }
    }

    fn conclude(
        &self,
        snapshot: &Snapshot,
        validated: &Validated,
        knowledge: &Knowledge,
        stalled: bool,
    ) -> (Outcome, Duration) {
        if stalled {
            return (Outcome::Stalled, self.resync());
        }
        let mut wait = self.resync();
        if knowledge.known().is_some_and(status::is_pending) {
            wait = wait.min(spread(PENDING_INTERVAL));
        }
        let uid = snapshot.institution.uid().unwrap_or_default();
        if snapshot.keys.values().any(Result::is_err) {
            let generation = snapshot.institution.metadata.generation.unwrap_or_default();
            wait = wait.min(self.absences.failed(&uid, generation));
        } else {
            self.absences.succeeded(&uid);
        }
        if !snapshot.beneficiaries.is_empty() {
            wait = wait.min(until_midnight(self.clock.now()));
        }
        let wrong = validated.report.draft().status != ConditionStatus::True;
        (if wrong { Outcome::Invalid } else { Outcome::Done }, wait)
    }

    /// How long to wait after a failure.
    pub fn after(&self, object: &Guarded<CreditorInstitution>, error: &Error) -> Action {
        let (uid, generation) =
            (object.uid().unwrap_or_default(), kube::Resource::meta(object).generation.unwrap_or_default());
        let pause = self.pause(&uid, generation);
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(namespace, name, pause_ms, error = chain(error), "failed to reconcile");
        Action::requeue(pause)
    }

    pub(super) fn pause(&self, uid: &str, generation: i64) -> Duration {
        let pause = self.backoffs.failed(uid, generation);
        self.metrics.backed_off(pause);
        pause
    }

    pub(super) fn resync(&self) -> Duration {
        spread(self.resync)
    }
}

// === impl Slots ===

impl Slots {
    /// `count` of each.
    pub fn new(count: u16) -> Self {
        Self { looking: Semaphore::new(count.into()), asking: Semaphore::new(count.into()) }
    }

    /// A slot to look at the cluster and tell what is wrong; never closed.
    pub(super) async fn looking(&self) -> Option<SemaphorePermit<'_>> {
        self.looking.acquire().await.ok()
    }

    /// A slot to ask tenant; never closed.
    pub(super) async fn asking(&self) -> Option<SemaphorePermit<'_>> {
        self.asking.acquire().await.ok()
    }
}

/// +-25 %, so that institutions are not looked at all at once.
fn spread(interval: Duration) -> Duration {
    interval.saturating_mul(rand::rng().random_range(75..=125)) / 100
}

/// A beneficiary's account may get its first valid number with the legal date.
fn until_midnight(now: Timestamp) -> Duration {
    let rome = TimeZone::get("Europe/Rome").unwrap_or(TimeZone::UTC);
    let here = now.to_zoned(rome);
    let next = here.checked_add(1.day()).and_then(|next| next.start_of_day());
    let seconds = next.map(|next| next.timestamp().as_second() - now.as_second()).unwrap_or_default();
    Duration::from_secs(u64::try_from(seconds).unwrap_or_default() + 1)
}
