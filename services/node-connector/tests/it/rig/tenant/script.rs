//! What a test tells the fake, and what the fake saw.

use std::collections::{HashMap, HashSet};

use fiorino_proto::{
    config::v1::{
        Addressee, Association, BrokerSpec, InstitutionSpec, LifecyclePhase, RecordReadbackRequest, Resource,
        ResourceKind, StationSpec,
    },
    notices::v1::{
        ActivateReply, ActivatedNotice, Activation, Debtor, NoticeRef, PayableNotice, Refusal, Transfer, VerifyReply,
        activate_reply, verify_reply,
    },
    receipts::v1::Receipt,
    restore::v1::{Block, Opening, SentAgain, Store},
};
use fiorino_scripted_tenant::Answer;

use crate::rig::{Names, messages};

#[derive(Debug, Default)]
pub(crate) struct Script {
    // What the fake does.
    /// Payable notices by number; every other is unknown.
    pub(crate) payable: HashMap<String, ActivatedNotice>,
    pub(crate) refused: HashMap<String, Refusal>,
    pub(crate) notices: Answer,
    pub(crate) resolving: Answer,
    pub(crate) applying: Answer,
    /// Fiscal codes and station ids that are ours, and (station, institution) that belong together.
    pub(crate) ours: HashSet<String>,
    pub(crate) associated: HashSet<(String, String)>,
    /// Notices and receipts with which a whole batch fails.
    pub(crate) poison: HashSet<String>,
    /// Receipts with which a call is never answered.
    pub(crate) slow: HashSet<String>,
    /// Receipts that are answered as not applied.
    pub(crate) unapplied: HashSet<String>,
    pub(crate) waiting: bool,
    /// What is not ours is not known yet.
    pub(crate) restored: bool,
    pub(crate) store: Store,
    /// Blocks, announced one after the other.
    pub(crate) reserved: Vec<Block>,

    // What the fake saw.
    pub(crate) verified: Vec<Vec<NoticeRef>>,
    pub(crate) activated: Vec<Activation>,
    pub(crate) asked: usize,
    pub(crate) applied: Vec<Receipt>,
    /// Receipts per call, failed calls too.
    pub(crate) batches: Vec<usize>,
    pub(crate) readbacks: Vec<RecordReadbackRequest>,
    pub(crate) openings: Vec<Opening>,
    pub(crate) kept: Vec<Block>,
    pub(crate) sent_again: Vec<SentAgain>,
}

// === impl Script ===

impl Script {
    /// One payable notice of what is ours.
    pub(super) fn of(names: &Names) -> Self {
        let mut script = Self::default();
        script.own(names);
        script.payable.insert(messages::NOTICE.to_owned(), activated(&names.institution));
        script
    }

    /// What `ResolveAddressee` knows, whether it is streamed or not.
    pub(crate) fn own(&mut self, names: &Names) {
        let Names { broker, station, institution } = names.clone();
        self.associated.insert((station.clone(), institution.clone()));
        self.ours.extend([broker, station, institution]);
    }

    /// Receipts applied, by id.
    pub(crate) fn applied_ids(&self) -> Vec<&str> {
        self.applied.iter().map(|receipt| receipt.receipt_id.as_str()).collect()
    }

    /// As a restored tenant answers, if it is one.
    pub(super) fn stranger(&self, addressee: Addressee) -> Addressee {
        if self.restored { Addressee::NotYetKnown } else { addressee }
    }

    pub(super) fn verify(&self, notice: &NoticeRef) -> VerifyReply {
        let reply = match self.answer(&notice.notice_number) {
            Ok(activated) => verify_reply::Reply::Payable(activated.notice.unwrap()),
            Err(refusal) => verify_reply::Reply::Refusal(refusal.into()),
        };
        VerifyReply { reply: Some(reply) }
    }

    pub(super) fn activate(&self, activation: &Activation) -> ActivateReply {
        let notice = activation.notice.as_ref().unwrap();
        let reply = match self.answer(&notice.notice_number) {
            Ok(activated) => activate_reply::Reply::Activated(activated),
            Err(refusal) => activate_reply::Reply::Refusal(refusal.into()),
        };
        ActivateReply { reply: Some(reply) }
    }

    fn answer(&self, notice: &str) -> Result<ActivatedNotice, Refusal> {
        if let Some(refusal) = self.refused.get(notice) {
            return Err(*refusal);
        }
        self.payable.get(notice).cloned().ok_or(Refusal::Unknown)
    }
}

/// A notice of 120.00 euro.
fn payable() -> PayableNotice {
    PayableNotice {
        iuv: "12000000000471179".into(),
        amount_cents: 12_000,
        due_date: "2026-06-16".into(),
        issued_on: "2026-01-02".into(),
        description: "TARI 2026 rata 1".into(),
        company_name: "Comune di Esempio".into(),
        office_name: "Ufficio Tributi".into(),
        all_postal: false,
    }
}

pub(crate) fn activated(institution: &str) -> ActivatedNotice {
    ActivatedNotice {
        notice: Some(payable()),
        debtor: Some(Debtor {
            kind: "F".into(),
            fiscal_code: "RSSMRA80A01H501U".into(),
            full_name: "Mario Rossi".into(),
            ..Debtor::default()
        }),
        transfers: vec![Transfer {
            id: 1,
            amount_cents: 12_000,
            beneficiary: institution.to_owned(),
            beneficiary_name: "Comune di Esempio".into(),
            iban: "IT60X0542811101000000123456".into(),
            remittance: "TARI 2026 rata 1".into(),
            taxonomy_code: "9/0101101IM/".into(),
            ..Transfer::default()
        }],
        ..ActivatedNotice::default()
    }
}

pub(crate) fn broker(code: &str, backoffice_url: &str, sealed_keys: Vec<Vec<u8>>) -> Resource {
    let spec = BrokerSpec {
        fiscal_code: code.to_owned(),
        backoffice_url: backoffice_url.to_owned(),
        sealed_backoffice_keys: sealed_keys.into_iter().map(Into::into).collect(),
    };
    resource(ResourceKind::Broker, code, &spec)
}

pub(crate) fn station(station_id: &str, broker: &str) -> Resource {
    let spec =
        StationSpec { station_id: station_id.to_owned(), broker_fiscal_code: broker.to_owned(), primitive_version: 2 };
    resource(ResourceKind::Station, station_id, &spec)
}

pub(crate) fn institution(fiscal_code: &str, station_id: &str, phase: LifecyclePhase) -> Resource {
    let association =
        Association { station_id: station_id.to_owned(), aux_digit: 3, code: "12".into(), ..Association::default() };
    let spec = InstitutionSpec {
        fiscal_code: fiscal_code.to_owned(),
        legal_name: "Comune di Esempio".into(),
        phase: phase.into(),
        associations: vec![association],
        ..InstitutionSpec::default()
    };
    resource(ResourceKind::Institution, fiscal_code, &spec)
}

fn resource(kind: ResourceKind, name: &str, spec: &impl prost::Message) -> Resource {
    let uid = format!("uid-{name}");
    Resource { name: name.to_owned(), ..fiorino_scripted_tenant::resource(kind, &uid, spec) }
}
