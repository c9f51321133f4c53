//! A copy of every object of a kind, kept up to date by watching one namespace, several or all.
//!
//! ```text
//! [ watch of namespace a ] --+
//!                            +--> [ Merge ] --> [ Store ] --> what changed, once the store has it
//! [ watch of namespace b ] --+
//! ```
//!
//! An object that cannot be read (a newer version wrote it) stands in the store as such: it blinds nobody to the others.

use std::{collections::BTreeSet, fmt::Debug, sync::Arc};

use fiorino_kit::{clock::Clock, error::chain};
use futures::{Stream, StreamExt as _, stream};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    core::{DeserializeGuard, NamespaceResourceScope},
    runtime::{
        WatchStreamExt as _,
        reflector::{self, Store, store::Writer},
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;

use crate::metrics::Watched;

/// An object of a kind, or why it cannot be read.
pub type Guarded<K> = DeserializeGuard<K>;

/// What can be watched: a namespaced kind.
pub trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
}

impl<K> Kind for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

/// Fills one store.
#[derive(Debug)]
pub struct Feed<K: Kind> {
    store: Store<Guarded<K>>,
    merge: Merge<K>,
    namespaces: Vec<String>,
    clock: Clock,
}

/// Several watches as one: the store is whole only when each of them has listed, and a new list of one namespace tells what went.
#[derive(Debug)]
struct Merge<K: Kind> {
    store: Store<Guarded<K>>,
    writer: Writer<Guarded<K>>,
    lists: Vec<List<K>>,
    whole: bool,
}

/// A list of one namespace (`None`: all) in the making.
#[derive(Debug)]
struct List<K: Kind> {
    namespace: Option<String>,
    objects: Vec<Guarded<K>>,
    done: bool,
}

// === impl Feed ===

impl<K: Kind> Feed<K> {
    /// A store of `namespaces` (empty: all), which [`Feed::run`] fills.
    pub fn new(namespaces: &[String], clock: Clock) -> Self {
        let (store, writer) = reflector::store();
        let scopes = if namespaces.is_empty() { vec![None] } else { namespaces.iter().cloned().map(Some).collect() };
        let lists = scopes.into_iter().map(|namespace| List { namespace, objects: Vec::new(), done: false }).collect();
        let merge = Merge { store: store.clone(), writer, lists, whole: false };
        Self { store, merge, namespaces: namespaces.to_vec(), clock }
    }

    /// The store, for reading.
    pub fn store(&self) -> Store<Guarded<K>> {
        self.store.clone()
    }

    /// Watches for ever; hands each object whose specification or annotations changed, or that went, to `changed`.
    pub async fn run<F: Future<Output = ()>>(
        mut self,
        client: Client,
        watched: Watched,
        changed: impl Fn(Arc<Guarded<K>>) -> F,
    ) {
        let apis: Vec<Api<Guarded<K>>> = if self.namespaces.is_empty() {
            vec![Api::all(client)]
        } else {
            self.namespaces.iter().map(|namespace| Api::namespaced(client.clone(), namespace)).collect()
        };
        let streams =
            apis.into_iter().enumerate().map(|(index, api)| events(api).map(move |event| (index, event)).boxed());
        let mut events = stream::select_all(streams);
        while let Some((index, event)) = events.next().await {
            match event {
                Ok(event) => {
                    let touched = self.merge.apply(index, event);
                    watched.seen(self.clock.monotonic(), self.store.len());
                    for object in touched {
                        changed(object).await;
                    }
                }
                Err(error) => {
                    tracing::warn!(kind = %K::kind(&()), error = chain(&error), "failed to watch");
                }
            }
        }
    }
}

fn events<K: Kind>(api: Api<Guarded<K>>) -> impl Stream<Item = watcher::Result<Event<Guarded<K>>>> + Send {
    let pruned = watcher(api, watcher::Config::default()).modify(|object| object.managed_fields_mut().clear());
    pruned.default_backoff()
}

// === impl Merge ===

