//! An institution as it is looked at: its manifest, what tenant knows and answered, what was written before.

use fiorino_crds::{
    CreditorInstitution, InstitutionStatus, Reason,
    condition::{ConditionStatus, ConditionType},
    waiting::Action,
};
use fiorino_operator::institution::{
    Remembered,
    dereference::Snapshot,
    plan::{Knowledge, Step},
    status::{Facts, last},
    validate::Validated,
};
use fiorino_proto::config::v1::{
    AccountRegistration, ApplyBundleResponse, ApplyResult, DistributionState, InstitutionStatus as Known,
    LifecyclePhase, ResourceOutcome, ServiceDistribution, ServiceState, StationRegistration, UsedAccount,
};
use jiff::Timestamp;

use crate::world::{INSTITUTION, judge, snapshot, today};

pub(super) fn now() -> Timestamp {
    "2026-11-23T10:42:00Z".parse().unwrap()
}

/// Everything is as it should be.
pub(super) fn known() -> Known {
    Known {
        fiscal_code: INSTITUTION.to_owned(),
        uid: "uid-roccafiorina".to_owned(),
        legal_name: "Comune di Roccafiorina".to_owned(),
        phase: LifecyclePhase::Testing.into(),
        managed: true,
        config_seq: 7,
        distribution: vec![
            distributed("node-connector", DistributionState::Acknowledged),
            distributed("reporting", DistributionState::Acknowledged),
        ],
        accounts: vec![registered("tesoreria", "2026-01-01", true)],
        stations: vec![StationRegistration {
            station_id: "91073550427_01".to_owned(),
            associated: true,
            difference: String::new(),
        }],
        node_connected_at: "2026-11-22T09:00:00Z".to_owned(),
        readback_at: "2026-11-23T10:00:00Z".to_owned(),
        services: vec![ServiceState {
            code: "TARI".to_owned(),
            profile_revision: "comune-standard/1".to_owned(),
            active: true,
        }],
        waiting_since: String::new(),
        stations_waiting_since: String::new(),
        accounts_waiting_since: String::new(),
        used_accounts: vec![used("tesoreria", true, true)],
    }
}

/// An account to which TARI pays.
pub(super) fn used(account: &str, in_force: bool, usable: bool) -> UsedAccount {
    let services = vec!["TARI".to_owned()];
    UsedAccount { owner: String::new(), account: account.to_owned(), services, in_force, usable }
}

pub(super) fn distributed(service: &str, state: DistributionState) -> ServiceDistribution {
    let refusals = if state == DistributionState::Refused {
        vec!["node-connector-0: unknown enum value".to_owned()]
    } else {
        vec![]
    };
    ServiceDistribution {
        service: service.to_owned(),
        state: state.into(),
        lowest_acknowledged_seq: 7,
        live_replicas: 2,
        refusals,
    }
}

pub(super) fn registered(account: &str, valid_from: &str, registered: bool) -> AccountRegistration {
    AccountRegistration {
        account: account.to_owned(),
        valid_from: valid_from.to_owned(),
        iban_tail: "4233".to_owned(),
        registered,
    }
}

pub(super) struct Scene {
    pub(super) institution: CreditorInstitution,
    pub(super) validated: Validated,
    pub(super) answer: Option<Remembered>,
    pub(super) knowledge: Knowledge,
    pub(super) previous: InstitutionStatus,
    pub(super) now: Timestamp,
}

// === impl Scene ===

impl Scene {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        Self {
            institution: snapshot.institution.clone(),
            validated: judge(snapshot),
            answer: None,
            knowledge: Knowledge::Known(Box::new(known())),
            previous: InstitutionStatus::default(),
            now: now(),
        }
    }

    pub(super) fn knowing(change: impl FnOnce(&mut Known)) -> Self {
        let mut known = known();
        change(&mut known);
        Self { knowledge: Knowledge::Known(Box::new(known)), ..Self::of(&snapshot()) }
    }

    pub(super) fn answered(mut self, uid: &str, result: ApplyResult, message: &str) -> Self {
        let outcome = ResourceOutcome { uid: uid.to_owned(), result: result.into(), message: message.to_owned() };
        let bundle = self.validated.bundle.clone().unwrap();
        self.answer =
            Some(Remembered::answered(&bundle, &ApplyBundleResponse { config_seq: 7, outcomes: vec![outcome] }));
        self
    }

    pub(super) fn facts(&self) -> Facts<'_> {
        Facts {
            institution: &self.institution,
            previous: &self.previous,
            report: &self.validated.report,
            held_back: self.validated.bundle.is_none(),
            answer: self.answer.as_ref(),
            knowledge: &self.knowledge,
            now: self.now,
            today: today(),
        }
    }

    pub(super) fn status(&self) -> InstitutionStatus {
        written(&last(&self.facts()), "uid-roccafiorina").unwrap_or_else(|| self.previous.clone())
    }

    pub(super) fn reads(&self, kind: ConditionType) -> (ConditionStatus, Reason) {
        let status = self.status();
        let condition = status.condition(kind).unwrap_or_else(|| panic!("no condition {kind}"));
        (condition.status, condition.reason)
    }

    pub(super) fn waits_for(&self) -> Option<Action> {
        self.status().waiting_for.map(|waiting| waiting.action)
    }
}

pub(super) fn written(steps: &[Step], uid: &str) -> Option<InstitutionStatus> {
    steps.iter().find_map(|step| match step {
        Step::PatchStatus(patch) if patch.subject.uid == uid => {
            Some(serde_json::from_value(patch.status.clone()).unwrap())
        }
        _ => None,
    })
}
