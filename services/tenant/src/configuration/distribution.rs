//! What the live replicas hold, service by service: pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fiorino_proto::config::v1::{DistributionState, ServiceDistribution};

use super::watermark::{Refusal, Watermark};

/// The live replicas of the expected services at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Distribution {
    services: Vec<(String, Vec<Watermark>)>,
}

/// Which institutions may read differently.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// Every one: a replica came or went.
    pub(super) all: bool,
    /// Those whose sequence is above the first and not above the second: a watermark passed them, forth or back.
    pub(super) passed: Option<(i64, i64)>,
    /// Those that these resources touch: refused, or no longer.
    pub(super) refused: BTreeSet<String>,
}

// === impl Distribution ===

impl Distribution {
    pub(super) fn new(expected: &[String], live: &[Watermark]) -> Self {
        let of = |service: &String| live.iter().filter(|mark| mark.service == *service).cloned().collect();
        Self { services: expected.iter().map(|service| (service.clone(), of(service))).collect() }
    }

    /// uids that somebody refuses.
    pub(super) fn refused(&self) -> BTreeSet<&str> {
        self.marks().flat_map(|mark| &mark.nacks).map(|nack| nack.uid.as_str()).collect()
    }

    /// How far an institution came whose latest change is `config_seq`; `resources` holds the sequences of those of its resources,
    /// and of its stations and brokers, that somebody refuses.
    pub(super) fn of(&self, config_seq: i64, resources: &HashMap<String, i64>) -> Vec<ServiceDistribution> {
        let told = |(service, marks): &(String, Vec<Watermark>)| {
            let lowest = lowest(marks);
            let refusals: Vec<String> = marks.iter().flat_map(|mark| refusals(mark, resources)).collect();
            let state = match lowest {
                None => DistributionState::NoReplica,
                Some(_) if !refusals.is_empty() => DistributionState::Refused,
                Some(lowest) if lowest >= config_seq => DistributionState::Acknowledged,
                Some(_) => DistributionState::Pending,
            };
            ServiceDistribution {
                service: service.clone(),
                state: state.into(),
                lowest_acknowledged_seq: lowest.unwrap_or_default(),
                live_replicas: u32::try_from(marks.len()).unwrap_or(u32::MAX),
                refusals,
            }
        };
        self.services.iter().map(told).collect()
    }

    /// What changed since `before`.
    pub(super) fn since(&self, before: &Self) -> Difference {
        let replicas = |distribution: &Self| -> BTreeSet<(String, String)> {
            distribution.marks().map(|mark| (mark.service.clone(), mark.replica.clone())).collect()
        };
        if replicas(self) != replicas(before) {
            return Difference { all: true, ..Difference::default() };
        }
        let lows = |distribution: &Self| -> BTreeMap<String, i64> {
            let low = |(service, marks): &(String, Vec<Watermark>)| Some((service.clone(), lowest(marks)?));
            distribution.services.iter().filter_map(low).collect()
        };
        let (ours, theirs) = (lows(self), lows(before));
        let moved = ours.iter().filter_map(|(service, &now)| {
            let before = *theirs.get(service)?;
            (now != before).then_some((now.min(before), now.max(before)))
        });
        let passed = moved.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)));
        let (ours, theirs) = (self.nacks(), before.nacks());
        let refused = ours.symmetric_difference(&theirs).map(|(_, nack)| nack.uid.clone()).collect();
        Difference { all: false, passed, refused }
    }

    fn marks(&self) -> impl Iterator<Item = &Watermark> {
        self.services.iter().flat_map(|(_, marks)| marks)
    }

    fn nacks(&self) -> BTreeSet<(&str, &Refusal)> {
        self.marks().flat_map(|mark| mark.nacks.iter().map(|nack| (mark.replica.as_str(), nack))).collect()
    }
}

// === impl Difference ===

impl Difference {
    pub(super) fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

fn lowest(marks: &[Watermark]) -> Option<i64> {
    marks.iter().map(|mark| mark.acknowledged_seq).min()
}

/// Refusals of what is in force; one of an older version is about to be judged again.
fn refusals<'a>(mark: &'a Watermark, resources: &'a HashMap<String, i64>) -> impl Iterator<Item = String> + 'a {
    let in_force = |nack: &&Refusal| resources.get(&nack.uid).is_some_and(|&config_seq| nack.config_seq >= config_seq);
    mark.nacks.iter().filter(in_force).map(|nack| format!("{}: {}", mark.replica, nack.reason))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const EXPECTED: [&str; 2] = ["node-connector", "reporting"];

    fn mark(service: &str, replica: &str, acknowledged_seq: i64, nacks: &[(&str, i64)]) -> Watermark {
        let nack = |&(uid, config_seq): &(&str, i64)| Refusal { uid: uid.into(), config_seq, reason: "no".into() };
        Watermark {
            service: service.into(),
            replica: replica.into(),
            boot_id: "b".into(),
            acknowledged_seq,
            nacks: nacks.iter().map(nack).collect(),
        }
    }

    fn distribution(live: &[Watermark]) -> Distribution {
        Distribution::new(&EXPECTED.map(str::to_owned), live)
    }

    #[rstest]
    #[case::nobody_lives(&[], DistributionState::NoReplica)]
    #[case::another_service_does_not_count(&[mark("reporting", "r", 9, &[])], DistributionState::NoReplica)]
    #[case::the_lowest_counts(&[mark("node-connector", "a", 9, &[]), mark("node-connector", "b", 6, &[])], DistributionState::Pending)]
    #[case::all_reached_it(&[mark("node-connector", "a", 9, &[]), mark("node-connector", "b", 7, &[])], DistributionState::Acknowledged)]
    #[case::one_refuses(&[mark("node-connector", "a", 9, &[("u", 7)]), mark("node-connector", "b", 9, &[])], DistributionState::Refused)]
    #[case::an_older_version_was_refused(&[mark("node-connector", "a", 6, &[("u", 6)])], DistributionState::Pending)]
    #[case::somebody_elses_was_refused(&[mark("node-connector", "a", 9, &[("other", 9)])], DistributionState::Acknowledged)]
    fn state_of_an_institution_at_7(#[case] live: &[Watermark], #[case] expected: DistributionState) {
        let told = distribution(live).of(7, &HashMap::from([("u".to_owned(), 7)]));
        assert_eq!((told[0].service.as_str(), told[0].state()), ("node-connector", expected));
    }

    #[rstest]
    #[case::same(&[mark("node-connector", "a", 5, &[])], Difference::default())]
    #[case::forward(&[mark("node-connector", "a", 8, &[])], Difference { passed: Some((5, 8)), ..Difference::default() })]
    #[case::back(&[mark("node-connector", "a", 2, &[])], Difference { passed: Some((2, 5)), ..Difference::default() })]
    #[case::gone(&[], Difference { all: true, ..Difference::default() })]
    #[case::another(&[mark("node-connector", "b", 5, &[])], Difference { all: true, ..Difference::default() })]
    #[case::refused(&[mark("node-connector", "a", 5, &[("u", 5)])], Difference { refused: BTreeSet::from(["u".to_owned()]), ..Difference::default() })]
    #[case::unexpected(&[mark("node-connector", "a", 5, &[]), mark("mail", "m", 1, &[])], Difference::default())]
    fn differences_from_one_replica_at_5(#[case] live: &[Watermark], #[case] expected: Difference) {
        let before = distribution(&[mark("node-connector", "a", 5, &[])]);
        assert_eq!(distribution(live).since(&before), expected);
    }
}
