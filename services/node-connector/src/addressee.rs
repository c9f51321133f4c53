//! Whose is a message? Answered from this replica's view; what is unknown there is asked of tenant, and remembered for a second.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use fiorino_config_client::Handle;
use fiorino_kit::{clock::Clock, rpc};
use fiorino_proto::config::v1::{Addressee, ResolveAddresseeRequest, config_read_client::ConfigReadClient};

use crate::{
    metrics::Metrics,
    projection::{Address, Lookup, Projection},
};

/// How long an answer of tenant is remembered: long enough to spare it a burst, short enough for a new institution.
const REMEMBERED: Duration = Duration::from_secs(1);
/// Answers remembered at once.
const ANSWERS_MAX: usize = 1_024;

/// Tells whose a message is; one per process.
#[derive(Debug)]
pub(crate) struct Resolver {
    config: Handle<Projection>,
    tenant: ConfigReadClient<rpc::Channel>,
    answers: Answers,
    clock: Clock,
    metrics: Metrics,
}

/// Whose a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Ours, in some state.
    Ours {
        /// Station and institution belong together.
        associated: bool,
    },
    /// Never ours.
    NeverOurs(Stranger),
    /// Unknown here, and tenant does not know yet: its database went back in time.
    NotYetKnown,
    /// Unknown here, and tenant could not be asked.
    Away,
}

/// What of an address was never ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stranger {
    Broker,
    Station,
    Institution,
}

/// What tenant answered lately.
#[derive(Debug, Default)]
struct Answers {
    /// Until when, in monotonic time.
    known: Mutex<HashMap<Address, (Verdict, Duration)>>,
}

// === impl Resolver ===

impl Resolver {
    pub(crate) fn new(config: Handle<Projection>, tenant: rpc::Channel, clock: Clock, metrics: Metrics) -> Self {
        Self { config, tenant: ConfigReadClient::new(tenant), answers: Answers::default(), clock, metrics }
    }

    /// What this replica knows by itself.
    pub(crate) fn lookup(&self, address: &Address) -> Lookup {
        self.config.current().lookup(address)
    }

    /// Asks tenant, within `budget`, unless it answered lately.
    pub(crate) async fn ask(&self, address: &Address, budget: Duration) -> Verdict {
        match self.answers.get(address, self.clock.monotonic()) {
            Some(verdict) => verdict,
            None => self.ask_tenant(address, budget).await,
        }
    }

    /// As [`Resolver::ask`], but whether something was never ours is asked anew: a receipt is refused for good by it, and an
    /// institution may have been applied since.
    pub(crate) async fn ask_for_receipt(&self, address: &Address, budget: Duration) -> Verdict {
        match self.answers.get(address, self.clock.monotonic()) {
            Some(verdict @ Verdict::Ours { .. }) => verdict,
            Some(Verdict::NeverOurs(_) | Verdict::NotYetKnown | Verdict::Away) | None => {
                self.ask_tenant(address, budget).await
            }
        }
    }

    async fn ask_tenant(&self, address: &Address, budget: Duration) -> Verdict {
        let now = self.clock.monotonic();
        let request = ResolveAddresseeRequest {
            broker_fiscal_code: address.broker.clone(),
            station_id: address.station.clone(),
            institution: address.institution.clone(),
        };
        let attempt = |request| {
            let mut tenant = self.tenant.clone();
            async move { tenant.resolve_addressee(request).await }
        };
        let answered = rpc::call_twice(budget, &request, attempt).await;
        let verdict = match answered {
            Ok(response) => verdict(response.addressee()),
            Err(status) => {
                tracing::warn!(code = ?status.code(), message = status.message(), "failed to ask tenant for an addressee");
                Verdict::Away
            }
        };
        self.metrics.addressee(verdict.name());
        if !matches!(verdict, Verdict::Away | Verdict::NotYetKnown) {
            self.answers.put(address.clone(), verdict, now);
        }
        verdict
    }
}

/// An answer of tenant; one that this version does not know is no answer.
const fn verdict(addressee: Addressee) -> Verdict {
    match addressee {
        Addressee::Ours => Verdict::Ours { associated: true },
        Addressee::NotAssociated => Verdict::Ours { associated: false },
        Addressee::BrokerNeverOurs => Verdict::NeverOurs(Stranger::Broker),
        Addressee::StationNeverOurs => Verdict::NeverOurs(Stranger::Station),
        Addressee::InstitutionNeverOurs => Verdict::NeverOurs(Stranger::Institution),
        Addressee::NotYetKnown => Verdict::NotYetKnown,
        Addressee::Unspecified => Verdict::Away,
    }
}

// === impl Verdict ===

impl Verdict {
    const fn name(self) -> &'static str {
        match self {
            Self::Ours { associated: true } => "ours",
            Self::Ours { associated: false } => "not_associated",
            Self::NeverOurs(_) => "never_ours",
            Self::NotYetKnown => "not_yet_known",
            Self::Away => "away",
        }
    }
}

// === impl Answers ===

impl Answers {
    fn get(&self, address: &Address, now: Duration) -> Option<Verdict> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(address).filter(|(_, until)| now < *until).map(|(verdict, _)| *verdict)
    }

    fn put(&self, address: Address, verdict: Verdict, now: Duration) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= ANSWERS_MAX {
            known.retain(|_, (_, until)| now < *until);
        }
        // Still full: whoever sends nonsense so fast pays for asking, the rest is not made to.
        if known.len() < ANSWERS_MAX {
            known.insert(address, (verdict, now + REMEMBERED));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: usize) -> Address {
        Address { broker: "88888888888".into(), station: "88888888888_01".into(), institution: format!("{number:011}") }
    }

    #[test]
    fn an_answer_is_remembered_for_a_second() {
        let answers = Answers::default();
        let asked = Duration::from_secs(10);
        answers.put(address(1), Verdict::NeverOurs(Stranger::Institution), asked);
        let almost = asked + Duration::from_millis(999);
        assert_eq!(answers.get(&address(1), almost), Some(Verdict::NeverOurs(Stranger::Institution)));
        assert_eq!(answers.get(&address(1), asked + REMEMBERED), None);
        assert_eq!(answers.get(&address(2), asked), None);
    }

    #[test]
    fn memory_is_bounded_and_old_answers_make_room() {
        let answers = Answers::default();
        for number in 0..2 * ANSWERS_MAX {
            answers.put(address(number), Verdict::Away, Duration::ZERO);
        }
        assert_eq!(answers.known.lock().unwrap().len(), ANSWERS_MAX);
        answers.put(address(9_999_999), Verdict::Away, REMEMBERED);
        assert_eq!(answers.known.lock().unwrap().len(), 1);
    }
}
