//! What a replica holds of the stream, and what it refuses. Pure: messages in, changes out.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use fiorino_proto::config::v1::{Nack, Resource, ResourceKind, StreamResponse};

use crate::projection::Projection;

/// Everything that a replica holds at one sequence; cheap to share, entries are never changed in place.
#[derive(Debug)]
pub(crate) struct State<I> {
    /// The store that the sequence belongs to; empty = nothing was received or saved yet.
    pub(crate) store_id: String,
    pub(crate) config_seq: i64,
    pub(crate) entries: BTreeMap<String, Arc<Entry<I>>>,
}

/// A resource as last received.
#[derive(Debug)]
pub(crate) struct Entry<I> {
    pub(crate) latest: Resource,
    /// The version in use: `latest`, or an older one when that is refused.
    pub(crate) good: Option<(Resource, Arc<I>)>,
    /// Why `latest` is not in use.
    pub(crate) refusal: Option<String>,
}

/// The replica's state and the message that is being put together from chunks.
#[derive(Debug)]
pub(crate) struct Holding<P: Projection> {
    projection: P,
    capabilities: &'static [&'static str],
    state: Arc<State<P::Item>>,
    incoming: Option<Incoming<P::Item>>,
    /// What is held did not fit what tenant sent.
    distrusted: bool,
}

/// A snapshot or delta up to its last chunk: nothing of it is in effect before.
#[derive(Debug)]
struct Incoming<I> {
    entries: BTreeMap<String, Arc<Entry<I>>>,
    /// Of a snapshot: what was sent, so that the rest can go.
    seen: Option<HashSet<String>>,
}

/// Why a message cannot be used: the stream must begin again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("a delta of store {theirs} follows what is held of store {ours}")]
    OtherStore { ours: String, theirs: String },
    #[error("a resource of kind {0} has no uid")]
    NoUid(i32),
}

// === impl State ===

impl<I> State<I> {
    /// Nothing yet.
    pub(crate) fn empty() -> Self {
        Self { store_id: String::new(), config_seq: 0, entries: BTreeMap::new() }
    }

    /// The complete list of what is refused.
    pub(crate) fn nacks(&self) -> impl Iterator<Item = Nack> {
        let nack = |entry: &Arc<Entry<I>>| {
            let reason = entry.refusal.clone()?;
            Some(Nack { uid: entry.latest.uid.clone(), config_seq: entry.latest.config_seq, reason })
        };
        self.entries.values().filter_map(nack)
    }

    /// Sequence up to which everything is in effect except what the list refuses, and the list, of at most `nacks_max`: what finds no
    /// room in it must not be taken for effective, so the sequence ends below.
    pub(crate) fn acknowledgement(&self, nacks_max: usize) -> (i64, Vec<Nack>) {
        let mut nacks: Vec<_> = self.nacks().collect();
        nacks.sort_by_key(|nack| nack.config_seq);
        let unlisted = nacks.get(nacks_max).map(|nack| nack.config_seq - 1);
        nacks.truncate(nacks_max);
        (unlisted.unwrap_or(self.config_seq), nacks)
    }

    /// What is in use, by uid.
    pub(crate) fn items(&self) -> BTreeMap<String, Arc<I>> {
        let item = |(uid, entry): (&String, &Arc<Entry<I>>)| {
            entry.good.as_ref().map(|(_, item)| (uid.clone(), Arc::clone(item)))
        };
        self.entries.iter().filter_map(item).collect()
    }
}

// === impl Holding ===