impl<K: Kind> Merge<K> {
    /// Brings the store up to date and tells what changed.
    fn apply(&mut self, index: usize, event: Event<Guarded<K>>) -> Vec<Arc<Guarded<K>>> {
        match event {
            Event::Init => {
                self.lists[index].objects.clear();
                self.lists[index].done = false;
            }
            Event::InitApply(object) => self.lists[index].objects.push(object),
            Event::InitDone => return self.listed(index),
            // Another namespace has not listed yet: what comes meanwhile belongs to this one's list.
            Event::Apply(object) if !self.whole => self.lists[index].objects.push(object),
            Event::Delete(object) if !self.whole => self.lists[index].objects.retain(|it| key(it) != key(&object)),
            Event::Apply(object) => return self.put(object).into_iter().collect(),
            Event::Delete(object) => return self.remove(object).into_iter().collect(),
        }
        Vec::new()
    }

    fn listed(&mut self, index: usize) -> Vec<Arc<Guarded<K>>> {
        self.lists[index].done = true;
        if self.whole {
            return self.relisted(index);
        }
        if !self.lists.iter().all(|list| list.done) {
            return Vec::new();
        }
        self.whole = true;
        self.writer.apply_watcher_event(&Event::Init);
        for object in self.lists.iter_mut().flat_map(|list| list.objects.drain(..)) {
            self.writer.apply_watcher_event(&Event::InitApply(object));
        }
        self.writer.apply_watcher_event(&Event::InitDone);
        self.store.state()
    }

    /// A later list of one namespace: what is missing in it was deleted while nobody watched.
    fn relisted(&mut self, index: usize) -> Vec<Arc<Guarded<K>>> {
        let list = &mut self.lists[index];
        let namespace = list.namespace.clone();
        let objects = std::mem::take(&mut list.objects);
        let present: BTreeSet<(Option<String>, String)> = objects.iter().map(key).collect();
        let of_list = |object: &Guarded<K>| namespace.is_none() || object.namespace() == namespace;
        let gone = self.store.state_filter(|object| of_list(object) && !present.contains(&key(object)));
        let gone = gone.into_iter().filter_map(|object| self.remove((*object).clone()));
        let mut touched: Vec<_> = gone.collect();
        touched.extend(objects.into_iter().filter_map(|object| self.put(object)));
        touched
    }

    fn put(&mut self, object: Guarded<K>) -> Option<Arc<Guarded<K>>> {
        let reference = reflector::ObjectRef::from_obj(&object);
        let before = self.store.get(&reference);
        let changed = before.is_none_or(|before| !same(&before, &object));
        self.writer.apply_watcher_event(&Event::Apply(object));
        changed.then(|| self.store.get(&reference)).flatten()
    }

    fn remove(&mut self, object: Guarded<K>) -> Option<Arc<Guarded<K>>> {
        let known = self.store.get(&reflector::ObjectRef::from_obj(&object)).is_some();
        let last = Arc::new(object.clone());
        self.writer.apply_watcher_event(&Event::Delete(object));
        known.then_some(last)
    }
}

fn key<K: Kind>(object: &Guarded<K>) -> (Option<String>, String) {
    (object.namespace(), object.name_any())
}

/// Whether nothing changed that a reconcile looks at: status and finalizer are the operator's own.
fn same<K: Kind>(left: &Guarded<K>, right: &Guarded<K>) -> bool {
    let (left, right) = (left.meta(), right.meta());
    left.uid == right.uid
        && left.generation == right.generation
        && left.annotations == right.annotations
        && left.deletion_timestamp.is_some() == right.deletion_timestamp.is_some()
}

#[cfg(test)]
mod tests {
    use fiorino_crds::Station;
    use serde_json::json;

    use super::*;

    fn station(namespace: &str, name: &str, generation: i64, resource_version: &str) -> Guarded<Station> {
        let object = json!({
            "apiVersion": "fiorino.dev/v1alpha1", "kind": "Station",
            "metadata": {"namespace": namespace, "name": name, "uid": name, "generation": generation, "resourceVersion": resource_version},
            "spec": {"id": "91073550427_01", "brokerRef": {"name": "valdarda"}},
        });
        serde_json::from_value(object).unwrap()
    }

    fn names(touched: &[Arc<Guarded<Station>>]) -> Vec<String> {
        let mut names: Vec<String> = touched.iter().map(|object| object.name_any()).collect();
        names.sort();
        names
    }

    fn merge(namespaces: &[&str]) -> Merge<Station> {
        let namespaces: Vec<String> = namespaces.iter().map(|name| (*name).to_owned()).collect();
        Feed::new(&namespaces, Clock::system()).merge
    }