impl<P: Projection> Holding<P> {
    /// Nothing yet.
    pub(crate) fn new(projection: P, capabilities: &'static [&'static str]) -> Self {
        Self { projection, capabilities, state: Arc::new(State::empty()), incoming: None, distrusted: false }
    }

    /// What is held.
    pub(crate) fn state(&self) -> &Arc<State<P::Item>> {
        &self.state
    }

    /// What the service reads of it.
    pub(crate) fn view(&self) -> P::View {
        self.projection.view(&self.state.items())
    }

    /// Takes over a saved copy: (latest, version in use where latest was refused).
    pub(crate) fn restore(&mut self, store_id: String, config_seq: i64, saved: Vec<(Resource, Option<Resource>)>) {
        let mut entries = BTreeMap::new();
        for (latest, good) in saved {
            // Judged again: this version of the service may understand more, or less, than the one that saved it.
            if let Some(good) = good {
                self.take(&mut entries, good);
            }
            self.take(&mut entries, latest);
        }
        self.state = Arc::new(State { store_id, config_seq, entries });
    }

    /// Forgets the chunks of a stream that broke.
    pub(crate) fn abandon(&mut self) {
        self.incoming = None;
    }

    /// Serves on with what is held, but takes only a snapshot next.
    pub(crate) fn distrust(&mut self) {
        self.distrusted = true;
    }

    /// Store and sequence that tenant may go on from.
    pub(crate) fn known(&self) -> (String, i64) {
        if self.distrusted { Default::default() } else { (self.state.store_id.clone(), self.state.config_seq) }
    }

    /// Takes a message; true when it completed a change and [`Holding::state`] is at its sequence.
    pub(crate) fn receive(&mut self, message: StreamResponse) -> Result<bool, Unusable> {
        if self.is_held(&message) {
            return Ok(true);
        }
        let mut incoming = self.begin(&message)?;
        for resource in message.resources {
            if resource.uid.is_empty() {
                return Err(Unusable::NoUid(resource.kind));
            }
            if let Some(seen) = &mut incoming.seen {
                seen.insert(resource.uid.clone());
            }
            self.take(&mut incoming.entries, resource);
        }
        for uid in &message.tombstones {
            incoming.entries.remove(uid);
        }
        if !message.complete {
            self.incoming = Some(incoming);
            return Ok(false);
        }
        if let Some(seen) = incoming.seen {
            incoming.entries.retain(|uid, _| seen.contains(uid));
        }
        let (store_id, config_seq) = (message.store_id, message.up_to_seq);
        self.state = Arc::new(State { store_id, config_seq, entries: incoming.entries });
        self.distrusted = false;
        Ok(true)
    }

    /// Nothing but a sign of life.
    fn is_held(&self, message: &StreamResponse) -> bool {
        let empty = message.resources.is_empty() && message.tombstones.is_empty() && self.incoming.is_none();
        let whole = message.complete && !message.snapshot_start && !self.distrusted;
        let State { store_id, config_seq, .. } = &*self.state;
        empty && whole && (store_id, config_seq) == (&message.store_id, &message.up_to_seq)
    }

    /// What a message adds to.
    fn begin(&mut self, message: &StreamResponse) -> Result<Incoming<P::Item>, Unusable> {
        let held = |seen| Incoming { entries: self.state.entries.clone(), seen };
        if message.snapshot_start {
            return Ok(held(Some(HashSet::new())));
        }
        if let Some(incoming) = self.incoming.take() {
            return Ok(incoming);
        }
        if self.distrusted || message.store_id != self.state.store_id {
            let (ours, theirs) = (self.state.store_id.clone(), message.store_id.clone());
            return Err(Unusable::OtherStore { ours, theirs });
        }
        Ok(held(None))
    }

    /// Parses a resource into `entries`; one that is refused leaves the version in use.
    fn take(&self, entries: &mut BTreeMap<String, Arc<Entry<P::Item>>>, resource: Resource) {
        // A kind that this version does not know may be one that it has to serve: refused below, not ignored.
        if ResourceKind::try_from(resource.kind).is_ok_and(|kind| !self.projection.wants(kind)) {
            return;
        }
        if entries.get(&resource.uid).is_some_and(|entry| entry.latest == resource) {
            return; // judged before: a snapshot repeats what is held
        }
        let uid = resource.uid.clone();
        let entry = match self.judge(&resource) {
            Ok(item) => Entry { good: Some((resource.clone(), Arc::new(item))), latest: resource, refusal: None },
            Err(reason) => {
                let good = entries.get(&uid).and_then(|entry| entry.good.clone());
                Entry { latest: resource, good, refusal: Some(reason) }
            }
        };
        entries.insert(uid, Arc::new(entry));
    }

    fn judge(&self, resource: &Resource) -> Result<P::Item, String> {
        if ResourceKind::try_from(resource.kind).is_err() {
            return Err(format!(
                "resource kind {} is unknown: the service is older than the configuration",
                resource.kind
            ));
        }
        let lacking = |feature: &&String| !self.capabilities.contains(&feature.as_str());
        if let Some(feature) = resource.required_features.iter().find(lacking) {
            return Err(format!("feature {feature} is not known to this replica: update the service"));
        }
        self.projection.parse(resource)
    }
}