    #[test]
    fn the_store_is_whole_when_every_namespace_has_listed() {
        let mut merge = merge(&["a", "b"]);
        merge.apply(0, Event::Init);
        merge.apply(0, Event::InitApply(station("a", "one", 1, "1")));
        assert!(merge.apply(0, Event::InitDone).is_empty());
        merge.apply(0, Event::Apply(station("a", "three", 1, "3")));
        merge.apply(0, Event::Apply(station("a", "one", 2, "4")));
        merge.apply(0, Event::Apply(station("a", "four", 1, "5")));
        merge.apply(0, Event::Delete(station("a", "four", 1, "6")));
        merge.apply(1, Event::Init);
        merge.apply(1, Event::InitApply(station("b", "two", 1, "2")));
        let whole = merge.apply(1, Event::InitDone);
        assert_eq!(names(&whole), ["one", "three", "two"]);
        let one = whole.iter().find(|object| object.name_any() == "one").unwrap();
        assert_eq!(one.meta().generation, Some(2));
    }

    #[test]
    fn a_namespace_that_lists_again_is_waited_for() {
        let mut merge = merge(&["a", "b"]);
        merge.apply(0, Event::Init);
        merge.apply(0, Event::InitApply(station("a", "one", 1, "1")));
        merge.apply(0, Event::InitDone);
        merge.apply(0, Event::Init);
        merge.apply(1, Event::Init);
        assert!(merge.apply(1, Event::InitDone).is_empty(), "one is not there yet");
        merge.apply(0, Event::InitApply(station("a", "one", 1, "2")));
        assert_eq!(names(&merge.apply(0, Event::InitDone)), ["one"]);
    }

    #[test]
    fn a_status_is_stored_but_is_no_change() {
        let mut merge = merge(&[]);
        merge.apply(0, Event::Init);
        merge.apply(0, Event::InitDone);
        assert_eq!(names(&merge.apply(0, Event::Apply(station("a", "one", 1, "1")))), ["one"]);
        assert!(merge.apply(0, Event::Apply(station("a", "one", 1, "2"))).is_empty());
        let stored = merge.store.state();
        assert_eq!(stored[0].resource_version().as_deref(), Some("2"));
        assert_eq!(names(&merge.apply(0, Event::Apply(station("a", "one", 2, "3")))), ["one"]);
        let mut paused = station("a", "one", 2, "4");
        paused.annotations_mut().insert("fiorino.dev/paused".into(), "true".into());
        assert_eq!(names(&merge.apply(0, Event::Apply(paused))), ["one"]);
    }

    #[test]
    fn a_new_list_of_one_namespace_tells_what_went_there_and_nowhere_else() {
        let mut merge = merge(&["a", "b"]);
        for (index, namespace) in ["a", "b"].into_iter().enumerate() {
            merge.apply(index, Event::Init);
            merge.apply(index, Event::InitApply(station(namespace, &format!("{namespace}1"), 1, "1")));
            merge.apply(index, Event::InitApply(station(namespace, &format!("{namespace}2"), 1, "1")));
            merge.apply(index, Event::InitDone);
        }
        merge.apply(0, Event::Init);
        merge.apply(0, Event::InitApply(station("a", "a2", 1, "1")));
        merge.apply(0, Event::InitApply(station("a", "a3", 1, "1")));
        assert_eq!(names(&merge.apply(0, Event::InitDone)), ["a1", "a3"]);
        assert_eq!(names(&merge.store.state()), ["a2", "a3", "b1", "b2"]);
        assert_eq!(names(&merge.apply(1, Event::Delete(station("b", "b1", 1, "9")))), ["b1"]);
    }

    #[test]
    fn an_unreadable_object_is_kept_as_such() {
        let broken = json!({
            "apiVersion": "fiorino.dev/v1alpha1", "kind": "Station",
            "metadata": {"namespace": "a", "name": "broken", "uid": "broken"}, "spec": {"id": 7},
        });
        let mut merge = merge(&[]);
        merge.apply(0, Event::Init);
        merge.apply(0, Event::InitApply(serde_json::from_value(broken).unwrap()));
        merge.apply(0, Event::InitApply(station("a", "one", 1, "1")));
        assert_eq!(names(&merge.apply(0, Event::InitDone)), ["broken", "one"]);
    }
}
